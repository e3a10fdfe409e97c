package wire

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sentineld/sentineld/internal/event"
)

// Without a client nothing may hold up the collector: what does not fit is
// dropped, counted, and told to the next client ahead of what comes then.
func TestFullWithoutClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		needed := 0
		s := NewServer(ServerOptions{Boot: testBoot, QueueBytes: 1000, NeedSync: func() { needed++ }})
		start := time.Now().UnixNano()
		put := func(batch ...event.Event) {
			t.Helper()
			if err := s.Put(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		first := numbered(event.KindExec, 1, 900)
		first.Time = start
		put(first)
		time.Sleep(time.Second)
		// The oldest of what is dropped happened before it came here.
		put(at(start+500, numbered(event.KindExec, 2, 900)), at(start+400, numbered(event.KindExec, 3, 900)), at(start+600, numbered(event.KindFork, 4, 0)))
		put(at(start+700, numbered(event.KindExit, 5, 0)), at(start+700, numbered(event.KindExecFailed, 6, 0)))
		put(
			gap(start+800, event.KindFork, 41, event.KnownLost), gap(start+800, 0, 7, event.KnownLost),
			gap(start+300, event.KindExit, 0, 0), // somebody could not count what was lost
		)
		if n, _ := s.Queued(); n != 1 {
			t.Fatalf("%d frames are held, want the first one alone", n)
		}

		time.Sleep(time.Second)
		c, served := connect(t, s, Hello{})
		if c.Welcome.Resumed || !c.Welcome.Told || needed != 1 {
			t.Errorf("resumed %v, told %v, syncs asked for %d; want false, true and 1", c.Welcome.Resumed, c.Welcome.Told, needed)
		}
		if m := next(t, c); m.Events[0].StartNS != 1 {
			t.Fatalf("first is event %d, want 1", m.Events[0].StartNS)
		}
		if err := c.Ack(1); err != nil {
			t.Fatal(err)
		}
		put(forks(7, 1)...)
		got := next(t, c)
		lost := func(of event.Kind, n uint64, known event.Known) event.Event {
			e := gap(start+300, of, n, known)
			e.Source, e.Gap.Until, e.Gap.Cause = event.SourceAgent, time.Now().UnixNano(), "sentineld was away and procmond's queue full"
			return e
		}
		want := []event.Event{
			lost(0, 7, event.KnownLost), lost(event.KindExec, 2, event.KnownLost), lost(event.KindFork, 42, event.KnownLost),
			lost(event.KindExit, 1, event.KnownLost), lost(event.KindExit, 0, 0), lost(event.KindExecFailed, 1, event.KnownLost),
		}
		if diff := cmp.Diff(want, got.Events); diff != "" {
			t.Errorf("gaps (-want +got):\n%s", diff)
		}
		if m := next(t, c); len(m.Events) != 1 || m.Events[0].StartNS != 7 {
			t.Errorf("behind the gaps: %+v", m)
		}
		// What gaps told of was lost elsewhere.
		total := Dropped{Gaps: 6}
		total.Events[event.KindExec], total.Events[event.KindFork], total.Events[event.KindExit], total.Events[event.KindExecFailed] = 2, 1, 1, 1
		if diff := cmp.Diff(total, s.Dropped()); diff != "" {
			t.Errorf("totals (-want +got):\n%s", diff)
		}
		put(forks(8, 1)...)
		if m := next(t, c); m.Events[0].Kind == event.KindGap {
			t.Error("the gaps are told twice")
		}
		c.Close()
		<-served
	})
}

