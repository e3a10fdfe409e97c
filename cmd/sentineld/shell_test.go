package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/term"

	"github.com/sentineld/sentineld/internal/store"
)

func newShell(t *testing.T) *shell {
	t.Helper()
	sh := &shell{catalog: map[string][]string{"execs": {"exe", "exec_no", "pid"}, "exits": {"code"}}}
	sh.words = sh.completions()
	sh.term = term.NewTerminal(readWriter{strings.NewReader(""), new(strings.Builder)}, prompt)
	return sh
}

// TestComplete: | is where the cursor stands.
func TestComplete(t *testing.T) {
	sh := newShell(t)
	for given, want := range map[string]string{
		"SELECT * FROM exi|":        "SELECT * FROM exits |",
		"SELECT * FROM exits e|":    "SELECT * FROM exits e|", // much begins so
		"sel|":                      "SELECT |",
		"SELECT bas|(exe)":          "SELECT basename |(exe)",
		"SELECT execs.exec|":        "SELECT execs.exec_no |",
		"SELECT exec|":              "SELECT exec|",
		"SELECT nothing_like_it|":   "SELECT nothing_like_it|",
		"|":                         "|",
		".sch|":                     ".schema |",
		".p|":                       ".param |",
		".schema exi|":              ".schema exits |",
		"SELECT e.co| FROM exits e": "SELECT e.co| FROM exits e",
	} {
		before, after, _ := strings.Cut(given, "|")
		line, pos, ok := sh.complete(before+after, len(before), '\t')
		if got := line[:pos] + "|" + line[pos:]; !ok || got != want {
			t.Errorf("%s: %s, want %s", given, got, want)
		}
	}
	if _, _, ok := sh.complete("SELECT", 6, 'x'); ok {
		t.Error("another key completes")
	}
}

// TestCtrlC cancels the line that it was typed in, and no other, however they are read.
func TestCtrlC(t *testing.T) {
	for _, size := range []int{1, 3, 1000} {
		keys := &keyReader{r: iotest{strings.NewReader("SELECT 1\x03SELECT 2\rSELECT 3\rSEL\x03\x03SELECT 4\r"), size}}
		tty := term.NewTerminal(readWriter{keys, new(strings.Builder)}, prompt)
		var got []string
		for {
			line, err := tty.ReadLine()
			if keys.takeCancelled() {
				line += "cancelled"
			}
			if err != nil {
				break
			}
			got = append(got, line)
		}
		if want := "cancelled;SELECT 2;SELECT 3;cancelled;cancelled;SELECT 4"; strings.Join(got, ";") != want {
			t.Errorf("%d bytes at a time: read %q, want %s", size, got, want)
		}
	}
}

// TestCtrlCWithinASequence cancels the line that Esc, or a part of a character, was typed
// in, at once, and no other.
func TestCtrlCWithinASequence(t *testing.T) {
	for _, begun := range []string{"\x1b", "\x1b[", "\x1b[1;3", "\x1b[200", "\x1bO", "\xe2\x82", "\xf0\x9f\x98", "\xff"} {
		in, typed := io.Pipe()
		keys := &keyReader{r: in}
		tty := term.NewTerminal(readWriter{keys, new(strings.Builder)}, prompt)
		lines := make(chan string, 2)
		read := func() {
			line, err := tty.ReadLine()
			if keys.takeCancelled() {
				line += "cancelled"
			}
			if err != nil {
				line += err.Error()
			}
			lines <- line
		}
		go read()
		if _, err := io.WriteString(typed, "SELECT 1"+begun+"\x03"); err != nil {
			t.Fatal(err)
		}
		if got := <-lines; got != "cancelled" {
			t.Errorf("%q: read %q", begun, got)
		}
		go read()
		if _, err := io.WriteString(typed, "SELECT 2\r"); err != nil {
			t.Fatal(err)
		}
		if got := <-lines; got != "SELECT 2" {
			t.Errorf("%q: then read %q", begun, got)
		}
		typed.Close()
	}
}

// iotest gives some bytes at a time.
type iotest struct {
	r    io.Reader
	size int
}

func (r iotest) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), r.size)]) }

// TestInterruptible: a read that waits for ever ends.
func TestInterruptible(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	i := &interruptible{r: r, stop: ctx.Done()}
	go func() { _, _ = w.Write([]byte("x")) }()
	var buf [4]byte
	if n, err := i.Read(buf[:]); n != 1 || err != nil || buf[0] != 'x' {
		t.Errorf("%d bytes %q, %v", n, buf, err)
	}
	cancel()
	if n, err := i.Read(buf[:]); n != 0 || err != io.EOF {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "history")
	h := openHistory(path)
	for _, l := range []string{"one", "two", "two", " ", " a secret", ".param k=secret", "x\x1b[31m"} {
		h.Add(l)
	}
	h = openHistory(path)
	if h.Len() != 3 || h.At(0) != `x\x1b[31m` || h.At(1) != "two" || h.At(2) != "one" {
		t.Errorf("history %q", h.lines)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("a\nb\n", historyMax+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if h = openHistory(path); h.Len() != historyMax {
		t.Errorf("%d lines were read", h.Len())
	}
	if text, err := os.ReadFile(path); err != nil || strings.Count(string(text), "\n") != historyMax {
		t.Errorf("%d lines are kept, %v", strings.Count(string(text), "\n"), err)
	}
	if runtime.GOOS != "windows" {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	}
	for _, none := range []string{"", filepath.Join(path, "below", "a file")} {
		h = openHistory(none)
		if h.Add("kept in memory"); h.Len() != 1 {
			t.Errorf("%q: %q", none, h.lines)
		}
		for i := range historyMax + 1 {
			h.Add(fmt.Sprint(i))
		}
		if h.Len() != historyMax || h.At(0) != fmt.Sprint(historyMax) || h.At(historyMax-1) != "1" {
			t.Errorf("%d lines are in memory, %q to %q", h.Len(), h.At(h.Len()-1), h.At(0))
		}
	}
	for text, want := range map[string]int{"": 0, "\n": 0, "one\n\ntwo": 2, strings.Repeat("a\nb\n", historyMax): historyMax} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if h = openHistory(path); h.Len() != want {
			t.Errorf("of a file of %d bytes %d lines, want %d", len(text), h.Len(), want)
		}
	}
}

// TestShellExamples: each can be run, and ends as a statement does.
func TestShellExamples(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := store.OpenSession(t.Context(), dir, store.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, e := range shellExamples {
		stmt, _, err := s.Prepare(e.sql)
		if err != nil {
			t.Errorf("%s: %v", e.sql, err)
			continue
		}
		if _, err := stmt.Step(); err != nil {
			t.Errorf("%s: %v", e.sql, err)
		}
		stmt.Finalize()
		if !store.Complete(e.sql) {
			t.Errorf("%s: not a whole statement", e.sql)
		}
	}
}
