package collect

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sentineld/sentineld/internal/event"
)

// nobody is a snapshot of an empty machine.
func nobody(context.Context) ([]event.Event, error) { return nil, nil }

// start runs a collector and waits until it waits for something.
func start(t *testing.T, o Options, sink *record) (c *Collector, src *channel, ran <-chan error) {
	t.Helper()
	c, src = New(o), &channel{events: make(chan []event.Event)}
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context(), src, sink) }()
	return c, src, done
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &record{}
		c, src, ran := start(t, Options{Snapshot: nobody}, sink)
		time.Sleep(time.Second)
		a, b := key(2, 2), key(3, 3)
		src.events <- []event.Event{fork(a, initKey), fork(a, initKey), exec(a, "/bin/a"), fork(b, a), exit(a), exit(a)}
		src.events <- nil
		src.events <- []event.Event{gap(event.KindExec, 5), gap(0, 2)}
		time.Sleep(time.Second)
		src.Close()
		if err := <-ran; err != nil {
			t.Fatal(err)
		}
		want := Stats{Duplicate: 2, Syncs: 2, Resyncs: 1, Live: 0}
		want.Events[event.KindFork], want.Events[event.KindExec], want.Events[event.KindExit], want.Events[event.KindGap] = 2, 1, 2, 2
		want.Lost[event.KindExec], want.Lost[0] = 5, 2
		if diff := cmp.Diff(want, c.Stats()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// What the source says while the snapshot is read waits for it, and a source
// with nothing to say is not waited for long.
func TestHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &record{}
		_, src, ran := start(t, Options{Snapshot: func(context.Context) ([]event.Event, error) {
			time.Sleep(time.Minute)
			return []event.Event{row(initKey, event.ProcessKey{}, "/init")}, nil
		}}, sink)
		a := key(2, 2)
		src.events <- []event.Event{fork(a, initKey)}
		src.events <- nil
		time.Sleep(59 * time.Second)
		if got := sink.got(); len(got) != 0 {
			t.Errorf("handed on before the snapshot: %v", got)
		}
		time.Sleep(time.Second + 200*time.Millisecond)
		if diff := cmp.Diff([]event.Event{row(initKey, event.ProcessKey{}, "/init"), fork(a, initKey)}, sink.got()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		src.Close()
		<-ran
	})
}

// With too much to hold back, the collector stops reading until the snapshot is
// there: the events wait in the source, where loss is counted.
func TestHeldEventsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &record{}
		_, src, ran := start(t, Options{HeldEvents: 2, Snapshot: func(context.Context) ([]event.Event, error) {
			time.Sleep(time.Minute)
			return nil, nil
		}}, sink)
		src.events <- []event.Event{fork(key(2, 2), initKey), fork(key(3, 3), initKey)}
		begin := time.Now()
		src.events <- []event.Event{fork(key(4, 4), initKey)}
		if d := time.Since(begin); d != time.Minute {
			t.Errorf("the next batch was taken after %s, want a minute", d)
		}
		src.Close()
		<-ran
		if len(sink.got()) != 3 {
			t.Errorf("%d events, want 3", len(sink.got()))
		}
	})
}

