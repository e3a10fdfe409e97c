package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

// rung is a source that a test loses, and its candidate.
type rung struct {
	name event.Source

	mu      sync.Mutex
	refuse  error
	opened  int
	closed  bool
	events  chan []event.Event
	err     error
	pending []event.Event // told at Close
	held    int
	given   atomic.Uint64 // by give, since it was opened
}

func (r *rung) candidate() Candidate {
	return Candidate{r.name, func(context.Context, Options) (Source, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.refuse != nil {
			return nil, r.refuse
		}
		r.opened++
		r.given.Store(0)
		r.events, r.err, r.closed = make(chan []event.Event, 4), nil, false
		return r, nil
	}}
}

func (r *rung) Name() event.Source           { return r.name }
func (r *rung) Events() <-chan []event.Event { return r.events }
func (r *rung) Err() error                   { return r.err }
func (r *rung) Held() int                    { return r.held }
func (r *rung) Given() uint64                { return r.given.Load() }
func (r *rung) Backlog() (waiting, size int) { return 3, 4 }
func (r *rung) Detail() string               { return fmt.Sprintf("opened %d times", r.opened) }

func (r *rung) give(batch ...event.Event) {
	r.given.Add(1)
	r.events <- batch
}

func (r *rung) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.closed = true
		if len(r.pending) > 0 {
			r.give(r.pending...)
		}
		close(r.events)
	}
	return nil
}

func (r *rung) lose(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err, r.closed = err, true
	close(r.events)
}

func (r *rung) setRefuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = err
}

func execAt(t time.Time, pid uint32) event.Event {
	return event.Event{Kind: event.KindExec, Time: t.UnixNano(), Process: event.ProcessKey{PID: pid}, Exec: &event.Exec{}}
}

// told is what came out of a ladder, as text.
func told(batch []event.Event) (s []string) {
	for i := range batch {
		if e := &batch[i]; e.Kind == event.KindGap {
			s = append(s, fmt.Sprintf("gap of %s for %v: %s", e.Source, time.Duration(e.Gap.Until-e.Time), e.Gap.Cause))
		} else {
			s = append(s, fmt.Sprintf("pid %d", e.Process.PID))
		}
	}
	return s
}

func newRungs() (ebpf, procconn, poll *rung, all []Candidate) {
	ebpf, procconn, poll = &rung{name: event.SourceEBPF}, &rung{name: event.SourceProcconn}, &rung{name: event.SourcePoll}
	return ebpf, procconn, poll, []Candidate{ebpf.candidate(), procconn.candidate(), poll.candidate()}
}

func refusals(l *Ladder) (s []string) {
	for _, r := range l.Refused() {
		s = append(s, r.String())
	}
	return s
}

func TestLadderGoesOnWithTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ebpf, procconn, poll, all := newRungs()
		procconn.setRefuse(errors.New("no CAP_NET_ADMIN"))
		l, err := Climb(t.Context(), Options{}, all)
		if err != nil {
			t.Fatal(err)
		}
		ebpf.events <- []event.Event{execAt(time.Now(), 7)}
		got := told(<-l.Events())
		time.Sleep(3 * time.Second)
		ebpf.lose(errors.New("it fell silent"))
		got = append(got, told(<-l.Events())...)
		poll.events <- []event.Event{execAt(time.Now(), 8)}
		got = append(got, told(<-l.Events())...)
		want := []string{"pid 7", "gap of ebpf for 3s: ebpf was lost (it fell silent); poll took over", "pid 8"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if l.Name() != event.SourcePoll || l.Detail() != "opened 1 times" {
			t.Errorf("reads %v, %s", l.Name(), l.Detail())
		}
		if got, want := refusals(l), []string{"ebpf: lost at run time: it fell silent", "procconn: no CAP_NET_ADMIN"}; !slices.Equal(got, want) {
			t.Errorf("refused %q, want %q", got, want)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		for range l.Events() {
		}
		if l.Err() != nil || !poll.closed {
			t.Errorf("after Close: %v", l.Err())
		}
	})
}

