package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const good = `# 1. What it is,
# in two lines.

agent: later --flag "a b"
under: $helpers/as 1 1
skip poll: cannot see it
pending ebpf: not yet

-- config --
collector:
  ring_bytes: 4096

-- run --
# A comment.
p = run $helpers/end exit 42 -> exit 42
q = start $helpers/hold "x\n\xff" '$x' ""
until SELECT 1 FROM execs WHERE pid = $q AND cmdline = '->'
wait q -> signal 9
wait p -> any

-- expect --
SELECT a, b FROM execs
WHERE pid = $p
{"a": $p, "b": "$p.x"}
{"a": 2, "b": null}
SELECT c FROM gaps
no rows

-- expect procconn --
SELECT 1 AS n
{"n": 1}
`

func TestParse(t *testing.T) {
	f, err := Parse("dir/name.txtar", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) piece { return piece{text: s} }
	v := func(s string) piece { return piece{text: s, variable: true} }
	want := &File{
		Name: "name", About: "1. What it is,\nin two lines.",
		Agent: Agent{Own: true, Later: true, Flags: []Word{{text("--flag")}, {text("a b")}}, Under: []Word{
			{text(""), v("helpers"), text("/as")}, {text("1")}, {text("1")}}},
		Config:  "collector:\n  ring_bytes: 4096\n\n",
		Skip:    map[string]string{"poll": "cannot see it"},
		Pending: map[string]string{"ebpf": "not yet"},
		Steps: []Step{
			{Line: 15, Name: "p", Verb: "run", Outcome: Outcome{Code: 42}, Args: []Word{
				{text(""), v("helpers"), text("/end")}, {text("exit")}, {text("42")}}},
			{Line: 16, Name: "q", Verb: "start", Args: []Word{
				{text(""), v("helpers"), text("/hold")}, {text("x\n\xff")}, {text("$x")}, {text("")}}},
			{Line: 17, Verb: "until", SQL: "SELECT 1 FROM execs WHERE pid = $q AND cmdline = '->'"},
			{Line: 18, Verb: "wait", Outcome: Outcome{Signal: 9}, Args: []Word{{text("q")}}},
			{Line: 19, Verb: "wait", Outcome: Outcome{Any: true}, Args: []Word{{text("p")}}},
		},
		Expect: map[string][]Expectation{
			"": {
				{Line: 22, SQL: "SELECT a, b FROM execs WHERE pid = $p", Rows: []string{`{"a": $p, "b": "$p.x"}`, `{"a": 2, "b": null}`}},
				{Line: 26, SQL: "SELECT c FROM gaps"},
			},
			"procconn": {{Line: 30, SQL: "SELECT 1 AS n", Rows: []string{`{"n": 1}`}}},
		},
	}
	if diff := cmp.Diff(want, f, cmp.AllowUnexported(piece{})); diff != "" {
		t.Error(diff)
	}
	if got := f.Expected("ebpf"); len(got) != 2 {
		t.Errorf("of ebpf %d queries are expected, want 2", len(got))
	}
	if got := f.Expected("procconn"); len(got) != 1 {
		t.Errorf("of procconn %d queries are expected, want 1", len(got))
	}
}

