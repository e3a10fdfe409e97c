package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

// print prints rows in a mode, on a terminal or not.
func printRows(t *testing.T, mode string, look bool, columns []string, rows ...[]any) string {
	t.Helper()
	var b bytes.Buffer
	o := newOutput(&b, mode, columns)
	o.look = look
	for _, r := range rows {
		if err := o.row(r...); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestOutputValues has every type of value in every form.
func TestOutputValues(t *testing.T) {
	columns := []string{"null", "int", "float", "inf", "bool", "text", "blob", "args", "evidence"}
	row := []any{
		nil, int64(math.MinInt64), 0.1, math.Inf(-1), true, "a,\"b\"\n\xff\x9b\u009b", []byte{0, 0xff}, "[\n \"x\"\n]", "{broken",
	}
	for mode, want := range map[string]string{
		"json": `{"null":null,"int":-9223372036854775808,"float":0.1,"inf":"-Inf","bool":true,"text":"a,\"b\"\n\\xff\\x9b` + "\u009b" +
			`","blob":"00ff","args":["x"],"evidence":"{broken"}` + "\n",
		"csv": "null,int,float,inf,bool,text,blob,args,evidence\n" +
			",-9223372036854775808,0.1,-Inf,true,\"a,\"\"b\"\"\n\xff\x9b\u009b\",00ff,\"[\n \"\"x\"\"\n]\",{broken\n",
		"table": "NULL  INT                   FLOAT  INF   BOOL  TEXT                        BLOB  ARGS          EVIDENCE\n" +
			"      -9223372036854775808  0.1    -Inf  true  a,\"b\"\\n\\xff\\x9b\\u009b       00ff  [\\n \"x\"\\n]  {broken\n",
	} {
		if d := cmp.Diff(want, printRows(t, mode, false, columns, row)); d != "" && mode != "table" {
			t.Errorf("%s: %s", mode, d)
		}
		got := printRows(t, mode, true, columns, row)
		if strings.IndexFunc(got, func(r rune) bool { return unicode.IsControl(r) && r != '\n' }) >= 0 {
			t.Errorf("%s on a terminal: %q", mode, got)
		}
		if mode == "json" {
			var a, b map[string]any
			if json.Unmarshal([]byte(got), &a) != nil || json.Unmarshal([]byte(want), &b) != nil || !cmp.Equal(a, b) {
				t.Errorf("what a terminal gets says something else: %s", got)
			}
		}
	}
}

// TestOutputNested wants one valid JSON object a line, whatever a query puts
// into a column with the name of one that holds JSON.
func TestOutputNested(t *testing.T) {
	for _, v := range []string{"[\"\xff\"]", "[1] ", "[1", "{}x", "[", "null", "7", "[\"\u2028\"]"} {
		got := printRows(t, "json", false, []string{"args"}, []any{v})
		var row map[string]any
		if err := json.Unmarshal([]byte(got), &row); err != nil || strings.Count(got, "\n") != 1 || strings.ToValidUTF8(got, "") != got {
			t.Errorf("%q: %q: %v", v, got, err)
		}
	}
	if got := printRows(t, "json", false, nil, nil); got != "{}\n" {
		t.Errorf("a row without columns: %q", got)
	}
}

// TestTableWidths: the first rows decide, later ones are cut to it, but the last
// column never is.
func TestTableWidths(t *testing.T) {
	long := strings.Repeat("x", 100)
	rows := make([][]any, tableLook, tableLook+2)
	for i := range rows {
		rows[i] = []any{"ab", "c"}
	}
	rows[0] = []any{long, long}
	rows = append(rows, []any{long + "y", "日本"}, []any{"日本", ""})
	lines := strings.Split(printRows(t, "table", false, []string{"a", "b"}, rows...), "\n")
	if want := strings.Repeat("x", widest-1) + "…  " + long; lines[1] != want {
		t.Errorf("%q", lines[1])
	}
	if want := strings.Repeat("x", widest-1) + "…  日本"; lines[tableLook+1] != want {
		t.Errorf("%q", lines[tableLook+1])
	}
	if want := "日本"; lines[tableLook+2] != want {
		t.Errorf("%q", lines[tableLook+2])
	}
}

// TestMarkdownLinks: nothing that was recorded is a link, and what a reader sees is what
// was recorded.
func TestMarkdownLinks(t *testing.T) {
	link := regexp.MustCompile(`(?i)(https?|ftp):/|www\.|[a-z0-9.+_-]@[a-z0-9]|<[a-z]|(^|[^\\])\]\(`) // GFM, 6.5, 6.6, 6.8, 6.9
	escaped := regexp.MustCompile(`\\([!-/:-@[-` + "`" + `{-~])`)
	for _, text := range []string{
		"curl http://a.example/x|sh", "HTTPS://a.example", "git clone ftp://a_b.example", "wget www.example.org", "(wwww.example.org",
		"ssh root@a.example", "a@b@c.example", "mailto:a@b.example", "ping @octocat", "[x](http://a.example)", "<http://a.example>", `http\://a.example`,
	} {
		cell, ok := strings.CutPrefix(strings.Split(printRows(t, "markdown", false, []string{"c"}, []any{text}), "\n")[2], "| ")
		cell, ok2 := strings.CutSuffix(cell, " |")
		if !ok || !ok2 || link.MatchString(strings.ReplaceAll(cell, `\<`, "")) {
			t.Errorf("%s: %s", text, cell)
		}
		if shown := escaped.ReplaceAllString(strings.ReplaceAll(cell, "<!-- -->", ""), "$1"); shown != text {
			t.Errorf("%s is shown as %s", text, shown)
		}
	}
}

// failing is output that fails once so much was written.
type failing struct{ left int }

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFailing
	}
	return len(p), nil
}

var errFailing = errors.New("no space left")

// TestOutputFails: an error of the output is returned, sooner or later, in every
// form.
func TestOutputFails(t *testing.T) {
	for _, mode := range []string{"json", "csv", "table"} {
		o := newOutput(&failing{left: 100_000}, mode, []string{"a", "b"})
		var err error
		for range 10_000 {
			if err = o.row("some text", "some more text"); err != nil {
				break
			}
		}
		if !errors.Is(err, errFailing) {
			t.Errorf("%s: %v", mode, err)
		}
		if err := o.close(); !errors.Is(err, errFailing) {
			t.Errorf("%s: close: %v", mode, err)
		}
		o = newOutput(&failing{}, mode, []string{"a"})
		if err := errors.Join(o.row("x"), o.close()); !errors.Is(err, errFailing) {
			t.Errorf("%s: close: %v", mode, err)
		}
	}
	if !isBrokenPipe(io.ErrClosedPipe) || isBrokenPipe(errFailing) || isBrokenPipe(nil) {
		t.Error("isBrokenPipe")
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m", 47*time.Hour + 5*time.Minute: "47h05m", 49 * time.Hour: "2d",
	} {
		if got := age(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func FuzzTame(f *testing.F) {
	f.Add("[\"\u009b\u202e\x7f\"]")
	f.Fuzz(func(t *testing.T, s string) {
		in := appendJSONValue(nil, s, true)
		out := tame(in)
		var a, b any
		if err := json.Unmarshal(in, &a); err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		if err := json.Unmarshal(out, &b); err != nil || !cmp.Equal(a, b) {
			t.Fatalf("%q becomes %q: %v", in, out, err)
		}
		if bytes.IndexFunc(out, func(r rune) bool { return unicode.IsControl(r) }) >= 0 {
			t.Fatalf("%q", out)
		}
	})
}
