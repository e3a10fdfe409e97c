package detect_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/detect"
	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/rule"
)

func titles(alerts []event.Alert) string {
	var list []string
	for _, a := range alerts {
		list = append(list, a.Title)
	}
	return strings.Join(list, "\n")
}

// TestNewEventsOnce wants each event to be seen by a rule once, with all that
// is to be known in the alert.
func TestNewEventsOnce(t *testing.T) {
	l := newLab(t)
	r := l.rule("id: nc\ntitle: Netcat\nseverity: high\nauthor: Ann\ntags: [attack.execution]\nsql: SELECT seq, name, argc FROM execs WHERE name = 'nc'\n")
	now := time.Unix(1_800_000_000, 0)
	e := l.engine(detect.Options{Rules: []rule.Rule{r}, Now: func() time.Time { return now }})
	sshd := l.exec(1, "/usr/sbin/sshd", "sshd: ann")
	nc := l.exec(sshd.Process.PID, "/usr/bin/nc", "nc", "-l", "a\x1b[31m\n\xff\u202e", strings.Repeat("x", 300))
	l.append(sshd, nc)
	first := l.news()
	res, err := e.Evaluate(t.Context(), first)
	if err != nil || len(res.Alerts) != 1 {
		t.Fatalf("%+v %v", res, err)
	}
	a := res.Alerts[0]
	head := `Netcat: nc -l a\x1b[31m\n\xff\u202e xxx`
	if n := len([]rune(a.Title)); !strings.HasPrefix(a.Title, head) || !strings.HasSuffix(a.Title, "…"+` (pid 1002, parent sshd)`) || n > 200 || n < 190 {
		t.Errorf("title of %d characters: %s", n, a.Title)
	}
	if string(a.Evidence.Row) != `{"seq":2,"name":"nc","argc":4}` {
		t.Errorf("row %s", a.Evidence.Row)
	}
	if p := a.Evidence.Process; p.PID != 1002 || p.Exe != "/usr/bin/nc" || p.User != "ann" || *p.UID != 1000 || p.Cwd != "/home/ann" || p.Process != a.Process || a.Process != key(1002).String() {
		t.Errorf("process %+v", p)
	}
	if p := a.Evidence.Parent; p.PID != 1001 || p.Exe != "/usr/sbin/sshd" || p.Cmdline != "sshd: ann" || a.Evidence.Ancestors[0] != "/usr/sbin/sshd" {
		t.Errorf("parent %+v, ancestors %q", p, a.Evidence.Ancestors)
	}
	a.Evidence, a.Title = event.Evidence{}, ""
	if a.ID == "" || a.RuleVersion != r.Version || a.RuleName != "Netcat" || a.Author != "Ann" || a.Severity != event.SeverityHigh || a.Tags[0] != "attack.execution" ||
		a.Key != `["/usr/bin/nc","/usr/sbin/sshd","ann"]` || a.Time != now.UnixNano() || a.FirstSeen != nc.Time || a.LastSeen != nc.Time || !a.Complete || a.Count != 1 || a.State != "open" {
		t.Errorf("%+v", a)
	}
	again, err := e.Evaluate(t.Context(), first)
	if err != nil || len(again.Alerts) != 1 || again.Alerts[0].ID != a.ID {
		t.Errorf("the same range gave %+v %v", again, err)
	}
	l.append(l.exec(1, "/usr/bin/ls", "ls"))
	if res := l.evaluate(e); len(res.Alerts) != 0 {
		t.Errorf("an old event was seen again: %s", titles(res.Alerts))
	}
	if res, err := e.Evaluate(t.Context(), detect.Range{FromSeq: 5, ToSeq: 5}); err != nil || len(res.Alerts) != 0 {
		t.Error("an empty range", res, err)
	}
	if s := e.Status()[0]; s.Matches != 2 || s.Evaluations != 3 || s.State != detect.StateOK {
		t.Errorf("%+v", s)
	}
}

