package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/store"
)

func lossEvent(source event.Source, of event.Kind, lost uint64, until int64, cause string) event.Event {
	e := event.Event{
		Kind: event.KindGap, Source: source, Known: event.KnownTime, Time: until - second,
		Gap: &event.Gap{Until: until, Of: of, Cause: cause, Lost: lost},
	}
	if lost > 0 {
		e.Known |= event.KnownLost
	}
	return e
}

// A loss makes the agent degraded for ten minutes, through restarts, and is
// counted for good.
func TestLosses(t *testing.T) {
	const blind = "polling: what lives shorter than 1s is not seen"
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var l losses
	at := func(d time.Duration) time.Time { return time.Unix(0, fillBoot).Add(d) }
	ok := func(when string, l *losses, now time.Duration, want string) {
		t.Helper()
		if _, reason := l.status(at(now)); (reason == "") != (want == "") || !strings.Contains(reason, want) {
			t.Errorf("%s: %q, want %q", when, reason, want)
		}
	}
	store := func(batch ...event.Event) {
		t.Helper()
		if _, err := db.Append(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		l.stored(batch)
	}
	if err := l.load(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	ok("nothing", &l, 0, "")
	store(lossEvent(event.SourcePoll, 0, 0, fillBoot+second, blind), lossEvent(event.SourceAgent, 0, 0, fillBoot+second, causeStopped))
	ok("no loss", &l, 2*time.Second, "")
	store(lossEvent(event.SourceEBPF, event.KindExec, 7, fillBoot+10*second, "ring buffer full"),
		lossEvent(event.SourceEBPF, event.KindExec, 3, fillBoot+70*second, "ring buffer full"),
		lossEvent(event.SourceAgent, 0, 0, fillBoot+60*second, causeCrashed))
	ok("loss", &l, 3*time.Minute, "events were lost 1m ago: ring buffer full")
	ok("then", &l, 70*time.Second+lossMemory-1, "ring buffer full")
	ok("healthy again", &l, 70*time.Second+lossMemory, "")
	got, _ := l.status(at(time.Hour))
	want := health.Loss{Gaps: 3, Events: map[string]uint64{"exec": 10}, Uncounted: 1, Last: fillBoot + 70*second, Cause: "ring buffer full"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	store(lossEvent(event.SourcePoll, 0, 0, fillBoot+200*second, blind),
		lossEvent(event.SourceProcconn, event.KindExecFailed, 0, fillBoot+210*second, blindFailures+" procconn"))
	var next losses
	if err := next.load(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	ok("after a restart", &next, 3*time.Minute, "events were lost 1m ago: ring buffer full")
	if got, _ := next.status(at(0)); got.Gaps != 0 {
		t.Errorf("%d gaps since the start", got.Gaps)
	}
	// That polling itself failed is a loss.
	store(lossEvent(event.SourcePoll, 0, 0, fillBoot+300*second, "poll was lost (no /proc); no other source opens"),
		lossEvent(event.SourcePoll, 0, 0, fillBoot+310*second, blind))
	ok("polling failed", &l, 6*time.Minute, "events were lost 1m ago: poll was lost (no /proc)")
	var last losses
	if err := last.load(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	ok("polling failed before a restart", &last, 6*time.Minute, "events were lost 1m ago: poll was lost (no /proc)")
	// One that goes on ends last, although another began after it.
	long := lossEvent(event.SourceEBPF, event.KindExec, 3, fillBoot+500*second, "it goes on")
	long.Time = fillBoot + 320*second
	store(long, lossEvent(event.SourceEBPF, event.KindExec, 3, fillBoot+400*second, "short"))
	var on losses
	if err := on.load(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	ok("one that goes on, before a restart", &on, 560*time.Second, "events were lost 1m ago: it goes on")
}
