package detect_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/detect"
	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/rule"
)

const burst = `id: burst
title: Burst
severity: medium
window: 60s
sql: SELECT name, count(*) AS n, min(ts) AS first_ts, max(ts) AS ts FROM execs WHERE name = 'id' GROUP BY name HAVING count(*) >= 3
`

func TestWindow(t *testing.T) {
	l := newLab(t)
	e := l.engine(detect.Options{Rules: []rule.Rule{l.rule(burst)}})
	tick := func(want int, what string, names ...string) []event.Alert {
		t.Helper()
		for _, n := range names {
			l.append(l.exec(1, "/usr/bin/"+n, n))
		}
		res := l.evaluate(e)
		if len(res.Alerts) != want {
			t.Errorf("%s: %d alerts, want %d: %s", what, len(res.Alerts), want, titles(res.Alerts))
		}
		return res.Alerts
	}
	tick(0, "two", "id", "id")
	a := tick(1, "three", "id")
	if len(a) == 1 && (a[0].Title != "Burst: name=id n=3" || a[0].Key != `["id"]` || a[0].FirstSeen != l.now-2*second || a[0].LastSeen != l.now) {
		t.Errorf("%+v", a[0])
	}
	tick(0, "the same window has been reported", "id", "ls")
	l.now += 30 * second
	tick(0, "and overlaps this one", "id")
	l.now += 61 * second
	tick(0, "the window moved on", "ls")
	tick(0, "to where there are two", "id", "id")
	tick(1, "a new burst", "id")
	if n := e.Status()[0].Evaluations; n < 7 {
		t.Errorf("%d evaluations", n)
	}
	// Other events only: nothing to look at.
	before := e.Status()[0].Evaluations
	l.append(event.Event{Kind: event.KindFork, Source: event.SourceEBPF, Known: event.KnownTime, Time: l.now + 1, Process: key(9000)})
	tick(0, "a fork")
	if e.Status()[0].Evaluations != before {
		t.Error("the rule was evaluated without a new exec")
	}
}

// TestWindowAfterOutage wants bursts to be found in events that come in all at
// once.
func TestWindowAfterOutage(t *testing.T) {
	l := newLab(t)
	e := l.engine(detect.Options{Rules: []rule.Rule{l.rule(burst)}})
	for range 3 {
		for range 3 {
			l.append(l.exec(1, "/usr/bin/id", "id"))
		}
		l.now += 600 * second
		l.append(l.exec(1, "/usr/bin/ls", "ls"))
	}
	news := l.news()
	res, err := e.Evaluate(t.Context(), news)
	if err != nil || len(res.Alerts) != 3 {
		t.Errorf("%v: %s", err, titles(res.Alerts))
	}
	again, err := e.Evaluate(t.Context(), news)
	if err != nil || len(again.Alerts) != 3 || again.Alerts[1].ID != res.Alerts[1].ID {
		t.Errorf("the same range again: %v: %s", err, titles(again.Alerts))
	}
}

// TestWindowEvents wants single events in a window to be reported each, once.
func TestWindowEvents(t *testing.T) {
	l := newLab(t)
	r := l.rule("window: 1m\nsql: SELECT a.seq, a.ts, a.cmdline FROM execs a JOIN execs b ON b.parent = a.parent AND b.ts > a.ts WHERE a.name = 'wget' AND b.name = 'sh'\n")
	e := l.engine(detect.Options{Rules: []rule.Rule{r}})
	l.append(l.exec(1, "/usr/bin/wget", "wget", "x"))
	if res := l.evaluate(e); len(res.Alerts) != 0 {
		t.Error(titles(res.Alerts))
	}
	l.append(l.exec(1, "/usr/bin/sh", "sh", "x"))
	res := l.evaluate(e)
	if len(res.Alerts) != 1 || res.Alerts[0].Evidence.Process == nil || res.Alerts[0].Evidence.Process.Exe != "/usr/bin/wget" {
		t.Errorf("%s", titles(res.Alerts))
	}
	l.append(l.exec(1, "/usr/bin/wget", "wget", "y"), l.exec(1, "/usr/bin/sh", "sh", "y"))
	if res := l.evaluate(e); len(res.Alerts) != 1 || !strings.Contains(res.Alerts[0].Title, "wget y") {
		t.Error(titles(res.Alerts))
	}
}