// TestKinds wants alerts of events that are no execs, and of the state of things.
func TestKinds(t *testing.T) {
	l := newLab(t)
	rules := []rule.Rule{
		l.rule("id: fork\ntitle: Fork\nseverity: low\nsql: SELECT seq, process FROM forks\n"),
		l.rule("id: crash\ntitle: Crash\nseverity: low\nsql: SELECT seq, signal FROM exits WHERE signal = 11\n"),
		l.rule("id: failed\ntitle: Failed\nseverity: low\nsql: SELECT seq, exe, error, uid + 0.5 AS f, 9e999 AS inf, NULL AS n, name, name FROM exec_failures\n"),
		l.rule("id: lost\ntitle: Lost\nseverity: low\nsql: SELECT seq, cause FROM gaps\n"),
		l.rule("id: alive\ntitle: Alive\nseverity: low\nkey: [name]\nsql: SELECT process, name FROM processes WHERE name = 'bash'\n"),
		l.rule("id: count\ntitle: Count\nseverity: low\nsql: SELECT name, count(*) AS n, 'x' AS time FROM execs GROUP BY name\n"),
		l.rule("id: join\ntitle: Join\nseverity: low\nsql: SELECT e.seq, e.name FROM execs e JOIN exits x ON x.process = e.process\n"),
	}
	e := l.engine(detect.Options{Rules: rules})
	bash := l.exec(1, "/usr/bin/bash", "-bash")
	child := event.Event{Kind: event.KindFork, Source: event.SourceEBPF, Known: event.KnownTime | event.KnownParent, Time: l.now + 1, Process: key(5000), Parent: bash.Process}
	failed := l.exec(bash.Process.PID, "/bin/none", "none")
	failed.Kind, failed.Exec.Errno = event.KindExecFailed, 2
	exit := event.Event{Kind: event.KindExit, Source: event.SourceEBPF, Known: event.KnownTime | event.KnownCode, Time: l.now + 2, Process: bash.Process, Exit: &event.Exit{Signal: 11}}
	gap := event.Event{Kind: event.KindGap, Source: event.SourceAgent, Known: event.KnownTime, Time: l.now + 3, Gap: &event.Gap{Until: l.now + 4, Cause: "ring full"}}
	l.append(bash, child, failed, exit, gap)
	got := map[string]event.Alert{}
	for _, a := range l.evaluate(e).Alerts {
		got[a.RuleID] = a
		if a.Complete {
			t.Errorf("%s is complete, with a gap in its range", a.RuleID)
		}
		if !json.Valid(a.Evidence.Row) {
			t.Errorf("%s", a.Evidence.Row)
		}
	}
	for id, want := range map[string]string{
		"fork":   "Fork: -bash (pid 5000, parent bash)",
		"crash":  "Crash: -bash (pid 1001)",
		"failed": "Failed: exe=/bin/none",
		"lost":   "Lost: cause=ring full",
		"alive":  "Alive: name=bash (pid ",
		"count":  "Count: name=bash n=1",
		"join":   "Join: -bash (pid 1001)",
	} {
		if !strings.HasPrefix(got[id].Title, want) {
			t.Errorf("%s: %q, want %q", id, got[id].Title, want)
		}
	}
	if row := string(got["failed"].Evidence.Row); !strings.HasSuffix(row, `"f":1000.5,"inf":"+Inf","n":null,"column_7":"none","name":"none"}`) {
		t.Error(row)
	}
	for id, want := range map[string]string{"alive": `["bash"]`, "count": `["bash"]`, "lost": `["ring full"]`} {
		if got[id].Key != want {
			t.Errorf("%s: key %s, want %s", id, got[id].Key, want)
		}
	}
	if got["crash"].LastSeen != exit.Time || got["fork"].Process != key(5000).String() {
		t.Errorf("%+v %+v", got["crash"], got["fork"])
	}
	for _, s := range e.Status() {
		if s.State != detect.StateOK {
			t.Errorf("%+v", s)
		}
	}
}

