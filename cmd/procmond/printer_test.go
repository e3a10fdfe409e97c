package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/event"
)

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestPrinter(t *testing.T) {
	var out bytes.Buffer
	p := &printer{w: &out}
	gap := event.Event{Kind: event.KindGap, Source: event.SourceEBPF, Gap: &event.Gap{Cause: "a\nb"}}
	for range 2 { // the buffer is used again
		if err := p.Put(t.Context(), []event.Event{gap, gap}); err != nil {
			t.Fatal(err)
		}
	}
	line := string(event.AppendJSON(nil, &gap)) + "\n"
	if out.String() != strings.Repeat(line, 4) {
		t.Errorf("printed %q", &out)
	}
	out.Reset()
	if err := p.Sync(t.Context(), []event.Event{gap, gap, gap}, []event.Event{gap}); err != nil || out.String() != line {
		t.Errorf("Sync printed %q, %v; want the news alone", &out, err)
	}
	if err := (&printer{w: failing{io.ErrUnexpectedEOF}}).Put(t.Context(), nil); err != nil {
		t.Errorf("nothing to print: %v", err)
	}
}

// Only a reader that went is no failure.
func TestPrinterErrors(t *testing.T) {
	for err, broken := range map[error]bool{
		syscall.EPIPE: true, fmt.Errorf("write: %w", syscall.EPIPE): true, io.ErrClosedPipe: true, syscall.ENOSPC: false, io.ErrShortWrite: false,
	} {
		got := (&printer{w: failing{err}}).Put(t.Context(), make([]event.Event, 0, 1))
		if got != nil {
			t.Errorf("nothing to print: %v", got)
		}
		got = (&printer{w: failing{err}}).Put(t.Context(), []event.Event{{Kind: event.KindFork}})
		var b brokenPipe
		if errors.As(got, &b) != broken || !strings.HasPrefix(got.Error(), "print events: ") {
			t.Errorf("%v: %v, broken %v", err, got, !broken)
		}
	}
}

func TestRunInProcess(t *testing.T) {
	var out, log bytes.Buffer
	if err := run(t.Context(), []string{"version"}, strings.NewReader(""), &out, &log); err != nil || !strings.HasPrefix(out.String(), "procmond dev") {
		t.Errorf("%v, %q", err, &out)
	}
	if err := run(t.Context(), []string{"run", "--args-max=1"}, strings.NewReader(""), &out, &log); cli.ExitCode(err) != cli.ExitUsage {
		t.Errorf("%v", err)
	}
}

func TestByKind(t *testing.T) {
	got := byKind([event.NumKinds]uint64{0: 1, event.KindExec: 2, event.KindGap: 3})
	if len(got) != 3 || got["any"] != 1 || got["exec"] != 2 || got["gap"] != 3 {
		t.Errorf("%v", got)
	}
}