// TestWindowPlan wants the store to go to the start of a window, not through
// all events.
func TestWindowPlan(t *testing.T) {
	l := newLab(t)
	s, err := l.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	defaults := rule.Defaults()
	for _, r := range append(defaults, l.rule(burst), l.rule("window: 1m\nsql: SELECT seq FROM exits\n")) {
		if r.Window == 0 {
			continue
		}
		plan, err := detect.WindowPlan(t.Context(), s, r)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(plan, "\n")
		if !strings.Contains(text, "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)") || strings.Contains(text, "SCAN e") {
			t.Errorf("%s:\n%s", r.ID, text)
		}
		if s, err = l.open(t.Context()); err != nil { // the temporary views are there now
			t.Fatal(err)
		}
	}
}

func TestValidate(t *testing.T) {
	l := newLab(t)
	validate := func(rules []rule.Rule, beside ...rule.Rule) []error {
		t.Helper()
		problems, err := detect.Validate(t.Context(), l.open, rules, beside)
		if err != nil {
			t.Fatal(err)
		}
		return problems
	}
	for _, err := range validate(rule.Defaults()) {
		t.Error(err)
	}
	for sql, want := range map[string]string{
		"|\n  SELECT seq,\n    comandline\n  FROM execs":            "test.yaml:6:5: there is no column \"comandline\" (did you mean cmdline?)",
		"SELECT e.sequence FROM execs e":                            "there is no column \"sequence\" (there are",
		"SELECT seq FROM exec":                                      "test.yaml:4:22: there is no view \"exec\" (did you mean execs? the views are",
		"SELECT seq FROM FROM execs":                                "test.yaml:4:22: near \"FROM\": syntax error",
		"|\n  SELECT 'ü' AS x,\n  nope(seq) FROM execs":             "test.yaml:6:3: no such function: nope",
		"SELECT name FROM sqlite_master":                            "not open to queries",
		"SELECT 1 AS seq":                                           "the SQL reads none of the views",
		"SELECT seq FROM execs WHERE name = ?":                      "the SQL has 1 parameters",
		"SELECT seq FROM execs\nkey: [seq, nmae]":                   "test.yaml:5:6: the SQL has no result column \"nmae\" (its columns are seq)",
		"SELECT pid FROM processes\nwindow: 1m":                     "test.yaml:5:9: a window needs a view of events",
		"SELECT seq FROM execs; SELECT 1":                           "test.yaml:4:29: ",
		"SELECT load_extension('x') FROM execs":                     "load_extension",
		"SELECT seq FROM execs WHERE name = 'x' OR OR cmdline = ''": "test.yaml:4:48: near \"OR\"",
	} {
		for _, enabled := range []string{"true", "false"} {
			problems := validate([]rule.Rule{l.rule("id: a\ntitle: b\nseverity: low\nsql: " + sql + "\nenabled: " + enabled + "\n")})
			if len(problems) != 1 || !strings.Contains(problems[0].Error(), want) {
				t.Errorf("%s:\n%v\nwant %s", sql, problems, want)
				continue
			}
			if _, ok := problems[0].(*rule.Error); !ok {
				t.Errorf("%T", problems[0])
			}
		}
	}
}