// A hash that finds no room is missing at its exec, and nowhere else: no event is
// lost with it, and no list of processes is needed for it.
func TestHashesThatDoNotFitAreNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{Boot: testBoot, QueueBytes: 1000, NeedSync: func() { t.Error("a sync is asked for") }})
		late := event.Event{Kind: event.KindHash, Hash: &event.Hash{Exe: "/bin/x"}, StartNS: 9}
		for _, batch := range [][]event.Event{{numbered(event.KindExec, 1, 900)}, {late, late}, {late}} {
			if err := s.Put(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := s.Dropped(), (Dropped{Events: [event.NumKinds]uint64{event.KindHash: 2}}); got != want { // the last one fits
			t.Errorf("dropped %+v, want %+v", got, want)
		}
		c, served := connect(t, s, Hello{Session: s.session})
		if !c.Welcome.Resumed {
			t.Error("not resumed")
		}
		if m := next(t, c); m.Events[0].StartNS != 1 {
			t.Fatalf("first is event %d, want 1", m.Events[0].StartNS)
		}
		if err := c.Ack(1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := s.Put(t.Context(), []event.Event{late}); err != nil {
			t.Fatal(err)
		}
		if m := next(t, c); len(m.Events) != 1 || m.Events[0].Kind != event.KindHash {
			t.Errorf("%+v, want the hash and no gap", m.Events)
		}
		c.Close()
		<-served

		// Where it goes together with others, those are counted.
		q := newQueue(event.Codec{Boot: testBoot}, 10)
		for _, batch := range [][]event.Event{{numbered(event.KindExec, 1, 900)}, {late, numbered(event.KindFork, 2, 0)}} {
			if _, err := q.put(t.Context(), TypeBatch, batch); err != nil {
				t.Fatal(err)
			}
		}
		if q.dropped != [event.NumKinds]uint64{event.KindFork: 1} || !q.unsure {
			t.Errorf("dropped %v", q.dropped)
		}
		if got := q.totals().Events; got != [event.NumKinds]uint64{event.KindFork: 1, event.KindHash: 1} {
			t.Errorf("dropped in all %v", got)
		}
	})
}

// What a snapshot found out never happened as an event: without room for it nothing
// is lost, but the next client needs a list.
func TestRowsThatDoNotFitAreNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		needed := 0
		s := NewServer(ServerOptions{Boot: testBoot, QueueBytes: 1000, NeedSync: func() { needed++ }})
		row, gone := numbered(event.KindExec, 2, 900), numbered(event.KindExit, 3, 0)
		row.Source, gone.Source, gone.Exit.Presumed = event.SourceSnapshot, event.SourceSnapshot, true
		witnessed := numbered(event.KindExit, 4, 0)
		witnessed.Exit.Presumed = true // by a source that looks now and then
		for _, batch := range [][]event.Event{{numbered(event.KindExec, 1, 900)}, {row, gone}} {
			if err := s.Put(t.Context(), batch); err != nil {
				t.Fatal(err)
			}
		}
		if got := s.Dropped(); got != (Dropped{}) {
			t.Errorf("dropped %+v", got)
		}
		c, served := connect(t, s, Hello{Session: s.session})
		if c.Welcome.Resumed || !c.Welcome.Told || needed != 1 {
			t.Errorf("resumed %v, told %v, %d lists asked for", c.Welcome.Resumed, c.Welcome.Told, needed)
		}
		next(t, c)
		if err := c.Ack(1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := s.Put(t.Context(), forks(5, 1)); err != nil {
			t.Fatal(err)
		}
		if m := next(t, c); len(m.Events) != 1 || m.Events[0].StartNS != 5 {
			t.Errorf("%+v, want the fork and no gap", m.Events)
		}
		c.Close()
		<-served

		// Where they go together with others, those alone are counted.
		q := newQueue(event.Codec{Boot: testBoot}, 10)
		for _, batch := range [][]event.Event{{numbered(event.KindExec, 1, 900)}, {row, witnessed, gone}} {
			if _, err := q.put(t.Context(), TypeBatch, batch); err != nil {
				t.Fatal(err)
			}
		}
		if want := [event.NumKinds]uint64{event.KindExit: 1}; q.dropped != want || q.totals().Events != want {
			t.Errorf("dropped %v, in all %v", q.dropped, q.totals().Events)
		}
	})
}

func at(ns int64, e event.Event) event.Event {
	e.Time = ns
	return e
}

func gap(ns int64, of event.Kind, n uint64, known event.Known) event.Event {
	return event.Event{
		Kind: event.KindGap, Source: event.SourceEBPF, Known: event.KnownTime | known, Time: ns,
		Gap: &event.Gap{Until: ns + 1, Of: of, Lost: n, Cause: "ring buffer full"},
	}
}

// With a client a full queue is back-pressure: Put waits for acknowledgements.
func TestFullWithClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{Boot: testBoot, QueueBytes: 3 * frameTarget})
		c, served := connect(t, s, Hello{})
		batch := execs(8, frameTarget) // a frame each
		done := make(chan error, 1)
		go func() { done <- s.Put(t.Context(), batch) }()

		for seq := uint64(1); seq <= 8; seq++ {
			m := next(t, c)
			if m.Seq != seq || len(m.Events) != 1 || m.Events[0].StartNS != seq {
				t.Fatalf("frame %d with %d events, want %d", m.Seq, len(m.Events), seq)
			}
			synctest.Wait()
			n, bytes := s.Queued()
			if n > 3 || bytes > 3*frameTarget+3*headerSize {
				t.Errorf("%d frames of %d bytes are held", n, bytes)
			}
			select {
			case err := <-done:
				if seq < 6 {
					t.Errorf("Put ended at frame %d: %v", seq, err)
				}
				done <- err
			default:
				if seq > 7 {
					t.Error("Put still waits")
				}
			}
			if err := c.Ack(seq); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		c.Close()
		<-served
	})
}