// endless takes for ever, as long as there is one exec.
const endless = "SELECT max(n) FROM (WITH RECURSIVE c(n) AS (SELECT argc FROM execs UNION ALL SELECT n + 1 FROM c) SELECT n FROM c)"

func TestStrikes(t *testing.T) {
	for _, window := range []string{"", "window: 60s\n"} {
		l := newLab(t)
		rules := []rule.Rule{
			l.rule("id: first\ntitle: x\nseverity: low\n" + window + "key: [seq]\nsql: SELECT seq FROM execs\n"),
			l.rule("id: endless\ntitle: x\nseverity: low\n" + window + "sql: " + endless + "\n"),
			l.rule("id: fails\ntitle: x\nseverity: low\n" + window + "sql: SELECT json_extract('{', '$') FROM execs\n"),
			l.rule("id: last\ntitle: x\nseverity: low\n" + window + "key: [seq]\nsql: SELECT seq FROM execs\n"),
		}
		e := l.engine(detect.Options{Rules: rules, Deadline: 30 * time.Millisecond})
		for i := range 4 {
			l.append(l.exec(1, "/usr/bin/ls", "ls"))
			began := time.Now()
			res := l.evaluate(e)
			if len(res.Alerts) != 2 {
				t.Errorf("%q round %d: %d alerts, want one each of the two good rules", window, i, len(res.Alerts))
			}
			if d := time.Since(began); d > 2*time.Second {
				t.Errorf("took %v", d)
			}
			if want := 2; i < 3 && res.Failed != want || i == 3 && res.Failed != 0 {
				t.Errorf("%q round %d: %d failed", window, i, res.Failed)
			}
		}
		for i, want := range []detect.RuleStatus{
			{State: detect.StateOK}, {State: detect.StateDisabled, Strikes: 3, Err: "30ms"},
			{State: detect.StateDisabled, Strikes: 3, Err: "malformed JSON"}, {State: detect.StateOK},
		} {
			s := e.Status()[i]
			if s.State != want.State || s.Strikes != want.Strikes || !strings.Contains(s.Err, want.Err) {
				t.Errorf("%+v", s)
			}
		}
	}
}

func TestBrokenRules(t *testing.T) {
	l := newLab(t)
	rules := []rule.Rule{
		l.rule("id: off\ntitle: x\nseverity: low\nenabled: false\nsql: SELECT seq FROM execs\n"),
		l.rule("id: wrong\ntitle: x\nseverity: low\nsql: SELECT nothing FROM execs\n"),
		l.rule("id: good\ntitle: x\nseverity: low\nsql: SELECT seq, * FROM execs\n"),
	}
	e := l.engine(detect.Options{Rules: rules})
	l.append(l.exec(1, "/usr/bin/ls", "ls"))
	if res := l.evaluate(e); len(res.Alerts) != 1 {
		t.Errorf("%+v", res)
	}
	if s := e.Status(); s[0].State != detect.StateDisabled || s[1].State != detect.StateDisabled || !strings.Contains(s[1].Err, "test.yaml:4:13") || s[2].State != detect.StateOK {
		t.Errorf("%+v", s)
	}
}

func TestCaps(t *testing.T) {
	l := newLab(t)
	one := l.rule("id: rows\ntitle: x\nseverity: low\nsql: SELECT seq FROM execs\n")
	two := l.rule("id: bytes\ntitle: x\nseverity: low\nsql: SELECT seq, cmdline FROM execs\n")
	e := l.engine(detect.Options{Rules: []rule.Rule{one, two}, MaxRows: 5, MaxBytes: 2000})
	for range 12 {
		l.append(l.exec(1, "/usr/bin/ls", "ls", strings.Repeat("y", 900)))
	}
	res := l.evaluate(e)
	if len(res.Alerts) != 5+3 || res.Cut != 7+9 {
		t.Errorf("%d alerts, %d cut", len(res.Alerts), res.Cut)
	}
	if s := e.Status(); s[0].Missed.Matches != 7 || s[0].Matches != 12 || s[1].Missed.Matches != 9 {
		t.Errorf("%+v", s)
	}
}