// Large arguments fill what may be held back sooner than the number of events: while
// the list is read they wait in the source, and after that a gap tells that the list
// overtook them.
func TestHeldBytesBound(t *testing.T) {
	const bound, size = 16 << 20, 64 << 10
	synctest.Test(t, func(t *testing.T) {
		sink := &record{}
		c, src, ran := start(t, Options{Snapshot: func(context.Context) ([]event.Event, error) {
			time.Sleep(time.Minute)
			return []event.Event{row(key(2, 2), initKey, "/bin/a")}, nil
		}}, sink)
		large := func() []event.Event {
			e := exec(key(2, 2), "/bin/a")
			e.Time, e.Exec.Args = 1, strings.Repeat("x", size)
			return []event.Event{e}
		}
		begin := time.Now()
		for range bound / size {
			src.events <- large()
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("taken after %s, want at once", d)
		}
		src.events <- large()
		if d := time.Since(begin); d != time.Minute {
			t.Errorf("the next one was taken after %s, want a minute", d)
		}
		synctest.Wait()
		for n := 1; n < bound/size; n++ {
			if got := sink.got(); len(got) != 0 {
				t.Fatalf("%d events are handed on after %d more", len(got), n)
			}
			src.events <- large()
			synctest.Wait()
		}
		if held := c.Stats().Held; held != 0 {
			t.Errorf("%d events are held", held)
		}
		got := sink.got()
		if len(got) != 2+2*bound/size {
			t.Fatalf("%d events, want the list, a gap, and all others", len(got))
		}
		if diff := cmp.Diff(earlyGap(1, time.Now()), got[1]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		src.Close()
		<-ran
	})
}

// A source that looks at everything each time has healed its gaps itself.
func TestHealedGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &record{}
		c, src, ran := start(t, Options{Snapshot: nobody}, sink)
		time.Sleep(time.Second)
		blind := gap(0, 7)
		blind.Known, blind.Gap.Healed = event.KnownTime, true
		src.events <- []event.Event{blind, exec(key(2, 2), "/bin/a")}
		time.Sleep(time.Second)
		src.Close()
		if err := <-ran; err != nil {
			t.Fatal(err)
		}
		s := c.Stats()
		if s.Syncs != 1 || s.Resyncs != 0 || s.Events[event.KindGap] != 1 || s.Lost[0] != 0 || len(sink.got()) != 2 {
			t.Errorf("%+v, %d events", s, len(sink.got()))
		}
	})
}

// A child whose pid was not listed yet, and whose parent did an exec before its
// own row could tell what it had been, is looked up by itself.
func TestLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, child, grandchild := key(2, 2), key(3, 3), key(4, 4)
		sink := &record{}
		var src *channel
		var asked [][]uint32
		o := Options{
			Snapshot: func(context.Context) ([]event.Event, error) {
				src.events <- []event.Event{fork(child, parent), exec(parent, "/bin/new")}
				return []event.Event{row(parent, initKey, "/bin/new")}, nil
			},
			Lookup: func(_ context.Context, pids []uint32) ([]event.Event, error) {
				asked = append(asked, pids)
				if len(asked) == 1 { // it does an exec while it is read, after it has forked
					src.events <- []event.Event{fork(grandchild, child), exec(child, "/bin/newer")}
				}
				if pids[0] == 3 {
					return []event.Event{row(child, parent, "/bin/newer")}, nil
				}
				return []event.Event{row(grandchild, child, "/bin/old")}, nil
			},
		}
		c := New(o)
		src = &channel{events: make(chan []event.Event)}
		ran := make(chan error, 1)
		go func() { ran <- c.Run(t.Context(), src, sink) }()
		time.Sleep(time.Second)
		synctest.Wait()
		src.Close()
		if err := <-ran; err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([][]uint32{{3}, {4}}, asked); diff != "" {
			t.Errorf("looked up (-want +got):\n%s", diff)
		}
		r := newReader()
		r.follow(sink.got())
		for k, want := range map[event.ProcessKey]string{parent: "/bin/new", child: "/bin/newer", grandchild: "/bin/old"} {
			if got := r.image[k]; got != want+"|"+want+"\x00" {
				t.Errorf("%s runs %q, want %q", k, got, want)
			}
		}
	})
}

