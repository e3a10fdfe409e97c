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

const badHash = "6262626262626262626262626262626262626262626262626262626262626262" // 32 times b

// withHash gives an exec its hash.
func withHash(e event.Event) event.Event {
	x := *e.Exec
	x.SHA256 = strings.Repeat("b", 32)
	e.Exec, e.Known = &x, e.Known|event.KnownSHA256
	return e
}

// lateHash is the hash of an exec that came without.
func lateHash(e event.Event) event.Event {
	return event.Event{
		Kind: event.KindHash, Source: e.Source, Known: event.KnownTime, Time: e.Time + second, Process: e.Process,
		Hash: &event.Hash{ExecTime: e.Time, SHA256: strings.Repeat("b", 32), Exe: e.Exec.Exe, Dev: e.Exec.Dev, Inode: e.Exec.Inode},
	}
}

// record evaluates what is new and stores the alerts, as the agent does.
func (l *lab) record(e *detect.Engine, r detect.Range) []event.Alert {
	l.Helper()
	res, err := e.Evaluate(l.Context(), r)
	if err != nil {
		l.Fatal(err)
	}
	raised, err := l.db.RecordAlerts(l.Context(), r.ToSeq, res.Alerts, time.Hour)
	if err != nil {
		l.Fatal(err)
	}
	return raised
}

