package detect_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/detect"
	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/rule"
)

// outage appends three hours that come in at once: something each minute, and a burst
// in the first one and after each hour. It returns when the bursts ended.
func (l *lab) outage() (bursts []int64) {
	var batch []event.Event
	for minute := range 181 {
		begin := l.now
		if minute%60 == 0 {
			for range 3 {
				batch = append(batch, l.exec(1, "/usr/bin/id", "id"))
			}
			bursts = append(bursts, l.now)
		}
		batch = append(batch, l.exec(1, "/usr/bin/ls", "ls"))
		l.now = begin + 60*second
	}
	l.append(batch...)
	return bursts
}

func lastSeen(alerts []event.Alert) (times []int64) {
	for _, a := range alerts {
		times = append(times, a.LastSeen)
	}
	return times
}

// TestWindowsOfThreeHours wants nothing to be left out of what an outage has held up.
func TestWindowsOfThreeHours(t *testing.T) {
	l := newLab(t)
	e := l.engine(detect.Options{Rules: []rule.Rule{l.rule(burst)}})
	want := l.outage()
	res := l.evaluate(e)
	if got := lastSeen(res.Alerts); !slices.Equal(got, want) || res.PutOff != -1 || res.Cut != 0 {
		t.Errorf("bursts at %d, want %d; %+v", got, want, res)
	}
	if n := e.Status()[0].Evaluations; n < 3*60*4 {
		t.Errorf("%d windows were looked at", n)
	}
}

// TestWindowsInPieces wants what an outage has held up to be looked at piece by piece,
// and what comes in meanwhile behind it, each once.
func TestWindowsInPieces(t *testing.T) {
	l := newLab(t)
	now := time.Unix(1_800_000_000, 0)
	e := l.engine(detect.Options{
		Rules: []rule.Rule{l.rule(burst)},
		Now: func() time.Time { // each look at the clock finds it later
			now = now.Add(300 * time.Millisecond)
			return now
		},
	})
	from := l.from
	want := l.outage()
	r := l.news()
	r.Final = false
	var got []int64
	turns, looked := 0, uint64(0)
	for ; ; turns++ {
		res, err := e.Evaluate(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, lastSeen(res.Alerts)...)
		n := e.Status()[0].Evaluations
		if n-looked > 100 {
			t.Errorf("%d windows in one turn", n-looked)
		}
		looked = n
		if res.PutOff < 0 {
			break
		}
		if res.PutOff > r.FromSeq || turns < 3 && res.PutOff != from || !res.Again.After(now) || turns > 100 {
			t.Fatalf("turn %d: put off to %d, until %v; it is %v", turns, res.PutOff, res.Again, now)
		}
		now = res.Again
		r = detect.Range{FromSeq: l.from, ToSeq: l.from}
		if turns == 2 { // it goes on meanwhile
			l.now += 300 * second
			for range 3 {
				l.append(l.exec(1, "/usr/bin/id", "id"))
			}
			want = append(want, l.now)
			r = l.news()
			r.Final = false
		}
	}
	if !slices.Equal(got, want) || turns < 5 {
		t.Errorf("bursts at %d, want %d, in %d turns", got, want, turns)
	}
}

// TestWindowsInterrupted wants nothing to be missing that was found and not told.
func TestWindowsInterrupted(t *testing.T) {
	l := newLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	looks := 0
	e := l.engine(detect.Options{Rules: []rule.Rule{l.rule(burst)}, Now: func() time.Time {
		if looks++; looks == 10 {
			cancel()
		}
		return time.Unix(1_800_000_000, 0)
	}})
	want := l.outage()
	r := l.news()
	if _, err := e.Evaluate(ctx, r); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := e.Status()[0].Evaluations; n == 0 || n > 3*60*4 {
		t.Errorf("%d windows were looked at before", n)
	}
	res, err := e.Evaluate(t.Context(), r)
	if got := lastSeen(res.Alerts); !slices.Equal(got, want) || err != nil {
		t.Errorf("bursts at %d, want %d; %v", got, want, err)
	}
}

// TestWindowsWithoutEvents wants only windows to be looked at that have something new:
// a clock that was set makes years between two events.
func TestWindowsWithoutEvents(t *testing.T) {
	l := newLab(t)
	e := l.engine(detect.Options{Rules: []rule.Rule{l.rule(burst)}})
	var want []int64
	for range 2 {
		for range 3 {
			l.append(l.exec(1, "/usr/bin/id", "id"))
		}
		want = append(want, l.now)
		l.now += 30 * 365 * 24 * 3600 * second
	}
	res := l.evaluate(e)
	if got, n := lastSeen(res.Alerts), e.Status()[0].Evaluations; !slices.Equal(got, want) || res.PutOff != -1 || n > 20 {
		t.Errorf("bursts at %d, want %d; %d windows were looked at; %+v", got, want, n, res)
	}
}

// TestWindowThatFails wants the other windows to be looked at all the same.
func TestWindowThatFails(t *testing.T) {
	l := newLab(t)
	const fails = `id: burst
title: Burst
severity: medium
window: 60s
sql: SELECT name, count(*) AS n, max(ts) AS ts FROM execs WHERE json_valid(json_extract(iif(name = 'bad', '{', '[1]'), '$')) AND name = 'id' GROUP BY name HAVING n >= 3
`
	e := l.engine(detect.Options{Rules: []rule.Rule{l.rule(fails)}, Strikes: 100})
	bad := l.exec(1, "/usr/bin/bad", "bad")
	l.append(bad)
	l.now += 600 * second
	want := l.outage()
	var got []int64
	failed := 0
	r := l.news()
	for range 100 {
		res, err := e.Evaluate(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, lastSeen(res.Alerts)...)
		failed += res.Failed
		if res.PutOff < 0 {
			break
		}
		r = detect.Range{FromSeq: l.from, ToSeq: l.from, Final: true}
	}
	if !slices.Equal(got, want) || failed < 1 || failed > 5 {
		t.Errorf("bursts at %d, want %d; %d windows failed", got, want, failed)
	}
	if s := e.Status()[0]; s.State != detect.StateOK {
		t.Errorf("%+v", s)
	}
}
