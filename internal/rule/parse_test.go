package rule

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sentineld/sentineld/internal/event"
)

var update = flag.Bool("update", false, "write the golden files anew")

const good = `id: reverse-shell
title: Reverse shell
severity: high
description: |
  Two
  lines.
author: Ann
references: [https://example.org/]
tags: [attack.execution, attack.t1059.004]
sql: |
  -- what it looks for
  SELECT seq, process FROM execs
  WHERE name = 'nc'
window: 10m
key: [process, user]
enabled: false
`

func TestParse(t *testing.T) {
	r, err := Parse("a.yaml", []byte("\uFEFF"+good))
	if err != nil {
		t.Fatal(err)
	}
	r.source, r.sql = nil, span{}
	want := Rule{
		ID: "reverse-shell", Title: "Reverse shell", Severity: event.SeverityHigh, Description: "Two\nlines.", Author: "Ann",
		References: []string{"https://example.org/"}, Tags: []string{"attack.execution", "attack.t1059.004"},
		SQL:    "-- what it looks for\nSELECT seq, process FROM execs\nWHERE name = 'nc'\n",
		Window: 10 * time.Minute, Key: []string{"process", "user"}, Disabled: true, File: "a.yaml", Version: r.Version,
	}
	if diff := cmp.Diff(want, r, cmp.AllowUnexported(Rule{}, span{})); diff != "" {
		t.Error(diff)
	}
	if len(r.Version) != 12 {
		t.Errorf("version %q", r.Version)
	}
}

func TestVersion(t *testing.T) {
	parse := func(old, new string) string {
		r, err := Parse("a.yaml", []byte(strings.Replace(good, old, new, 1)))
		if err != nil {
			t.Fatal(err)
		}
		return r.Version
	}
	base := parse("", "")
	for old, new := range map[string]string{"title: Reverse shell": "title: Other", "high": "low", "Two": "Three", "enabled: false": "enabled: true"} {
		if parse(old, new) != base {
			t.Errorf("%q -> %q changes the version", old, new)
		}
	}
	for old, new := range map[string]string{"'nc'": "'ncat'", "10m": "11m", "[process, user]": "[process]", "key: [process, user]\n": "", "window: 10m\n": ""} {
		if parse(old, new) == base {
			t.Errorf("%q -> %q does not change the version", old, new)
		}
	}
}