// What was lost is tried again after a minute, two, four, and up to an hour; in
// the change from one to the other nothing is missed.
func TestLadderClimbsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ebpf, _, _, all := newRungs()
		all = slices.Delete(all, 1, 2)
		poll := &rung{name: event.SourcePoll, pending: []event.Event{execAt(time.Now(), 9)}}
		all[1] = poll.candidate()
		l, err := Climb(t.Context(), Options{}, all)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ebpf.setRefuse(errors.New("denied"))
		ebpf.lose(errors.New("gone"))
		<-l.Events()
		time.Sleep(2 * time.Minute) // one attempt was in vain, the next is at three
		ebpf.setRefuse(nil)
		got := append(told(<-l.Events()), told(<-l.Events())...)
		if want := []string{"pid 9", "gap of poll for 0s: poll gave way to ebpf"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if took := time.Since(began); took != 3*time.Minute || l.Name() != event.SourceEBPF || len(l.Refused()) != 0 || !poll.closed {
			t.Errorf("after %v it reads %v, refused %q", took, l.Name(), refusals(l))
		}
		// The next loss starts from the beginning.
		ebpf.lose(errors.New("gone again"))
		if got := told(<-l.Events()); !strings.Contains(got[0], "gone again") || l.Name() != event.SourcePoll {
			t.Errorf("%q, reads %v", got, l.Name())
		}
		_ = l.Close()
		for range l.Events() {
		}
	})
}

// With nothing to go on with, the ladder says so and goes on trying.
func TestLadderWithoutANextRung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		only := &rung{name: event.SourceEBPF}
		l, err := Climb(t.Context(), Options{}, []Candidate{only.candidate()})
		if err != nil {
			t.Fatal(err)
		}
		only.setRefuse(errors.New("denied"))
		only.lose(errors.New("gone"))
		got := told(<-l.Events())
		if got, want := refusals(l), []string{"ebpf: lost at run time: gone"}; !slices.Equal(got, want) {
			t.Errorf("refused %q", got)
		}
		got = append(got, told(<-l.Events())...)
		only.setRefuse(nil)
		got = append(got, told(<-l.Events())...)
		want := []string{
			"gap of ebpf for 0s: ebpf was lost (gone); no other source opens",
			"gap of ebpf for 1s: ebpf was lost (gone); no other source opens",
			"gap of ebpf for 2s: ebpf was lost (gone); ebpf took over",
		}
		if !slices.Equal(got, want) || len(l.Refused()) != 0 {
			t.Errorf("got %q, want %q", got, want)
		}
		_ = l.Close()
		for range l.Events() {
		}
	})
}

func TestLadderClosedWhileNothingOpens(t *testing.T) {
	for _, end := range []string{"Close", "context"} {
		synctest.Test(t, func(t *testing.T) {
			only := &rung{name: event.SourcePoll}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			l, err := Climb(ctx, Options{}, []Candidate{only.candidate()})
			if err != nil {
				t.Fatal(err)
			}
			only.setRefuse(errors.New("denied"))
			only.lose(errors.New("gone"))
			<-l.Events()
			time.Sleep(time.Second / 2)
			var want []string
			if end == "Close" {
				want = []string{"gap of poll for 500ms: poll was lost (gone); no other source opens"}
				_ = l.Close()
			} else {
				cancel()
			}
			var got []string
			for batch := range l.Events() {
				got = append(got, told(batch)...)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q", end, got, want)
			}
			if errors.Is(l.Err(), context.Canceled) != (end == "context") {
				t.Errorf("%s: %v", end, l.Err())
			}
		})
	}
}

// What the source says of its end is no error of a ladder that was closed.
func TestLadderClosedWhileItIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		only := &rung{name: event.SourceEBPF}
		l, err := Climb(t.Context(), Options{}, []Candidate{only.candidate()})
		if err != nil {
			t.Fatal(err)
		}
		only.err = errors.New("a program was detached")
		_ = l.Close()
		for range l.Events() {
		}
		if l.Err() != nil {
			t.Errorf("Err = %v", l.Err())
		}
	})
}

