package detect_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sentineld/sentineld/internal/detect"
	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/rule"
)

// breaks is the condition of a rule that fails where it sees the program bad.
const breaks = "json_valid(json_extract(iif(name = 'bad', '{', '[1]'), '$'))"

// TestMissed wants what a rule did not look at to stay in its status when it runs again.
func TestMissed(t *testing.T) {
	for _, window := range []string{"", "window: 60s\n"} {
		l := newLab(t)
		now := time.Unix(1_800_000_000, 0)
		e := l.engine(detect.Options{Deadline: 100 * time.Millisecond, Now: func() time.Time { return now }, Rules: []rule.Rule{
			l.rule("id: fails\ntitle: x\nseverity: low\n" + window + "sql: SELECT seq FROM execs WHERE " + breaks + "\n"),
			l.rule("id: slow\ntitle: x\nseverity: low\n" + window + "sql: SELECT seq FROM execs e WHERE iif(name = 'bad', (WITH RECURSIVE c(n) AS (VALUES(e.argc) UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c), 0) > 0\n"),
			l.rule("id: good\ntitle: x\nseverity: low\n" + window + "sql: SELECT seq FROM execs\n"),
			l.rule("id: off\ntitle: x\nseverity: low\n" + window + "enabled: false\nsql: SELECT seq FROM execs\n"),
			l.rule("id: wrong\ntitle: x\nseverity: low\n" + window + "sql: SELECT nothing FROM execs\n"),
		}})
		bad := l.exec(1, "/usr/bin/bad", "bad")
		l.append(bad)
		l.evaluate(e)
		then := now
		now = now.Add(time.Hour)
		l.now += 3600 * second
		fine := l.exec(1, "/usr/bin/ls", "ls")
		l.append(fine)
		l.evaluate(e)
		from := bad.Time
		if window != "" {
			from -= 60 * second
		}
		once := health.Missed{Evaluations: 1, From: from, Until: bad.Time, At: then.UnixNano()}
		for i, want := range []health.Missed{once, once, {}, {}, {From: bad.Time, Until: fine.Time, At: now.UnixNano()}} {
			s := e.Status()[i]
			if cause := s.Missed.Cause; (cause != "") != (want.Evaluations > 0) || s.ID == "slow" && !strings.Contains(cause, "100ms") {
				t.Errorf("%q: %s failed since %q", window, s.ID, cause)
			}
			s.Missed.Cause = ""
			if s.ID == "wrong" && window == "" {
				want.Until = s.Missed.Until // which views it would read is not known
			}
			if diff := cmp.Diff(want, s.Missed); diff != "" {
				t.Errorf("%q: %s (-want +got):\n%s", window, s.ID, diff)
			}
			if i < 3 && s.State != detect.StateOK {
				t.Errorf("%+v", s)
			}
		}
	}
}

// TestMissedByOneThatIsSwitchedOff wants what comes after it, and the windows that it had
// still to look at, to be missed too.
func TestMissedByOneThatIsSwitchedOff(t *testing.T) {
	l := newLab(t)
	e := l.engine(detect.Options{Strikes: 1, Rules: []rule.Rule{
		l.rule("id: w\ntitle: x\nseverity: low\nwindow: 60s\nsql: SELECT seq FROM execs WHERE " + breaks + "\n"),
		l.rule("id: plain\ntitle: x\nseverity: low\nsql: SELECT seq FROM execs WHERE " + breaks + "\n"),
	}})
	bad := l.exec(1, "/usr/bin/bad", "bad")
	l.append(bad)
	l.now += 600 * second
	l.append(l.exec(1, "/usr/bin/ls", "ls"))
	last := l.now
	for range 2 {
		l.evaluate(e)
		for i, from := range []int64{bad.Time - 60*second, bad.Time} {
			if m := e.Status()[i].Missed; m.From > bad.Time || m.From < from || m.Until != last || m.Evaluations != 1 {
				t.Errorf("%s missed %+v, want what is from %d to %d", e.Status()[i].ID, m, from, last)
			}
		}
		l.now += 3600 * second
		l.append(l.exec(1, "/usr/bin/ls", "ls"))
		last = l.now
	}
}