// A Put that waits is let go when its client goes, and when ctx ends.
func TestPutIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{Boot: testBoot, QueueBytes: frameTarget + 1000})
		c, served := connect(t, s, Hello{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Put(ctx, execs(3, frameTarget)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Put = %v, want the end of its time", err)
		}
		done := make(chan error, 1)
		go func() { done <- s.Put(t.Context(), execs(3, frameTarget)) }()
		synctest.Wait()
		c.Close()
		if err := <-done; err != nil {
			t.Errorf("Put = %v after the client went", err)
		}
		<-served
		if n, _ := s.Queued(); n != 1 {
			t.Errorf("%d frames are held", n)
		}
		if s.queue.dropped[event.KindExec] != 3 {
			t.Errorf("%d execs are counted as dropped, want 3", s.queue.dropped[event.KindExec])
		}
	})
}

// An event larger than the whole queue still goes through an empty one.
func TestEventLargerThanQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{Boot: testBoot, QueueBytes: 100})
		c, served := connect(t, s, Hello{})
		done := make(chan error, 1)
		go func() { done <- s.Put(t.Context(), execs(2, 2*frameTarget)) }()
		for seq := uint64(1); seq <= 2; seq++ {
			if m := next(t, c); m.Events[0].StartNS != seq {
				t.Errorf("event %d, want %d", m.Events[0].StartNS, seq)
			}
			if err := c.Ack(seq); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		c.Close()
		<-served
	})
}

// An event that no frame can hold does not end the stream: it is told as lost, and
// a list still has the process.
func TestEventLargerThanFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{Boot: testBoot})
		huge := numbered(event.KindExec, 2, MaxPayload)
		huge.Known |= event.KnownArgs | event.KnownParent
		huge.Parent = event.ProcessKey{Boot: testBoot, PID: 9, Start: 1}
		// As much as can be is gathered ahead of one that is just not too large.
		large := numbered(event.KindExec, 4, 0)
		large.Exec.Args = string(make([]byte, eventMax-len(event.Codec{Boot: testBoot}.Append(nil, &large))-8))
		batch := []event.Event{numbered(event.KindFork, 1, 0), huge, numbered(event.KindExec, 3, frameTarget-500), large, numbered(event.KindFork, 5, 0)}
		if err := s.Put(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if err := s.Sync(t.Context(), []event.Event{numbered(event.KindExec, 6, 10), huge}, nil); err != nil {
			t.Fatal(err)
		}
		c, served := connect(t, s, Hello{Session: s.session})
		if !c.Welcome.Resumed {
			t.Error("another list is asked for, though one was put since")
		}
		var got []event.Event
		for len(got) < len(batch) {
			m := next(t, c)
			got = append(got, m.Events...)
		}
		lost := gap(huge.Time, event.KindExec, 1, event.KnownLost)
		lost.Source, lost.Gap.Until, lost.Gap.Cause = event.SourceAgent, huge.Time, "the event was larger than a frame"
		want := slices.Clone(batch)
		want[1] = lost
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		alive := huge
		alive.Known, alive.Exec = event.KnownStart|event.KnownParent, &event.Exec{}
		if diff := cmp.Diff([]event.Event{numbered(event.KindExec, 6, 10), alive}, next(t, c).Events); diff != "" {
			t.Errorf("list (-want +got):\n%s", diff)
		}
		if huge.Exec.Args == "" || batch[1].Kind != event.KindExec {
			t.Error("the event of the caller was changed")
		}
		total := Dropped{Gaps: 1}
		total.Events[event.KindExec] = 1
		if diff := cmp.Diff(total, s.Dropped()); diff != "" {
			t.Errorf("totals (-want +got):\n%s", diff)
		}
		c.Close()
		<-served
		// Without a list behind it, the next client needs one.
		s = NewServer(ServerOptions{Boot: testBoot})
		if err := s.Put(t.Context(), []event.Event{huge}); err != nil {
			t.Fatal(err)
		}
		c, served = connect(t, s, Hello{Session: s.session})
		if c.Welcome.Resumed || !c.Welcome.Told {
			t.Errorf("resumed %v, told %v", c.Welcome.Resumed, c.Welcome.Told)
		}
		c.Close()
		<-served
		// What a snapshot found out is a row, wherever it comes.
		s = NewServer(ServerOptions{Boot: testBoot})
		huge.Source, alive.Source = event.SourceSnapshot, event.SourceSnapshot
		if err := s.Put(t.Context(), []event.Event{huge}); err != nil {
			t.Fatal(err)
		}
		c, served = connect(t, s, Hello{Session: s.session})
		if diff := cmp.Diff([]event.Event{alive}, next(t, c).Events); diff != "" || !c.Welcome.Resumed {
			t.Errorf("resumed %v (-want +got):\n%s", c.Welcome.Resumed, diff)
		}
		c.Close()
		<-served
	})
}