// What a source did not see before it was closed is a gap, too.
func TestLadderClosedAsItsSourceIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ebpf, _, poll, all := newRungs()
		l, err := Climb(t.Context(), Options{}, all)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		ebpf.mu.Lock()
		ebpf.err = errors.New("gone")
		ebpf.mu.Unlock()
		_ = l.Close()
		var got []string
		for batch := range l.Events() {
			got = append(got, told(batch)...)
		}
		if want := []string{"gap of ebpf for 2s: ebpf was lost (gone)"}; !slices.Equal(got, want) || poll.opened != 0 {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Who aborts reads no more.
func TestLadderAborted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ebpf, _, _, all := newRungs()
		ctx, cancel := context.WithCancel(t.Context())
		l, err := Climb(ctx, Options{}, all[:1])
		if err != nil {
			t.Fatal(err)
		}
		ebpf.setRefuse(errors.New("denied"))
		ebpf.lose(errors.New("gone"))
		synctest.Wait()
		cancel()
		synctest.Wait()
		if batch, ok := <-l.Events(); ok {
			t.Errorf("it waits to tell %q", told(batch))
		}
		for range l.Events() {
		}
	})
}

func TestClimbWithoutAny(t *testing.T) {
	if _, err := Climb(t.Context(), Options{}, nil); err == nil {
		t.Error("a ladder without rungs")
	}
}

// From a middle rung it climbs on.
func TestLadderClimbsToTheTop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ebpf, procconn, poll, all := newRungs()
		l, err := Climb(t.Context(), Options{}, all)
		if err != nil {
			t.Fatal(err)
		}
		ebpf.setRefuse(errors.New("denied"))
		procconn.setRefuse(errors.New("busy"))
		ebpf.lose(errors.New("gone"))
		<-l.Events()
		if l.Name() != event.SourcePoll {
			t.Fatalf("reads %v", l.Name())
		}
		procconn.setRefuse(nil)
		got := told(<-l.Events())
		ebpf.setRefuse(nil)
		got = append(got, told(<-l.Events())...)
		want := []string{"gap of poll for 0s: poll gave way to procconn", "gap of procconn for 0s: procconn gave way to ebpf"}
		if !slices.Equal(got, want) || l.Name() != event.SourceEBPF || !poll.closed || !procconn.closed {
			t.Errorf("got %q, reads %v", got, l.Name())
		}
		_ = l.Close()
		for range l.Events() {
		}
	})
}

// Both sources are open while one gives way to the other: what both saw is told once.
func TestLadderTellsTheOverlapOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ebpf, _, _, all := newRungs()
		procconn := &rung{name: event.SourceProcconn}
		l, err := Climb(t.Context(), Options{}, []Candidate{all[0], procconn.candidate()})
		if err != nil {
			t.Fatal(err)
		}
		ebpf.setRefuse(errors.New("denied"))
		ebpf.lose(errors.New("gone"))
		<-l.Events()
		ebpf.setRefuse(nil)
		swap := time.Now().Add(time.Minute)
		before, at := execAt(swap.Add(-time.Millisecond), 5), execAt(swap, 6)
		procconn.mu.Lock()
		procconn.pending = []event.Event{before, at}
		procconn.mu.Unlock()
		got := append(told(<-l.Events()), told(<-l.Events())...)
		ebpf.events <- []event.Event{before}
		ebpf.events <- []event.Event{before, at}
		got = append(got, told(<-l.Events())...)
		if want := []string{"pid 5", "gap of procconn for 0s: procconn gave way to ebpf", "pid 6"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		_ = l.Close()
		for range l.Events() {
		}
	})
}

