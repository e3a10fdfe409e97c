//go:build unix

package main

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/store"
)

// TestMissedLately: what rules did not look at counts for as long as a loss does.
func TestMissedLately(t *testing.T) {
	at := func(d time.Duration) int64 { return time.Unix(0, fillBoot).Add(d).UnixNano() }
	slow := health.Missed{Evaluations: 2, Cause: "it ran for more than 2s\nbelow", From: at(-time.Hour), Until: at(0), At: at(0)}
	many := health.Missed{Matches: 7, Events: 1, From: at(-time.Hour), Until: at(0), At: at(time.Minute)}
	off := health.Missed{From: at(0), Until: at(time.Hour), At: at(time.Hour)}
	for _, test := range []struct {
		now   time.Duration
		rules []health.Rule
		want  string
	}{
		{0, []health.Rule{{ID: "good", State: "ok"}}, ""},
		{time.Minute, []health.Rule{{ID: "good", State: "ok"}, {ID: "slow", State: "ok", Missed: slow}},
			"rule slow did not look at some events, the last time 1m ago: 2 evaluations failed (it ran for more than 2s)"},
		{3 * time.Minute, []health.Rule{{ID: "slow", State: "ok", Missed: slow}, {ID: "many", State: "ok", Missed: many}},
			"rules slow, many did not look at some events, the last time 2m ago: 7 findings over the limit of one evaluation, 1 event too long to be read"},
		{lossMemory, []health.Rule{{ID: "slow", State: "ok", Missed: slow}}, ""},
		{time.Minute, []health.Rule{{ID: "off", State: "disabled", Missed: off}, {ID: "slow", State: "error", Missed: slow}}, ""}, // said with their state
	} {
		if got := missedLately(test.rules, time.Unix(0, fillBoot).Add(test.now)); got != test.want {
			t.Errorf("after %v: %q, want %q", test.now, got, test.want)
		}
	}
}

// TestMissedLine: who lists alerts is told which rules did not look at some of the range.
func TestMissedLine(t *testing.T) {
	dir := t.TempDir()
	if got := missedLine(t.Context(), dir, store.TimeRange{}); got != "" {
		t.Errorf("without an agent: %q", got)
	}
	var many atomic.Bool
	stop, err := serveControl(dir, func() health.Agent {
		a := fullStatus(dir)
		for i := 0; many.Load() && i < 7; i++ {
			a.Rules = append(a.Rules, health.Rule{ID: "x", State: "ok", Missed: health.Missed{From: fillBoot, Until: fillBoot}})
		}
		return a
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	const line = "alerts may be missing: rules bad (since 2025-10-09 08:53:20Z), partly (since 2025-10-09 08:54:20Z) did not look at some events (sentineld status)"
	for _, test := range []struct {
		r    store.TimeRange
		want string
	}{
		{store.TimeRange{}, line},
		{store.TimeRange{Since: fillBoot + 70*second, Until: fillBoot + 80*second}, line},
		{store.TimeRange{Since: fillBoot + 100*second}, "alerts may be missing: rule bad (since 2025-10-09 08:53:20Z) did not look at some events (sentineld status)"},
		{store.TimeRange{Until: fillBoot - second}, ""},
	} {
		if got := missedLine(t.Context(), dir, test.r); got != test.want {
			t.Errorf("%+v: %q, want %q", test.r, got, test.want)
		}
	}
	many.Store(true)
	if got := missedLine(t.Context(), dir, store.TimeRange{}); !strings.Contains(got, ", 4 more did not look") {
		t.Error(got)
	}
}