// Behind the snapshot a batch that reaches its end is enough: nobody waits for a
// source that never falls silent.
func TestBusySource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &record{}
		_, src, ran := start(t, Options{Snapshot: nobody}, sink)
		begin := time.Now()
		e := fork(key(2, 2), initKey)
		e.Time = begin.Add(time.Second).UnixNano()
		synctest.Wait()
		src.events <- []event.Event{e}
		synctest.Wait()
		if len(sink.got()) != 1 || time.Since(begin) != 0 {
			t.Errorf("%d events after %s", len(sink.got()), time.Since(begin))
		}
		src.Close()
		<-ran
	})
	synctest.Test(t, func(t *testing.T) { // the same, when the batch is what fills the bound
		sink := &record{}
		_, src, ran := start(t, Options{Snapshot: nobody, HeldEvents: 1}, sink)
		synctest.Wait()
		begin := time.Now()
		e := fork(key(2, 2), initKey)
		e.Time = begin.Add(-time.Second).UnixNano() // there may be more from before the snapshot
		src.events <- []event.Event{e}
		synctest.Wait()
		if diff := cmp.Diff([]event.Event{earlyGap(e.Time, begin), e}, sink.got()); diff != "" || time.Since(begin) != 0 {
			t.Errorf("after %s (-want +got):\n%s", time.Since(begin), diff)
		}
		src.Close()
		<-ran
	})
}

func earlyGap(from int64, until time.Time) event.Event {
	return event.Event{
		Kind: event.KindGap, Source: event.SourceAgent, Known: event.KnownTime, Time: from,
		Gap: &event.Gap{Until: until.UnixNano(), Cause: "the list of processes overtook the events"},
	}
}

// With as much held back as may be when the snapshot is there, what the source still
// has from before its end is waited for: no fork and no exit is left out.
func TestHeldEventsBoundLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b, c := key(2, 2), key(3, 3), key(4, 4)
		sink := &record{}
		_, src, ran := start(t, Options{HeldEvents: 2, Snapshot: func(context.Context) ([]event.Event, error) {
			time.Sleep(time.Minute)
			return []event.Event{row(a, initKey, "/a"), row(c, initKey, "/c")}, nil
		}}, sink)
		src.events <- []event.Event{fork(a, initKey), fork(b, initKey)}
		src.events <- []event.Event{exit(b)} // the list does not have it any more
		last := fork(c, initKey)
		last.Time = time.Now().UnixNano()
		src.events <- []event.Event{last}
		synctest.Wait()
		want := []string{"fork 2-2", "fork 3-3", "exit 3-3", "fork 4-4", "exec 2-2 /a (snapshot)", "exec 4-4 /c (snapshot)"}
		if diff := cmp.Diff(want, words(sink.got())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		src.Close()
		<-ran
	})
}

// A source that has something is not quiet, whatever kept it from giving
// what is there: for a while.
func TestQuietWithBacklog(t *testing.T) {
	a := key(2, 2)
	snapshot := func(context.Context) ([]event.Event, error) { return []event.Event{row(a, initKey, "/a")}, nil }
	for _, test := range []struct {
		name  string
		run   func(src *buffered)
		want  []string
		after time.Duration
	}{
		{"given later", func(src *buffered) {
			var given atomic.Bool
			src.backlog = func() int {
				if given.Load() {
					return 0
				}
				return 1
			}
			time.Sleep(time.Second)
			given.Store(true)
			src.events <- []event.Event{fork(a, initKey)}
		}, []string{"fork 2-2", "exec 2-2 /a (snapshot)"}, time.Second + 150*time.Millisecond},
		{"read, and held until later", func(src *buffered) {
			var given atomic.Bool
			src.backlog = func() int { return 0 }
			src.held = func() int {
				if given.Load() {
					return 0
				}
				return 2
			}
			time.Sleep(time.Second)
			given.Store(true)
			src.events <- []event.Event{fork(a, initKey)}
		}, []string{"fork 2-2", "exec 2-2 /a (snapshot)"}, time.Second + 150*time.Millisecond},
		{"read just then", func(src *buffered) {
			held := 0
			src.backlog = func() int { // the second look at what is held finds nothing
				held++
				return 0
			}
			src.held = func() int { return held % 2 }
		}, []string{"exec 2-2 /a (snapshot)"}, 300 * time.Millisecond},
		{"given at the last moment", func(src *buffered) {
			once := []event.Event{fork(a, initKey)}
			src.backlog = func() int {
				if once != nil {
					src.events <- once
				}
				once = nil
				return 0
			}
		}, []string{"fork 2-2", "exec 2-2 /a (snapshot)"}, 300 * time.Millisecond},
		{"never given", func(src *buffered) {
			src.backlog = func() int { return 1 }
		}, []string{"exec 2-2 /a (snapshot)", "gap"}, 3 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				sink := &record{}
				src := &buffered{channel: channel{events: make(chan []event.Event, 1)}}
				ran := make(chan error, 1)
				c := New(Options{Snapshot: snapshot})
				go test.run(src)
				synctest.Wait()
				go func() { ran <- c.Run(t.Context(), src, sink) }()
				time.Sleep(test.after - 1)
				if got := sink.got(); len(got) != 0 {
					t.Errorf("too early: %q", words(got))
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				got := sink.got()
				if diff := cmp.Diff(test.want, words(got)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if last := got[len(got)-1]; last.Kind == event.KindGap {
					if diff := cmp.Diff(earlyGap(begin.UnixNano(), time.Now()), last); diff != "" {
						t.Errorf("(-want +got):\n%s", diff)
					}
				}
				time.Sleep(time.Hour)
				if s := c.Stats(); s.Syncs != 1 || s.Duplicate != 0 {
					t.Errorf("%d syncs, %d duplicates", s.Syncs, s.Duplicate)
				}
				src.Close()
				<-ran
			})
		})
	}
}

func TestNeedSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := &record{}
		c, src, ran := start(t, Options{Snapshot: nobody}, sink)
		synctest.Wait() // it is in its first one
		for range 3 {   // a request that nobody has served yet stands for all
			c.NeedSync()
		}
		time.Sleep(time.Second)
		if n := c.Stats().Syncs; n != 2 {
			t.Errorf("%d syncs, want 2", n)
		}
		src.Close()
		<-ran
	})
}

// Where a snapshot has processes that are on their way out there is another one,
// soon at first, and as long as it has.
func TestSnapshotOfExiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards the next three
		begin, exiting := time.Now(), true
		var taken []time.Duration
		a := key(2, 2)
		sink := &record{}
		c, src, ran := start(t, Options{Snapshot: func(context.Context) ([]event.Event, error) {
			mu.Lock()
			defer mu.Unlock()
			taken = append(taken, time.Since(begin))
			if !exiting {
				return []event.Event{row(initKey, event.ProcessKey{}, "/init")}, nil
			}
			return []event.Event{row(initKey, event.ProcessKey{}, "/init"), row(a, initKey, "/a")}, ErrExiting
		}}, sink)
		// Each pause begins when the snapshot is handed on, 150 ms after it was taken.
		const quiet = 150 * time.Millisecond
		sleep := func(d time.Duration) (sofar []time.Duration) {
			time.Sleep(d)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(taken)
		}
		set := func(x bool) {
			mu.Lock()
			defer mu.Unlock()
			exiting = x
			if x {
				taken, begin = nil, time.Now()
			}
		}
		got := sleep(time.Hour)
		var want []time.Duration
		for at, pause := time.Duration(0), time.Second; at < time.Hour; pause *= 2 {
			want = append(want, at)
			at += quiet + min(pause, 10*time.Minute)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("taken (-want +got):\n%s", diff)
		}
		if got, want := words(sink.got()), []string{"exec 1-1 /init (snapshot)", "exec 2-2 /a (snapshot)"}; !cmp.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		set(false)
		if got = sleep(time.Hour); len(got) != len(want)+1 {
			t.Errorf("%d snapshots, want one more than %d", len(got), len(want))
		}
		if last := words(sink.got()[2:]); !cmp.Equal(last, []string{"exit 2-2 presumed (snapshot)"}) {
			t.Errorf("%q, want its end", last)
		}
		if s := c.Stats(); s.Resyncs != 0 || s.Syncs != uint64(len(got)) {
			t.Errorf("%+v", s)
		}
		// The next time is soon again; one that somebody asks for takes its place.
		set(true)
		c.NeedSync()
		sleep(quiet + time.Second/2)
		set(false)
		c.NeedSync()
		if diff := cmp.Diff([]time.Duration{0, quiet + time.Second/2}, sleep(time.Hour)); diff != "" {
			t.Errorf("taken (-want +got):\n%s", diff)
		}
		src.Close()
		<-ran
	})
}