// A wall clock that is set back after the change does not silence the new source.
func TestLadderAfterTheClockIsSetBack(t *testing.T) {
	for _, first := range []string{"told", "nothing yet"} {
		synctest.Test(t, func(t *testing.T) {
			ebpf, _, _, all := newRungs()
			l, err := Climb(t.Context(), Options{}, all[:2])
			if err != nil {
				t.Fatal(err)
			}
			ebpf.setRefuse(errors.New("denied"))
			ebpf.lose(errors.New("gone"))
			<-l.Events()
			ebpf.setRefuse(nil)
			<-l.Events() // it is back
			swap := time.Now()
			var want []string
			if first == "told" {
				ebpf.events <- []event.Event{execAt(swap.Add(-time.Millisecond), 4), {Kind: event.KindGap, Time: swap.UnixNano(), Gap: &event.Gap{}}}
				<-l.Events() // a gap does not show that the rest is new
				ebpf.events <- []event.Event{execAt(swap.Add(-time.Millisecond), 5), execAt(swap.Add(time.Millisecond), 6)}
				want = []string{"pid 6"}
			} else {
				time.Sleep(time.Minute)
			}
			back := swap.Add(-time.Hour)
			ebpf.events <- []event.Event{execAt(back, 7)}
			want = append(want, "pid 7")
			var got []string
			for len(got) < len(want) {
				select {
				case batch := <-l.Events():
					got = append(got, told(batch)...)
				case <-time.After(time.Second):
					got = append(got, "nothing")
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: got %q, want %q", first, got, want)
			}
			_ = l.Close()
			for range l.Events() {
			}
		})
	}
}

// A loss whose beginning the clock, set back since, has not reached again covers what both
// clocks said; so does what is never seen.
func TestLadderGapAfterTheClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ebpf, _, _, all := newRungs()
		l, err := Climb(t.Context(), Options{ExecFailures: true}, all)
		if err != nil {
			t.Fatal(err)
		}
		ebpf.events <- []event.Event{execAt(time.Now().Add(time.Hour), 7)}
		<-l.Events()
		ebpf.lose(errors.New("gone"))
		<-l.Events() // of failed execs, of which none was seen until now
		if got, want := told(<-l.Events()), []string{"gap of ebpf for 1h0m0s: ebpf was lost (gone); procconn took over"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		done := make(chan struct{})
		go func() { defer close(done); l.tellBlind(t.Context(), ebpf, time.Now().Add(time.Hour).UnixNano()) }()
		if got, want := told(<-l.Events()), []string{"gap of ebpf for 1h0m0s: failed execs are not seen by ebpf"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		<-done
		_ = l.Close()
		for range l.Events() {
		}
	})
}

// watched is a source that knows until when it worked.
type watched struct {
	*rung
	good int64
}

func (w *watched) LastGood() int64 { return w.good }

// An event of one program does not show that the others worked; and what was seen
// before an attempt to climb that failed still counts.
func TestLadderGapBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := &rung{name: event.SourceEBPF}
		w := &watched{rung: inner}
		open := inner.candidate().Open
		poll := &rung{name: event.SourcePoll}
		procconn := &rung{name: event.SourceProcconn}
		l, err := Climb(t.Context(), Options{}, []Candidate{{event.SourceEBPF, func(ctx context.Context, o Options) (Source, error) {
			if _, err := open(ctx, o); err != nil {
				return nil, err
			}
			return w, nil
		}}, procconn.candidate(), poll.candidate()})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		w.good = time.Now().UnixNano()
		time.Sleep(9 * time.Second)
		inner.events <- []event.Event{execAt(time.Now(), 7)}
		<-l.Events()
		inner.setRefuse(errors.New("denied"))
		inner.lose(errors.New("silent"))
		got := told(<-l.Events())
		time.Sleep(time.Hour)
		procconn.events <- []event.Event{execAt(time.Now(), 8)}
		<-l.Events()
		time.Sleep(5 * time.Hour) // with attempts to climb
		procconn.setRefuse(errors.New("gone"))
		procconn.lose(errors.New("closed"))
		got = append(got, told(<-l.Events())...)
		want := []string{"gap of ebpf for 9s: ebpf was lost (silent); procconn took over", "gap of procconn for 5h0m0s: procconn was lost (closed); poll took over"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		_ = l.Close()
		for range l.Events() {
		}
	})
}