// A list of live processes that did not fit is given up: the client must take
// the part that it gets for nothing, and another list must be asked for.
func TestHalfASync(t *testing.T) {
	for _, test := range []struct {
		name    string
		room    int // frames that fit
		partial int // sync frames that are kept of the three
	}{
		{"nothing fits", 1, 0},
		{"half of it fits", 2, 1},
		{"all but the end fits", 4, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				frame := len(event.Codec{}.Append(nil, &execs(1, frameTarget)[0])) + headerSize
				asked := make(chan struct{}, 1)
				s := NewServer(ServerOptions{Boot: testBoot, QueueBytes: test.room*frame - 10, NeedSync: func() { asked <- struct{}{} }})
				if err := s.Put(t.Context(), execs(1, frameTarget)); err != nil {
					t.Fatal(err)
				}
				if err := s.Sync(t.Context(), execs(3, frameTarget), nil); err != nil {
					t.Fatal(err)
				}
				if n, _ := s.Queued(); n != 1+test.partial {
					t.Fatalf("%d frames are held, want %d", n, 1+test.partial)
				}
				c, served := connect(t, s, Hello{})
				if c.Welcome.Resumed {
					t.Error("resumed, though a list is missing")
				}
				<-asked // as the collector does
				done := make(chan error, 1)
				go func() { done <- s.Sync(t.Context(), execs(2, frameTarget), nil) }()
				var types []Type
				for {
					m := next(t, c)
					types = append(types, m.Type)
					if err := c.Ack(m.Seq); err != nil {
						t.Fatal(err)
					}
					if m.Type == TypeSyncEnd {
						break
					}
				}
				want := []Type{TypeBatch}
				for range test.partial {
					want = append(want, TypeSync)
				}
				want = append(want, TypeBatch, TypeSync, TypeSync, TypeSyncEnd)
				if diff := cmp.Diff(want, types); diff != "" {
					t.Errorf("frames (-want +got):\n%s", diff)
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
				c.Close()
				<-served
			})
		})
	}
}

// A client stores a list as a whole, so it acknowledges none of its frames before
// the end: a list that is larger than the queue must not wait for that, not even
// behind the half of an earlier one.
func TestListLargerThanQueue(t *testing.T) {
	for _, before := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s := NewServer(ServerOptions{Boot: testBoot, QueueBytes: 2*frameTarget + 1000})
			if before {
				if err := s.Sync(ctx, execs(10, frameTarget), nil); err != nil {
					t.Fatal(err)
				}
			}
			c, served := connect(t, s, Hello{})
			done := make(chan error, 1)
			go func() {
				done <- errors.Join(s.Sync(ctx, execs(10, frameTarget), nil), s.Put(ctx, forks(2, 1)))
			}()
			time.AfterFunc(time.Hour, func() { c.Close() })
			rows := 0
			for {
				m, err := c.Next()
				if err != nil {
					t.Fatalf("behind %d rows: %v", rows, err)
				}
				if m.Type == TypeSync {
					rows += len(m.Events)
					continue
				}
				if err := c.Ack(m.Seq); err != nil {
					t.Fatal(err)
				}
				if m.Type == TypeSyncEnd {
					break
				}
				rows = 0
			}
			if rows != 10 {
				t.Errorf("the list has %d rows, want 10", rows)
			}
			if m := next(t, c); m.Events[0].StartNS != 2 {
				t.Errorf("behind the list: %+v", m)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			c.Close()
			<-served
		})
	}
}

func TestSyncRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{Boot: testBoot})
		live := execs(5, 10)
		if err := s.Sync(t.Context(), live, forks(99, 1)); err != nil {
			t.Fatal(err)
		}
		if err := s.Sync(t.Context(), nil, nil); err != nil { // nothing is alive: a list all the same
			t.Fatal(err)
		}
		c, served := connect(t, s, Hello{})
		if diff := cmp.Diff(live, next(t, c).Events); diff != "" {
			t.Errorf("(-put +got):\n%s", diff)
		}
		for range 2 {
			if m := next(t, c); m.Type != TypeSyncEnd {
				t.Errorf("got %+v, want the end", m)
			}
		}
		c.Close()
		<-served
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		s.queue.max, s.queue.client = 1, true
		if err := s.Sync(ctx, live, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("Sync = %v, want ctx's error", err)
		}
	})
}

func TestDrain(t *testing.T) {
	t.Run("nothing to do", func(t *testing.T) {
		if err := NewServer(ServerOptions{}).Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("nobody is there", func(t *testing.T) {
		s := NewServer(ServerOptions{Boot: testBoot})
		if err := s.Put(t.Context(), forks(1, 1)); err != nil {
			t.Fatal(err)
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{Boot: testBoot})
		for i := range 3 {
			if err := s.Put(t.Context(), forks(uint64(i+1), 1)); err != nil {
				t.Fatal(err)
			}
		}
		c, served := connect(t, s, Hello{})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain to a client that acknowledges nothing = %v", err)
		}
		drained := make(chan error, 1)
		go func() { drained <- s.Drain(t.Context()) }()
		for i := range uint64(3) {
			synctest.Wait()
			select {
			case err := <-drained:
				t.Fatalf("drained with %d frames to go: %v", 3-i, err)
			default:
			}
			if err := c.Ack(next(t, c).Seq); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if err := s.Put(t.Context(), forks(4, 1)); err != nil {
			t.Fatal(err)
		}
		go func() { drained <- s.Drain(t.Context()) }()
		synctest.Wait()
		c.Close() // the client goes without acknowledging: nobody is left to wait for
		if err := <-drained; err != nil {
			t.Error(err)
		}
		<-served
	})
}

// A client that takes a second for each frame gets them all, in order.
func TestSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{Boot: testBoot, QueueBytes: 300})
		c, served := connect(t, s, Hello{})
		go func() {
			for i := range uint64(100) {
				if s.Put(t.Context(), forks(i+1, 1)) != nil {
					return
				}
			}
		}()
		for i := range uint64(100) {
			time.Sleep(time.Second)
			m := next(t, c)
			if m.Seq != i+1 || m.Events[0].StartNS != i+1 {
				t.Fatalf("frame %d with event %d, want %d", m.Seq, m.Events[0].StartNS, i+1)
			}
			if err := c.Ack(m.Seq); err != nil {
				t.Fatal(err)
			}
		}
		c.Close()
		<-served
	})
}

// TestDroppedWhileTheClockIsSetBack: the gap covers what both clocks say, also when
// events are dropped under either.
func TestDroppedWhileTheClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		at := func(d time.Duration) int64 { return now.Add(d).UnixNano() }
		exec := func(d time.Duration) []event.Event { return []event.Event{{Kind: event.KindExec, Time: at(d)}} }
		for name, c := range map[string]struct {
			dropped     [][]event.Event
			from, until time.Duration
		}{
			"before":       {[][]event.Event{exec(time.Hour), exec(90 * time.Minute)}, 0, 90 * time.Minute},
			"before, then": {[][]event.Event{exec(time.Hour), exec(90 * time.Minute), exec(-time.Second), exec(0)}, -time.Second, 90 * time.Minute},
			"a gap":        {[][]event.Event{{gap(at(time.Hour), event.KindExec, 1, event.KnownLost)}, exec(0)}, 0, time.Hour + 1},
		} {
			q := newQueue(event.Codec{}, 1)
			q.push(TypeBatch, nil) // it is full
			for _, batch := range c.dropped {
				q.drop(TypeBatch, batch)
			}
			q.tellDropped()
			var e event.Event
			if _, err := (event.Codec{}).Decode(q.frames[len(q.frames)-1].data[headerSize:], &e); err != nil {
				t.Fatal(err)
			}
			if e.Time != at(c.from) || e.Gap.Until != at(c.until) {
				t.Errorf("%s: the gap is from %v to %v, want %v to %v", name, time.Duration(e.Time-at(0)), time.Duration(e.Gap.Until-at(0)), c.from, c.until)
			}
		}
	})
}