// TestErrors compares the messages for what can be wrong with golden files.
func TestErrors(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	cases := map[string]string{
		"unknown-key":      with("severity:", "severty:"),
		"foreign-key":      with("severity:", "level:"),
		"number-key":       with("author: Ann", "3: Ann"),
		"bad-severity":     with("high", "hihg"),
		"number-severity":  with("high", "7"),
		"bad-id":           with("reverse-shell", "Reverse_Shell!"),
		"long-id":          with("reverse-shell", strings.Repeat("a-", 60)+"b"),
		"no-id-no-sql":     "title: x\nseverity: low\n",
		"title-list":       with("Reverse shell", "[a]"),
		"title-number":     with("Reverse shell", "404"),
		"title-lines":      with("Reverse shell", "|\n  a\n  b"),
		"title-empty":      with("Reverse shell", "''"),
		"title-null":       with("Reverse shell", ""),
		"title-control":    with("Reverse shell", `"a\eb"`),
		"window-number":    with("10m", "600"),
		"window-day":       with("10m", "1d"),
		"window-word":      with("10m", "soon"),
		"window-long":      with("10m", "25h"),
		"window-negative":  with("10m", "-1m"),
		"window-list":      with("10m", "[10m]"),
		"tag":              with("attack.execution", "Execution"),
		"tags-text":        with("[attack.execution, attack.t1059.004]", "attack.execution"),
		"tags-twice":       with("attack.t1059.004", "attack.execution"),
		"tags-mapping":     with("[attack.execution, attack.t1059.004]", "{a: b}"),
		"tags-many":        with("[attack.execution, attack.t1059.004]", "["+strings.Repeat("a.b, ", 70)+"a.b]"),
		"key-column":       with("[process, user]", "[process, 'a b']"),
		"key-number":       with("[process, user]", "[process, 1]"),
		"key-null":         with("[process, user]", "[process, ]\nauthor: x"),
		"enabled":          with("enabled: false", "enabled: yes"),
		"sql-delete":       with("SELECT seq, process FROM execs\n  WHERE", "/* x */ DELETE FROM execs\n  WHERE"),
		"sql-comment":      with("SELECT seq, process FROM execs\n  WHERE name = 'nc'", "-- nothing"),
		"sql-open-comment": with("SELECT seq, process FROM execs", "/* SELECT"),
		"sql-long":         with("'nc'", "'"+strings.Repeat("x", MaxSQLBytes)+"'"),
		"sql-number":       "id: a\ntitle: b\nseverity: low\nsql: 1\n",
		"sql-digit":        "id: a\ntitle: b\nseverity: low\nsql: '1 '\n",
		"sql-anchor":       "id: a\ntitle: b\nseverity: low\nsql: &x SELECT 1\n",
		"merge":            with("author: Ann", "<<: {a: b}"),
		"tagged":           with("Ann", "!!str Ann"),
		"duplicate-key":    with("author: Ann", "title: Ann"),
		"two-documents":    good + "---\n" + good,
		"list":             "- id: a\n",
		"scalar":           "hello\n",
		"empty":            "# nothing\n",
		"syntax":           with("[https://example.org/]", "[https://example.org/"),
		"tab":              with("author: Ann", "author:\n\tname: Ann"),
		"not-utf8":         with("Ann", "A\xffn"),
		"deep":             with("[https://example.org/]", strings.Repeat("[", 60000)),
		"large":            good + strings.Repeat("# x\n", MaxFileBytes/4),
		"umlaut":           with("title: Reverse shell\nseverity: high", "\"title\": Rückwärts\n\"sevêrity\": high"),
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("rules/x.yaml", []byte(text))
			if err == nil {
				t.Fatal("no error")
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%T", err)
			}
			golden(t, name, err.Error()+"\n")
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "errors", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

// TestErrorAt finds words of the SQL in the file, whichever way it is written.
func TestErrorAt(t *testing.T) {
	head := "id: a\ntitle: b\nseverity: low\n"
	for _, c := range []struct{ yaml, at string }{
		{"sql: SELECT bad FROM execs", "4:13"},
		{"sql:   'SELECT ''x'', bad FROM execs'", "4:23"},
		{"sql: \"SELECT bad\n  FROM execs\"", "4:14"},
		{"sql: \"SELECT \\x27x\\x27, bad FROM execs\"", "4:7"},
		{"sql: |\n  SELECT 'ü',\n    bad\n  FROM execs", "6:5"},
		{"sql: | # why\n  SELECT 'ü', bad\n  FROM execs", "5:15"},
		{"sql: >-\n  SELECT 'ü',\n  bad\n\n  FROM execs", "6:3"},
		{"sql: SELECT\n  bad\n  FROM execs", "5:3"},
		{"sql: |\r\n  SELECT\r\n  bad FROM execs\r\n", "6:3"},
	} {
		r, err := Parse("f.yaml", []byte(head+c.yaml))
		if err != nil {
			t.Fatalf("%q: %v", c.yaml, err)
		}
		e := r.ErrorAt(strings.Index(r.SQL, "bad"), "no such column", "")
		if got := fmt.Sprintf("%d:%d", e.Line, e.Column); got != c.at {
			t.Errorf("%q: at %s, want %s\n%v", c.yaml, got, c.at, e)
		}
	}
	r := Rule{File: "x.yaml"}
	if e := r.ErrorAt(3, "bad", "mend it"); e.Error() != "x.yaml: bad (mend it)" {
		t.Error(e)
	}
	if e := r.ErrorIn("key", "bad", ""); e.Error() != "x.yaml: bad" {
		t.Error(e)
	}
	if e := (&Error{Problem: "bad"}); e.Error() != "bad" {
		t.Error(e)
	}
	r, err := Parse("f.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if e := r.ErrorIn("key", "bad", ""); e.Line != 15 || e.Column != 6 {
		t.Error(e)
	}
	if e := r.ErrorAt(-1, "bad", ""); e.Line != 11 {
		t.Error(e)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	for _, s := range []string{"", "a: [", "? a\n: b", "id: 'x\n\n", "- - -", "&a *a", "sql: >\n\n\n  a\n b", "sql: |2\n   SELECT 1", "\"\\x", "%YAML 1.1\n---\n", "id: |\n\t", "a: b: c", "<<: *x", "key: [,]", "key:\n-\n", "{a: b, a}"} {
		f.Add([]byte(s))
		f.Add([]byte(strings.Replace(good, "Ann", s, 1)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse("f.yaml", data)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without a text")
			}
			return
		}
		if r.ID == "" || r.Title == "" || r.Severity == 0 || r.SQL == "" || r.Version == "" {
			t.Errorf("a rule without what is required: %+v", r)
		}
		for i := range r.SQL {
			if e := r.ErrorAt(i, "x", ""); e.Line < 1 || e.Column < 1 {
				t.Fatalf("offset %d: %d:%d", i, e.Line, e.Column)
			}
			if i > 300 {
				break
			}
		}
	})
}