func TestParseErrors(t *testing.T) {
	const about, run, expect = "# x\n", "-- run --\nrun a\n", "-- expect --\nSELECT 1 AS n\n{\"n\": 1}\n"
	for text, want := range map[string]string{
		run + expect:                                            "f.txtar:1: say in # lines what the behaviour is",
		about + expect:                                          "f.txtar:1: there is no step: add a section -- run --",
		about + run:                                             "f.txtar:1: nothing is expected of ebpf: add -- expect -- or -- expect ebpf --, or skip it",
		about + "skp poll: x\n" + run + expect:                  `f.txtar:2: "skp poll: x" is no directive: want agent, under, skip or pending and a colon, or # in front of a comment`,
		about + "skip: x\n" + run + expect:                      "f.txtar:2: skip: name the backends: skip poll: WHY",
		about + "skip pol: x\n" + run + expect:                  `f.txtar:2: unknown backend "pol": want ebpf, procconn, poll`,
		about + "skip poll:\n" + run + expect:                   "f.txtar:2: skip: the value is missing",
		about + "agent: mine\n" + run + expect:                  "f.txtar:2: agent: mine: want own or later, then flags",
		about + "agent: own 'x\n" + run + expect:                "f.txtar:2: a ' is not closed",
		about + "under: x\n" + run + expect:                     "f.txtar:1: under needs the directive agent: own or agent: later",
		about + "-- config --\na: b\n" + run + expect:           "f.txtar:1: a configuration needs the directive agent: own or agent: later",
		about + "-- steps --\nx\n":                              `f.txtar:2: unknown section "steps": want config, run, expect or expect BACKEND`,
		about + run + run:                                       `f.txtar:4: section "run" is there twice`,
		about + "-- run --\nrnu a\n":                            `f.txtar:3: unknown step "rnu"`,
		about + "-- run --\nstart a\n":                          "f.txtar:3: start needs a name: NAME = start ...",
		about + "-- run --\np = wait a\n":                       "f.txtar:3: wait starts no program: it can have no name",
		about + "-- run --\ndir = run a\n":                      "f.txtar:3: the name dir is taken: $dir has a meaning already",
		about + "-- run --\np = start a -> exit 0\n":            "f.txtar:3: start does not wait for an end: -> goes with run and wait",
		about + "-- run --\ncopy a\n":                           "f.txtar:3: copy with 1 arguments: want 2 to 5",
		about + "-- run --\nuntil\n":                            "f.txtar:3: until: the query is missing",
		about + "-- run --\nagent stop\ntable\n":                "f.txtar:3: the agent of all scenarios is not for this one to control: add the directive agent: own",
		about + "-- run --\ntable\nmemory 100\n":                "f.txtar:4: the memory of the agent of all scenarios is not for this one to judge: add the directive agent: own",
		about + "-- run --\nrun \"a\n":                          `f.txtar:3: a " is not closed`,
		about + "-- run --\nrun a\\q\n":                         `f.txtar:3: unknown escape \q: want \n, \t, \xNN, \\, \", \' or \$`,
		about + "-- run --\nrun a\\x00\n":                       `f.txtar:3: \x needs two hex digits, and an argument holds no byte 0`,
		about + "-- run --\nrun $\n":                            `f.txtar:3: bad variable "$": want $NAME, or $$ for the character`,
		about + "-- run --\nrun ${a\n":                          `f.txtar:3: bad variable "${a": want ${NAME}`,
		about + run + "-- expect --\n{\"n\": 1}\n":              "f.txtar:5: a row without a query in front",
		about + run + "-- expect --\nSELECT 1\n":                "f.txtar:5: the query has no rows: write them as JSON objects, or the line: no rows",
		about + run + "-- expect --\nSELECT 1\n{\"n\": x}\n":    `f.txtar:5: row is no JSON object: {"n": x}`,
		about + run + "-- expect --\nSELECT 1\nno rows\n{}\n":   "f.txtar:7: rows and no rows at once",
		about + run + "-- expect --\n\n":                        "f.txtar:4: the section is empty",
		about + run + expect + "-- expect ebpf, --\nSELECT 1\n": "f.txtar:8: the query has no rows: write them as JSON objects, or the line: no rows",
		about + run + "-- expect poll --\nSELECT 1\n{}\n-- expect procconn,poll --\nSELECT 1\n{}\n": "f.txtar:7: what is expected of poll is there twice",
	} {
		_, err := Parse("f.txtar", []byte(text))
		if fmt.Sprint(err) != want {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}

func TestVars(t *testing.T) {
	v := Vars{"p": "12", "p.x": "a\"b\n", "p.xy": "long", "d": "/dir"}
	for _, c := range []struct {
		in, want string
		replace  func(string) (string, error)
	}{
		{"pid = $p AND x IN ($p.xy)", "pid = 12 AND x IN (long)", v.SQL},
		{"$p.$p", "12.12", v.SQL},
		{"${p}x $$p '$$[1]'", "12x $p '$[1]'", v.SQL},
		{`{"a": $p, "b": "$p.x"}`, `{"a": 12, "b": "a\"b\n"}`, v.JSON},
		{`"$d/sub/../$p."`, `"/dir/sub/../12."`, v.JSON},
	} {
		if got, err := c.replace(c.in); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v, want %s", c.in, got, err, c.want)
		}
	}
	if _, err := v.SQL("$q"); err == nil || err.Error() != "$q has no value; those that have are $d $p $p.x $p.xy" {
		t.Error(err)
	}
	words, err := ParseWords(`  a"$p b"'$p'\$ "" x\x20y	$d/z`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.expandAll(words)
	if want := []string{"a12 b$p$", "", "x y", "/dir/z"}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func TestCompare(t *testing.T) {
	rows := func(r ...string) []string { return r }
	for _, c := range []struct {
		name      string
		want, got []string
		same      bool
	}{
		{"none", nil, nil, true},
		{"spaces and escapes", rows(`{"a": [1, "x\u00e9\u003c"] , "b":null}`), rows(`{"a":[1,"xé<"],"b":null}`), true},
		{"a row too many", rows(`{"a":1}`), rows(`{"a":1}`, `{"a":1}`), false},
		{"a row too few", rows(`{"a":1}`), nil, false},
		{"order of rows", rows(`{"a":1}`, `{"a":2}`), rows(`{"a":2}`, `{"a":1}`), false},
		{"order of columns", rows(`{"a":1,"b":2}`), rows(`{"b":2,"a":1}`), false},
		{"a column too many", rows(`{"a":1}`), rows(`{"a":1,"b":2}`), false},
		{"text and number", rows(`{"a":"1"}`), rows(`{"a":1}`), false},
		{"null and nothing", rows(`{"a":null}`), rows(`{"a":""}`), false},
		{"null as text", rows(`{"a":null}`), rows(`{"a":"<nil>"}`), false},
		{"depth", rows(`{"a":[["x"],"y"]}`), rows(`{"a":[["x","y"]]}`), false},
		{"large numbers", rows(`{"a":9007199254740993}`), rows(`{"a":9007199254740992}`), false},
		{"half a row", rows(`{"a":1}`), rows(`{"a":1`), false},
	} {
		if diff := Compare(c.want, c.got); (diff == "") != c.same {
			t.Errorf("%s: got %q", c.name, diff)
		}
	}
	if diff := Compare(rows(`{"a":1}`), nil); diff != "want {\"a\":1}\n got no rows" {
		t.Errorf("the difference reads %q", diff)
	}
}

// TestFiles reads all scenarios, also where they cannot be run.
func TestFiles(t *testing.T) {
	paths, err := filepath.Glob("../testdata/scenarios/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%v, %d files", err, len(paths))
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(path, data); err != nil {
			t.Error(err)
		}
	}
}

// FuzzParse wants an error or a scenario that says something, and never a panic.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("# x\n-- run --\nrun \"\\x41$a.b ${c}\" '' -> exit 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("f.txtar", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.txtar:") {
				t.Errorf("no place: %v", err)
			}
			return
		}
		if file.About == "" || len(file.Steps) == 0 {
			t.Errorf("accepted %q", data)
		}
	})
}
