package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/store"
)

// TestCatchUp asks agents that are behind, or are not.
func TestCatchUp(t *testing.T) {
	now := time.Now()
	newest := func(d time.Duration) *health.Pipeline { return &health.Pipeline{Newest: now.Add(d).UnixNano()} }
	for name, test := range map[string]struct {
		agent func(look uint64) health.Agent
		until int64
		late  string
		waits bool
		looks uint64 // it takes at least
	}{
		"at rest": {agent: func(uint64) health.Agent {
			return health.Agent{Collector: &health.Collector{}, Pipeline: newest(-time.Hour)}
		}},
		"busy": {agent: func(uint64) health.Agent {
			return health.Agent{Collector: &health.Collector{Backlog: 1, Queue: 2}, Pipeline: newest(time.Nanosecond)}
		}},
		"behind, and the question is of before": {until: now.Add(-61 * time.Minute).UnixNano(), agent: func(uint64) health.Agent {
			return health.Agent{Collector: &health.Collector{Backlog: 1 << 20}, Pipeline: newest(-time.Hour)}
		}},
		"between two stages": {looks: 4, agent: func(look uint64) health.Agent { // from the kernel, which is empty at the second look
			c := &health.Collector{Events: map[string]uint64{"exec": 1}}
			if look == 1 {
				c.Backlog = 100
			} else if look > 2 {
				c.Events["exec"]++
			}
			return health.Agent{Collector: c, Pipeline: newest(-time.Hour)}
		}},
		"comes to rest": {looks: 4, agent: func(look uint64) health.Agent {
			return health.Agent{Collector: &health.Collector{Events: map[string]uint64{"exec": min(look, 3)}}, Pipeline: newest(-time.Hour)}
		}},
		"events do not move": {waits: true, late: "is still on its way: 1.0 MiB in the kernel, 0 events and 0 B in procmond, 7 events in sentineld",
			agent: func(uint64) health.Agent {
				p := newest(-time.Hour)
				p.Queued = 7
				return health.Agent{Collector: &health.Collector{Backlog: 1 << 20}, Pipeline: p}
			}},
		"the newest is of a clock that was ahead": {waits: true, late: "is still on its way", agent: func(uint64) health.Agent {
			return health.Agent{Collector: &health.Collector{Held: 5}, Pipeline: newest(time.Hour)}
		}},
		"none come in, and the question is of before": {until: now.Add(-61 * time.Minute).UnixNano(), agent: func(uint64) health.Agent {
			return health.Agent{NoEvents: "x", Collector: &health.Collector{}, Pipeline: newest(-time.Hour)}
		}},
		"none come in": {late: "no events come in: x", agent: func(uint64) health.Agent {
			return health.Agent{NoEvents: "x", Collector: &health.Collector{Backlog: 1}, Pipeline: newest(-time.Hour)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			now = time.Now()
			dir, look := t.TempDir(), uint64(0)
			stop, err := serveControl(dir, func() health.Agent { look++; return test.agent(look) }, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			q := question{dir: dir, r: store.TimeRange{Until: test.until}}
			q.catchUp(t.Context(), now)
			if waited := time.Since(now) >= catchUpTime; waited != test.waits || !strings.Contains(q.late, test.late) || test.late == "" && q.late != "" {
				t.Errorf("late %q, waited: %v", q.late, waited)
			}
			if look < test.looks {
				t.Errorf("it looked %d times, want %d", look, test.looks)
			}
		})
	}
}

// TestMissing is what is told of an answer that an agent that polls was asked for, from
// before its first gap is stored on.
func TestMissing(t *testing.T) {
	const blind = "polling: what lives shorter than 1s is not seen"
	collector := &health.Collector{Blind: map[string]string{"any": blind}}
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	stop, err := serveControl(dir, func() health.Agent {
		return health.Agent{Collector: collector, Pipeline: &health.Pipeline{}}
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	missing := func(r store.TimeRange, gaps bool) string {
		t.Helper()
		s, err := openSession(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := s.Within(r); err != nil {
			t.Fatal(err)
		}
		q := question{dir: dir, r: r, gaps: gaps}
		q.catchUp(t.Context(), time.Now())
		var b strings.Builder
		if err := tellMissing(t.Context(), s, q, &b); (b.Len() > 0) != errors.Is(err, cli.ErrIncomplete) {
			t.Errorf("%v: %s", err, b.String())
		}
		return b.String()
	}
	if _, err := db.Append(t.Context(), []event.Event{fillExec(100, 1, 10, "/bin/sh", "sh")}); err != nil {
		t.Fatal(err)
	}
	if got := missing(store.TimeRange{}, false); got != "incomplete: "+blind+"\n" {
		t.Errorf("before the first gap: %q", got)
	}
	if got := missing(store.TimeRange{Since: time.Now().Add(-time.Hour).UnixNano()}, false); got != "incomplete: after 2025-10-09 08:53:30Z: "+blind+"\n" {
		t.Errorf("since an hour: %q", got)
	}
	for _, step := range []struct {
		name  string
		add   event.Event
		blind bool // is told beside the gaps
	}{
		{"a gap of another cause", lossEvent(event.SourceEBPF, event.KindExec, 5, fillBoot+12*second, "ring buffer full"), true},
		{"its gap", lossEvent(event.SourcePoll, 0, 0, fillBoot+20*second, blind), false},
		{"its gap, of an earlier run", fillExec(101, 1, 30, "/bin/sh", "sh"), true},
		{"its gap again", lossEvent(event.SourcePoll, 0, 0, fillBoot+31*second, blind), false},
	} {
		if _, err := db.Append(t.Context(), []event.Event{step.add}); err != nil {
			t.Fatal(err)
		}
		got := missing(store.TimeRange{}, false)
		if !strings.HasPrefix(got, "incomplete: ") || !strings.Contains(got, " between ") || strings.HasSuffix(got, "\nincomplete: "+blind+"\n") != step.blind || strings.Count(got, blind) > 1 {
			t.Errorf("with %s: %q", step.name, got)
		}
	}
	if got := missing(store.TimeRange{}, true); got != "" {
		t.Errorf("of the gaps themselves: %q", got)
	}
	collector = nil
	if got := missing(store.TimeRange{}, true); got != "incomplete: whether anything was recorded after 2025-10-09 08:53:51Z is not known: "+notUnderstood+"\n" {
		t.Errorf("procmond is not understood: %q", got)
	}
}