// A source that ends while the snapshot is read: what it told is not lost.
func TestSourceEndsDuringSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost := errors.New("ring lost")
		sink := &record{}
		_, src, ran := start(t, Options{Snapshot: func(context.Context) ([]event.Event, error) {
			time.Sleep(time.Minute)
			return []event.Event{row(initKey, event.ProcessKey{}, "/init")}, nil
		}}, sink)
		src.events <- []event.Event{fork(key(2, 2), initKey)}
		src.err = lost
		src.Close()
		if err := <-ran; err != lost {
			t.Errorf("Run = %v, want the source's error", err)
		}
		if len(sink.got()) != 2 {
			t.Errorf("%d events, want 2", len(sink.got()))
		}
	})
	synctest.Test(t, func(t *testing.T) { // between the snapshot and the silence
		sink := &record{}
		_, src, ran := start(t, Options{Snapshot: nobody}, sink)
		synctest.Wait()
		src.Close()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
}

func TestErrors(t *testing.T) {
	bad := errors.New("bad")
	failing := func(context.Context) ([]event.Event, error) {
		time.Sleep(time.Second)
		return nil, bad
	}
	some := []event.Event{exit(key(2, 2))}
	for _, test := range []struct {
		name string
		o    Options
		sink error
		send int // batches
	}{
		{"snapshot fails", Options{Snapshot: failing}, nil, 0},
		{"snapshot fails with too much held", Options{Snapshot: failing, HeldEvents: 1}, nil, 1},
		{"sink fails", Options{Snapshot: nobody}, bad, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, src, ran := start(t, test.o, &record{err: test.sink})
				for range test.send {
					src.events <- some
				}
				if err := <-ran; !errors.Is(err, bad) {
					t.Errorf("Run = %v", err)
				}
			})
		})
	}
	// The sink fails later: in a put, and for what was held or caught up.
	for name, failAt := range map[string]int{"at once": 1, "live": 2} {
		t.Run("put fails "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := &laterFailing{at: failAt, err: bad}
				c, src := New(Options{Snapshot: nobody}), &channel{events: make(chan []event.Event)}
				ran := make(chan error, 1)
				go func() { ran <- c.Run(t.Context(), src, sink) }()
				for range failAt {
					src.events <- some
					time.Sleep(time.Second)
				}
				if err := <-ran; err != bad {
					t.Errorf("Run = %v", err)
				}
			})
		})
	}
}

// laterFailing is a sink whose puts fail from the at-th on.
type laterFailing struct {
	at, puts int
	err      error
}

func (f *laterFailing) Put(context.Context, []event.Event) error {
	if f.puts++; f.puts >= f.at {
		return f.err
	}
	return nil
}

func (f *laterFailing) Sync(context.Context, []event.Event, []event.Event) error { return nil }

func TestAbort(t *testing.T) {
	for name, wait := range map[string]time.Duration{"in the snapshot": time.Second, "at rest": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				c := New(Options{Snapshot: func(ctx context.Context) ([]event.Event, error) {
					select {
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-time.After(time.Minute):
						return nil, nil
					}
				}})
				ran := make(chan error, 1)
				go func() { ran <- c.Run(ctx, &channel{events: make(chan []event.Event)}, &record{}) }()
				time.Sleep(wait)
				cancel()
				if err := <-ran; !errors.Is(err, context.Canceled) {
					t.Errorf("Run = %v", err)
				}
			})
		})
	}
}