// A rule is valid when it runs beside the others: SQLite counts the tables behind the
// columns that any of them reads.
func TestCTEBesideOthers(t *testing.T) {
	l := newLab(t)
	all := []rule.Rule{l.rule("id: all\ntitle: x\nseverity: low\nsql: SELECT * FROM execs\n")}
	const cte = "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x + 1 FROM c WHERE x < 3)"
	one := l.rule("id: one\ntitle: x\nseverity: low\nsql: " + cte + " SELECT e.seq FROM execs e JOIN c ON 1 WHERE e.name = 'ls'\n")
	three := l.rule("id: three\ntitle: x\nseverity: low\nsql: " + cte + " SELECT e.seq FROM execs e, execs f, execs g JOIN c ON 1 WHERE e.name = 'ls'\n")
	for _, test := range []struct {
		r      rule.Rule
		beside []rule.Rule
		runs   bool
	}{{one, nil, true}, {one, all, true}, {one, rule.Defaults(), true}, {three, nil, true}, {three, rule.Defaults(), true}, {three, all, false}} {
		problems, err := detect.Validate(t.Context(), l.open, []rule.Rule{test.r}, test.beside)
		if err != nil {
			t.Fatal(err)
		}
		e := l.engine(detect.Options{Rules: append([]rule.Rule{test.r}, test.beside...)})
		s := e.Status()[0]
		if runs := s.State == detect.StateOK; runs != test.runs || (len(problems) == 0) != runs {
			t.Errorf("%s beside %d: %v, and %+v", test.r.ID, len(test.beside), problems, s)
		}
	}
	// So are the others, unless they do not run without it either.
	for _, test := range []struct {
		name          string
		rules, beside []rule.Rule
		want          string
	}{
		{"it stops another", all, []rule.Rule{one, three}, "test.yaml:4:6: VIEWs and/or subqueries nested too deep (it runs without the rules that are validated)"},
		{"another one does", []rule.Rule{one}, []rule.Rule{all[0], three}, ""},
	} {
		problems, err := detect.Validate(t.Context(), l.open, test.rules, test.beside)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for _, p := range problems {
			line, _, _ := strings.Cut(p.Error(), "\n")
			got += line
		}
		if got != test.want {
			t.Errorf("%s: %s", test.name, got)
		}
	}
	e := l.engine(detect.Options{Rules: append(all, one)})
	l.append(l.exec(1, "/usr/bin/ls", "ls"))
	found := 0
	for _, a := range l.evaluate(e).Alerts {
		if a.RuleID == "one" {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%d alerts of one", found)
	}
}

// BenchmarkEvaluate runs rules over new execs of a build host.
func BenchmarkEvaluate(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := newLab(b)
			var rules []rule.Rule
			for _, r := range rule.Defaults() {
				if r.Window == 0 && len(rules) < 12 {
					rules = append(rules, r)
				}
			}
			e := l.engine(detect.Options{Rules: rules})
			var batch []event.Event
			parent := l.exec(1, "/usr/bin/make", "make", "-j4")
			l.append(parent)
			l.news()
			for i := range n {
				exe := [...]string{"/usr/bin/gcc", "/usr/bin/dash", "/usr/bin/sed", "/usr/bin/git"}[i%4]
				batch = append(batch, l.exec(parent.Process.PID, exe, "tool", "-c", fmt.Sprintf("/home/ann/src/project/file%d.c", i), "-o", "out.o"))
			}
			l.append(batch...)
			news := l.news()
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if res, err := e.Evaluate(b.Context(), news); err != nil || len(res.Alerts) != 0 {
					b.Fatal(res, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/1000/float64(b.N)/float64(n), "us/exec")
		})
	}
}

// TestWindowPutOff wants a look that took long to delay the next one, and
// nothing to be lost by it.
func TestWindowPutOff(t *testing.T) {
	l := newLab(t)
	now := time.Unix(1_800_000_000, 0)
	e := l.engine(detect.Options{
		Rules: []rule.Rule{l.rule(burst)},
		Now: func() time.Time { // each look at the clock finds it 20 ms later
			now = now.Add(20 * time.Millisecond)
			return now
		},
	})
	evaluate := func(r detect.Range) detect.Result {
		t.Helper()
		r.Final = false
		res, err := e.Evaluate(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	l.append(l.exec(1, "/usr/bin/id", "id"))
	if res := evaluate(l.news()); res.PutOff != -1 || !res.Again.IsZero() {
		t.Errorf("the first look was put off: %+v", res)
	}
	cursor := l.from
	l.append(l.exec(1, "/usr/bin/id", "id"))
	first := evaluate(l.news())
	l.append(l.exec(1, "/usr/bin/id", "id"))
	second := evaluate(l.news())
	for _, res := range []detect.Result{first, second} {
		// 40 ms at one percent of a core are 4 s.
		if wait := res.Again.Sub(now); res.PutOff != cursor || wait < 3*time.Second || wait > 5*time.Second || len(res.Alerts) != 0 {
			t.Errorf("put off to %v, in %v: %+v", res.PutOff, wait, res)
		}
	}
	now = second.Again
	res := evaluate(detect.Range{FromSeq: l.from, ToSeq: l.from})
	if len(res.Alerts) != 1 || res.PutOff != -1 {
		t.Errorf("after the pause: %+v", res)
	}
}