// alerts are the rules and counts of all stored alerts.
func (l *lab) alerts() string {
	l.Helper()
	s, err := l.open(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	defer s.Close()
	stmt, _, err := s.Prepare("SELECT rule_id, count, process FROM alerts ORDER BY rule_id, first_seen")
	if err != nil {
		l.Fatal(err)
	}
	defer stmt.Finalize()
	var b strings.Builder
	for {
		more, err := stmt.Step()
		if err != nil {
			l.Fatal(err)
		}
		if !more {
			return strings.TrimSpace(b.String())
		}
		fmt.Fprintf(&b, "%s %d %s\n", stmt.ColumnText(0), stmt.ColumnInt64(1), stmt.ColumnText(2))
	}
}

// TestHashFires wants one alert with a count of 1, whichever comes first, the
// event or the hash, and however the two are cut into evaluations and runs.
func TestHashFires(t *testing.T) {
	texts := []string{
		"id: bad\ntitle: Bad\nseverity: high\nsql: SELECT seq, exe FROM execs WHERE sha256 = '" + badHash + "'\n",
		"id: either\ntitle: Either\nseverity: high\nsql: SELECT seq, sha256, name FROM execs WHERE name = 'x' OR sha256 = '" + badHash + "'\n",
		"id: nohash\ntitle: No hash\nseverity: low\nsql: SELECT seq, name FROM execs WHERE sha256 IS NULL AND name = 'x'\n",
		"id: state\ntitle: State\nseverity: low\nsql: SELECT e.seq, e.name FROM execs e JOIN binaries b ON b.exe = e.exe WHERE b.sha256 = '" + badHash + "'\n",
		"id: unseen\ntitle: Unseen\nseverity: low\nsql: SELECT process, sha256 FROM execs WHERE name = 'x'\n",
		"id: windowed\ntitle: Windowed\nseverity: low\nwindow: 60s\nsql: SELECT seq, ts, sha256 FROM execs WHERE sha256 = '" + badHash + "' OR name = 'x'\n",
		"id: windowhash\ntitle: Window of hashes\nseverity: low\nwindow: 60s\nsql: SELECT count(*) AS n, max(ts) AS ts FROM execs WHERE sha256 = '" + badHash + "' HAVING n > 0\n",
		"id: group\ntitle: Group\nseverity: low\nkey: [name]\nsql: SELECT name, count(*) AS n FROM execs WHERE sha256 = '" + badHash + "' GROUP BY name\n",
	}
	type step string
	const (
		exec, hash   step = "exec", "hash"
		both         step = "exec with hash"
		look, reopen step = "look", "restart"
	)
	for _, c := range []struct {
		steps  []step
		nohash bool // the exec was seen without its hash
	}{
		{[]step{both, look}, false},
		{[]step{exec, look, hash, look}, true},
		{[]step{exec, hash, look}, true},
		{[]step{exec, hash, look, look}, true},
		{[]step{exec, look, reopen, hash, look}, true},
		{[]step{exec, look, hash, reopen, look}, true},
		{[]step{exec, reopen, hash, look, reopen, look}, true},
		{[]step{exec, look, hash, look, hash, look}, true},
	} {
		t.Run(fmt.Sprint(c.steps), func(t *testing.T) {
			l := newLab(t)
			var rules []rule.Rule
			for _, text := range texts {
				rules = append(rules, l.rule(text))
			}
			x := l.exec(1, "/tmp/x", "x", "1")
			l.append(l.exec(1, "/bin/other", "other"))
			e := l.engine(detect.Options{Rules: rules})
			hashes := 0
			for _, s := range c.steps {
				switch s {
				case exec:
					l.append(x)
				case both:
					l.append(withHash(x))
				case hash:
					if hashes++; hashes == 1 {
						l.append(lateHash(x))
					} else if a, err := l.db.Append(t.Context(), []event.Event{lateHash(x)}); err != nil || a.Rows != 0 {
						t.Errorf("second hash: %+v %v", a, err)
					}
				case look:
					if l.next.Rows > 0 {
						l.record(e, l.news())
					}
				case reopen: // from where the store says
					if err := e.Close(); err != nil {
						t.Fatal(err)
					}
					e = l.engine(detect.Options{Rules: rules})
				}
			}
			pid := key(x.Process.PID).String()
			want := []string{"bad 1 " + pid, "either 1 " + pid, "group 1", "state 1 " + pid, "unseen 1 " + pid, "windowed 1 " + pid, "windowhash 1"}
			if c.nohash {
				want = append(want[:3], append([]string{"nohash 1 " + pid}, want[3:]...)...)
			}
			got := l.alerts()
			if got = strings.ReplaceAll(got, " \n", "\n"); got != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
			for _, s := range e.Status() {
				if s.State != detect.StateOK {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

// TestHashOfOneExecOfMany: what a process was found for without a hash hides
// nothing that is found of it with one.
func TestHashOfOneExecOfMany(t *testing.T) {
	for _, columns := range []string{"process, exe", "process, exe, sha256", "process", "seq, process"} {
		t.Run(columns, func(t *testing.T) {
			l := newLab(t)
			e := l.engine(detect.Options{Rules: []rule.Rule{
				l.rule("id: r\ntitle: R\nseverity: high\nsql: SELECT " + columns + " FROM execs WHERE name = 'nc' OR sha256 IN ('" + badHash + "')\n"),
			}})
			nc := l.exec(1, "/bin/nc", "nc")
			bad := l.exec(1, "/tmp/bad", "bad")
			bad.Process = nc.Process
			l.append(nc, bad)
			if res := l.evaluate(e); len(res.Alerts) != 1 {
				t.Errorf("%d alerts without hashes, want that of nc", len(res.Alerts))
			}
			other := lateHash(nc)
			other.Hash.SHA256 = strings.Repeat("o", 32)
			l.append(other, lateHash(bad))
			if res := l.evaluate(e); len(res.Alerts) != 1 {
				t.Errorf("%d alerts with hashes, want that of bad", len(res.Alerts))
			}
			l.append(l.exec(1, "/bin/other", "other"))
			if res := l.evaluate(e); len(res.Alerts) != 0 {
				t.Errorf("%d more alerts", len(res.Alerts))
			}
		})
	}
}

// TestRangeWithHashesAgain: a range that is evaluated again gives the same alerts
// with the same ids, whatever was stored since.
func TestRangeWithHashesAgain(t *testing.T) {
	l := newLab(t)
	rules := []rule.Rule{
		l.rule("id: a\ntitle: A\nseverity: low\nsql: SELECT seq, sha256 FROM execs WHERE sha256 IS NULL OR sha256 = '" + badHash + "'\n"),
		l.rule("id: b\ntitle: B\nseverity: low\nsql: SELECT seq, sha256 FROM execs WHERE sha256 = '" + badHash + "'\n"),
		l.rule("id: n\ntitle: N\nseverity: low\nsql: SELECT count(*) AS n, max(sha256) AS sha256 FROM execs HAVING n > 0\n"),
	}
	e := l.engine(detect.Options{Rules: rules})
	var execs, hashes []event.Event
	for range 5 {
		x := l.exec(1, "/tmp/x", "x")
		execs, hashes = append(execs, x), append(hashes, lateHash(x))
	}
	l.append(execs...)
	l.append(hashes[:2]...)
	ids := func(r detect.Range) (list []string) {
		res, err := e.Evaluate(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range res.Alerts {
			list = append(list, a.RuleID+" "+a.ID)
		}
		return list
	}
	r := l.news()
	first := ids(r)
	if len(first) != 5+2+1 { // a without hashes, b with two; n counts five, then finds nothing new of two but their hash
		t.Errorf("%d alerts: %q", len(first), first)
	}
	l.append(hashes[2:]...)
	if again := ids(r); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("got %q, first %q", again, first)
	}
	if late := ids(l.news()); len(late) != 3 {
		t.Errorf("%q", late)
	}
	if s := e.Status()[1]; s.Matches != 2+2+3 || s.Evaluations != 5 {
		t.Errorf("%+v", s)
	}
}

// TestHashOfLongAgo: the exec may be far from anything that is new, which must
// not make all that lies between be looked at.
func TestHashOfLongAgo(t *testing.T) {
	l := newLab(t)
	rules := []rule.Rule{
		l.rule("id: b\ntitle: B\nseverity: low\nsql: SELECT seq FROM execs WHERE sha256 = '" + badHash + "'\n"),
		l.rule("id: w\ntitle: W\nseverity: low\nwindow: 60s\nsql: SELECT count(*) AS n, max(ts) AS ts FROM execs WHERE sha256 = '" + badHash + "' HAVING n > 0\n"),
		l.rule("id: other\ntitle: O\nseverity: low\nwindow: 60s\nsql: SELECT count(*) AS n FROM execs\n"),
	}
	e := l.engine(detect.Options{Rules: rules})
	x := l.exec(1, "/tmp/x", "x")
	l.append(x)
	l.evaluate(e)
	before := e.Status()
	l.now += 30 * 24 * 3600 * second
	h := lateHash(x)
	h.Time = l.now
	l.append(h, l.exec(1, "/bin/y", "y"))
	if l.next.FirstTS < h.Time {
		t.Errorf("what is new is said to begin at %d", l.next.FirstTS)
	}
	r := l.news()
	res, err := e.Evaluate(t.Context(), r)
	if err != nil || len(res.Alerts) != 3 {
		t.Fatalf("%+v %v", res.Alerts, err)
	}
	for i, want := range []uint64{2, 2, 1} { // the new exec, and the old one
		if n := e.Status()[i].Evaluations - before[i].Evaluations; n != want {
			t.Errorf("%s was evaluated %d times, want %d", e.Status()[i].ID, n, want)
		}
	}
	for _, a := range res.Alerts[:2] {
		if a.LastSeen != x.Time || !a.Complete {
			t.Errorf("%s: last seen %d, complete %v", a.RuleID, a.LastSeen, a.Complete)
		}
	}
}

// TestManyMatchesWithoutHash: a rule that finds more than may be reported finds
// no more of it when the hashes come.
func TestManyMatchesWithoutHash(t *testing.T) {
	l := newLab(t)
	e := l.engine(detect.Options{MaxRows: 3, Rules: []rule.Rule{
		l.rule("id: a\ntitle: A\nseverity: low\nsql: SELECT seq FROM execs WHERE sha256 = '" + badHash + "' OR name <> 'z'\n"),
	}})
	var hashes []event.Event
	for i := range 10 {
		x := l.exec(1, "/tmp/"+string(rune('q'+i)), "x")
		l.append(x)
		hashes = append(hashes, lateHash(x))
	}
	if res := l.evaluate(e); len(res.Alerts) != 3 || res.Cut != 6 {
		t.Errorf("%d alerts, %d cut", len(res.Alerts), res.Cut)
	}
	l.append(hashes...)
	if res := l.evaluate(e); len(res.Alerts) != 1 || res.Cut != 0 || res.Alerts[0].Evidence.Process.Exe != "/tmp/z" {
		t.Errorf("%d alerts, %d cut", len(res.Alerts), res.Cut)
	}
}

// TestHashOfAnEarlierEvent: what a window rule joins with the exec may have come
// behind it, before its hash did.
func TestHashOfAnEarlierEvent(t *testing.T) {
	l := newLab(t)
	rules := []rule.Rule{
		l.rule("id: join\ntitle: J\nseverity: low\nwindow: 10s\nsql: SELECT a.process, b.exe FROM execs a JOIN execs b ON b.ts > a.ts WHERE a.sha256 = '" + badHash + "'\n"),
		l.rule("id: count\ntitle: C\nseverity: low\nwindow: 10s\nsql: SELECT count(*) AS n FROM execs WHERE sha256 = '" + badHash + "' HAVING n > 2\n"),
	}
	e := l.engine(detect.Options{Rules: rules})
	execs := make([]event.Event, 3)
	for i := range execs {
		execs[i] = l.exec(1, "/tmp/x", "x")
		l.now += 3 * second
		if l.append(execs[i]); len(l.evaluate(e).Alerts) != 0 {
			t.Fatal("found without a hash")
		}
	}
	l.append(l.exec(1, "/bin/y", "y")) // the last within their window
	l.evaluate(e)
	l.now += 60 * second
	got := map[string]int{}
	for _, i := range []int{1, 2, 0} {
		l.append(lateHash(execs[i]))
		for _, a := range l.evaluate(e).Alerts {
			got[a.RuleID]++
		}
	}
	if got["join"] == 0 || got["count"] == 0 {
		t.Errorf("found %v", got)
	}
}

// TestHashOfAChangedBinary: a rule over the state of binaries finds its exec when
// that is new, and not once more when the hash comes.
func TestHashOfAChangedBinary(t *testing.T) {
	l := newLab(t)
	e := l.engine(detect.Options{Rules: []rule.Rule{
		l.rule("id: changed\ntitle: C\nseverity: low\nsql: SELECT e.process, e.exe FROM execs e JOIN binaries b ON b.exe = e.exe WHERE b.previous IS NOT NULL\n"),
	}})
	old := l.exec(1, "/tmp/x", "x")
	was := lateHash(old)
	was.Hash.SHA256 = strings.Repeat("a", 32)
	l.append(old, was)
	changed := l.exec(1, "/tmp/x", "x")
	l.append(changed, lateHash(changed))
	l.record(e, l.news())
	again := l.exec(1, "/tmp/x", "x") // of a procmond that does not remember the file
	l.append(again)
	l.record(e, l.news())
	before := l.alerts()
	l.append(lateHash(again))
	l.record(e, l.news())
	if got := l.alerts(); got != before || before == "" {
		t.Errorf("before the hash\n%s\nafter it\n%s", before, got)
	}
}