// What gives way may have been silent or lost for a while.
func TestLadderGapOfWhatGaveWay(t *testing.T) {
	for name, c := range map[string]struct {
		silent time.Duration // until when it worked is known; 0 = not
		err    error         // it ends while the better one opens
		want   []string
	}{
		"it worked":                  {0, nil, []string{"pid 8", "gap of procconn for 0s: procconn gave way to ebpf"}},
		"it was silent":              {15 * time.Second, nil, []string{"pid 8", "gap of procconn for 15s: procconn gave way to ebpf"}},
		"it is lost":                 {0, errors.New("gone"), []string{"pid 8", "gap of procconn for 2s: procconn was lost (gone); ebpf took over"}},
		"it is lost, and was silent": {15 * time.Second, errors.New("gone"), []string{"pid 8", "gap of procconn for 15s: procconn was lost (gone); ebpf took over"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ebpf, procconn, _, all := newRungs()
				w := &watched{rung: procconn}
				openEBPF, openProcconn := all[0].Open, all[1].Open
				all[0].Open = func(ctx context.Context, o Options) (Source, error) {
					s, err := openEBPF(ctx, o)
					if err == nil && ebpf.opened == 2 {
						w.good = time.Now().Add(-c.silent).UnixNano()
						procconn.events <- []event.Event{execAt(time.Now().Add(-2*time.Second), 8)}
						if c.err != nil {
							procconn.lose(c.err)
						}
					}
					return s, err
				}
				all[1].Open = func(ctx context.Context, o Options) (Source, error) {
					s, err := openProcconn(ctx, o)
					if err == nil && c.silent != 0 {
						return w, nil
					}
					return s, err
				}
				l, err := Climb(t.Context(), Options{}, all)
				if err != nil {
					t.Fatal(err)
				}
				ebpf.lose(errors.New("lost"))
				<-l.Events()
				got := append(told(<-l.Events()), told(<-l.Events())...)
				if !slices.Equal(got, c.want) || l.Name() != event.SourceEBPF {
					t.Errorf("got %q, want %q; reads %v", got, c.want, l.Name())
				}
				_ = l.Close()
				for range l.Events() {
				}
			})
		})
	}
}

// What the source has not given, and what nobody has taken from the ladder, is held:
// in the channel between them, and in the ladder's hands.
func TestWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ebpf, _, _, all := newRungs()
		procconn := &rung{name: event.SourceProcconn, held: 5}
		l, err := Climb(t.Context(), Options{}, []Candidate{all[0], procconn.candidate()})
		if err != nil {
			t.Fatal(err)
		}
		want := func(when string, held int) {
			t.Helper()
			synctest.Wait()
			if n := l.Held(); n != held {
				t.Errorf("%s: %d are held, want %d", when, n, held)
			}
		}
		ebpf.give(execAt(time.Now(), 1))
		want("one is offered", 1)
		<-l.Events()
		want("it is taken", 0)
		ebpf.setRefuse(errors.New("denied"))
		ebpf.lose(errors.New("gone"))
		<-l.Events()
		want("another source", 5)
		if waiting, size := l.Backlog(); waiting != 3 || size != 4 {
			t.Errorf("%d of %d wait", waiting, size)
		}
		for pid := range uint32(3) {
			procconn.give(execAt(time.Now(), pid+1))
		}
		want("one is offered, two are in the channel", 5+3)
		<-l.Events()
		want("one is offered, one is in the channel", 5+2)
		<-l.Events()
		<-l.Events()
		want("all are taken", 5)

		ebpf.setRefuse(nil)
		procconn.mu.Lock()
		procconn.pending = []event.Event{execAt(time.Now(), 9)}
		procconn.mu.Unlock()
		time.Sleep(time.Minute)
		want("the last of a source that gives way is offered", 5+1)
		<-l.Events()
		want("the gap is offered", 0)
		<-l.Events()
		ebpf.give(execAt(time.Now().Add(-time.Second), 9))
		want("what the other one told is left out", 0)
		_ = l.Close()
		for range l.Events() {
		}
	})
}