// TestLongValues wants a rule to see 16 KiB of a command line, and the alert of
// a text that is no UTF-8 to be valid JSON.
func TestLongValues(t *testing.T) {
	l := newLab(t)
	r := l.rule("sql: SELECT seq, octet_length(cmdline) AS n, substr(cmdline, 1, 9) AS head, octet_length(parent_cmdline) AS m FROM execs\n")
	w := l.rule("id: w\ntitle: x\nseverity: low\nwindow: 10s\nsql: SELECT seq, ts, octet_length(cmdline) AS n FROM execs\n")
	e := l.engine(detect.Options{Rules: []rule.Rule{r, w}})
	x := l.exec(1, "/usr/bin/ls", "ls", "\xff\xc3"+strings.Repeat("ü\xff", 60_000))
	l.append(x, l.exec(x.Process.PID, "/usr/bin/ls", "ls"))
	res := l.evaluate(e)
	if len(res.Alerts) != 4 {
		t.Fatalf("%+v %+v", res, e.Status())
	}
	if row := string(res.Alerts[0].Evidence.Row); !strings.Contains(row, `"n":16384,"head":"ls \\xff\\xc3ü`) {
		t.Error(row)
	}
	if row := string(res.Alerts[1].Evidence.Row); !strings.Contains(row, `"m":16384`) {
		t.Error(row)
	}
	if row := string(res.Alerts[2].Evidence.Row); !strings.Contains(row, `"n":16384`) {
		t.Error(row)
	}
	for _, a := range res.Alerts {
		if b, err := json.Marshal(a.Evidence); err != nil || !json.Valid(b) || strings.Contains(string(b), "\ufffd") {
			t.Errorf("%v %.200s", err, b)
		}
	}
}

// TestUnreadable wants a row that is too long for the session to hide itself
// only, and to be counted.
func TestUnreadable(t *testing.T) {
	l := newLab(t)
	e := l.engine(detect.Options{Rules: []rule.Rule{l.rule("sql: SELECT seq, cmdline FROM execs\n")}})
	for i := range 9 {
		arg := "x"
		if i == 4 {
			arg = strings.Repeat("y", 1<<20)
		}
		l.append(l.exec(1, "/usr/bin/ls", "ls", arg))
	}
	if res := l.evaluate(e); len(res.Alerts) != 8 || res.Unreadable != 1 {
		t.Errorf("%d alerts, %d unreadable", len(res.Alerts), res.Unreadable)
	}
	l.append(l.exec(1, "/usr/bin/ls", "ls"))
	if res := l.evaluate(e); len(res.Alerts) != 1 || res.Unreadable != 0 {
		t.Errorf("%+v", res)
	}
}

func TestFailures(t *testing.T) {
	l := newLab(t)
	none := errors.New("no store")
	r := l.rule("sql: SELECT seq FROM execs\n")
	w := l.rule("window: 1m\nsql: SELECT seq FROM execs\n")
	for _, rules := range [][]rule.Rule{{r}, {w}} {
		_, err := detect.New(t.Context(), detect.Options{Rules: rules, Open: func(context.Context) (detect.Session, error) { return nil, none }})
		if !errors.Is(err, none) {
			t.Error(err)
		}
	}
	for _, rules := range [][]rule.Rule{{r}, {w}} {
		e := l.engine(detect.Options{Rules: rules})
		l.append(l.exec(1, "/usr/bin/ls", "ls"))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		news := l.news()
		if _, err := e.Evaluate(ctx, news); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if s := e.Status()[0]; s.Strikes != 0 {
			t.Errorf("shutting down is no strike: %+v", s)
		}
		if res, err := e.Evaluate(t.Context(), news); err != nil || len(res.Alerts) == 0 {
			t.Errorf("%+v %v", res, err)
		}
	}
	if e := l.engine(detect.Options{}); len(e.Status()) != 0 {
		t.Error(e.Status())
	}
}