// TestMissedMatches wants matches over a limit and rows that cannot be read to be in the
// status of the rules that they are about.
func TestMissedMatches(t *testing.T) {
	l := newLab(t)
	now := time.Unix(1_800_000_000, 0)
	e := l.engine(detect.Options{MaxRows: 5, Now: func() time.Time { return now }, Rules: []rule.Rule{
		l.rule("id: many\ntitle: x\nseverity: low\nsql: SELECT seq, cmdline FROM execs\n"),
		l.rule("id: few\ntitle: x\nseverity: low\nsql: SELECT seq FROM execs WHERE name = 'id'\n"),
		l.rule("id: forks\ntitle: x\nseverity: low\nsql: SELECT seq FROM forks\n"),
	}})
	long := l.exec(1, "/usr/bin/ls", "ls", strings.Repeat("y", 1<<20))
	l.append(long)
	var first int64
	for range 7 {
		x := l.exec(1, "/usr/bin/ls", "ls")
		if l.append(x); first == 0 {
			first = x.Time
		}
	}
	res := l.evaluate(e)
	if len(res.Alerts) != 5 || res.Cut != 2 || res.Unreadable != 1 {
		t.Errorf("%d alerts, %d cut, %d unreadable", len(res.Alerts), res.Cut, res.Unreadable)
	}
	for i, want := range []health.Missed{
		{Matches: 2, Events: 1, From: long.Time, Until: l.now, At: now.UnixNano()}, {Events: 1, From: long.Time, Until: long.Time, At: now.UnixNano()}, {},
	} {
		if diff := cmp.Diff(want, e.Status()[i].Missed); diff != "" {
			t.Errorf("%s (-want +got):\n%s", e.Status()[i].ID, diff)
		}
	}
	// Its hash comes late, for a rule that reads one.
	h := l.engine(detect.Options{Rules: []rule.Rule{l.rule("id: hash\ntitle: x\nseverity: low\nsql: SELECT seq, cmdline FROM execs WHERE sha256 = '" + badHash + "'\n")}})
	l.append(lateHash(long))
	if res := l.evaluate(h); res.Unreadable != 1 {
		t.Errorf("%d unreadable", res.Unreadable)
	}
	if m := h.Status()[0].Missed; m.Events != 1 || m.From != long.Time || m.Until != long.Time {
		t.Errorf("%+v", m)
	}
}

// broken is a session that fails when it is told to.
type broken struct {
	detect.Session
	err *error
}

func (b broken) WithDeadline(ctx context.Context, d time.Duration, fn func() error) error {
	if *b.err != nil {
		return *b.err
	}
	return b.Session.WithDeadline(ctx, d, fn)
}

// TestStalled wants it to be told that rules with a window wait, and nothing to be missed
// by it.
func TestStalled(t *testing.T) {
	l := newLab(t)
	var fault error
	e, err := detect.New(t.Context(), detect.Options{Rules: []rule.Rule{l.rule(burst)}, Open: func(ctx context.Context) (detect.Session, error) {
		s, err := l.open(ctx)
		return broken{s, &fault}, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	l.append(l.exec(1, "/usr/bin/id", "id"), l.exec(1, "/usr/bin/id", "id"), l.exec(1, "/usr/bin/id", "id"))
	fault = errors.New("disk I/O error")
	res := l.evaluate(e)
	if !strings.Contains(res.Stalled, "disk I/O error") || res.PutOff != 0 || res.Again.IsZero() || len(res.Alerts) != 0 {
		t.Errorf("%+v", res)
	}
	fault = nil
	res, err = e.Evaluate(t.Context(), detect.Range{FromSeq: l.from, ToSeq: l.from})
	if err != nil || res.Stalled != "" || res.PutOff != -1 || len(res.Alerts) != 1 || e.Status()[0].Missed != (health.Missed{}) {
		t.Errorf("%+v, %v, %+v", res, err, e.Status())
	}
}
