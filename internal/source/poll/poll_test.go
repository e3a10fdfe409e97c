package poll

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
)

// script is a table whose processes and faults the test sets.
type script struct {
	mu    sync.Mutex // guards the rest; onPID is called with it held
	list  []int32
	procs map[int32]fakeProc
	err   error           // of pids
	errs  map[int32]error // of look and read
	onPID func()
}

type fakeProc struct {
	start uint64
	exe   string
	ppid  int32
}

func (s *script) pids(context.Context) ([]int32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onPID != nil {
		s.onPID()
	}
	return s.list, s.err
}

func (s *script) look(_ context.Context, pid int32, p *proc) (change, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.procs[pid]
	switch {
	case s.errs[pid] != nil:
		return same, s.errs[pid]
	case !ok:
		return same, os.ErrNotExist
	case f.start != p.key.Start:
		return replaced, nil
	case f.exe != p.image.exe:
		return execed, nil
	}
	return same, nil
}

func (s *script) read(_ context.Context, pid int32, p *proc) (event.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.procs[pid]
	if s.errs[pid] != nil {
		return event.Event{}, s.errs[pid]
	}
	if !ok {
		return event.Event{}, os.ErrNotExist
	}
	p.image.exe = f.exe
	e := event.Event{Kind: event.KindExec, Source: event.SourceSnapshot, Process: event.ProcessKey{PID: uint32(pid), Start: f.start}, Exec: &event.Exec{Exe: f.exe}}
	if parent, ok := s.procs[f.ppid]; ok {
		e.Parent = event.ProcessKey{PID: uint32(f.ppid), Start: parent.start}
	}
	return e, nil
}

// add starts a process.
func (s *script) add(pid int32, f fakeProc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.procs[pid] = f
	s.list = append(s.list[:len(s.list):len(s.list)], pid)
}

// each has f run at every look.
func (s *script) each(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onPID = f
}

func show(events []event.Event) string {
	var b strings.Builder
	for _, e := range events {
		if e.Kind == event.KindGap {
			fmt.Fprintf(&b, "gap of %v; ", time.Duration(e.Gap.Until-e.Time))
			continue
		}
		fmt.Fprintf(&b, "%s %s %d-%d", e.Source, e.Kind, e.Process.PID, e.Process.Start)
		if e.Exec != nil {
			b.WriteString(" " + e.Exec.Exe)
		}
		b.WriteString("; ")
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// TestScan is a history: each step changes the table, and says what must come of it.
func TestScan(t *testing.T) {
	s := &script{procs: map[int32]fakeProc{}, errs: map[int32]error{}}
	set := func(pids ...int32) { s.list = pids }
	p := newPoller(source.Options{}, s)
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"baseline", func() {
			set(1, 7)
			s.procs[1], s.procs[7] = fakeProc{1, "/init", 0}, fakeProc{5, "/sh", 1}
		}, "poll exec 1-1 /init; poll exec 7-5 /sh"},
		{"nothing", func() {}, ""},
		{"exec", func() { s.procs[7] = fakeProc{5, "/ls", 1} }, "poll exec 7-5 /ls"},
		{"pid reused", func() { s.procs[7] = fakeProc{9, "/ls", 1} }, "poll exit 7-5; poll exec 7-9 /ls"},
		{"parents first in one tick", func() {
			set(1, 2, 3, 4, 7)
			s.procs[2], s.procs[3], s.procs[4] = fakeProc{10, "/c", 4}, fakeProc{10, "/b", 2}, fakeProc{10, "/a", 1}
		}, "poll exec 4-10 /a; poll exec 2-10 /c; poll exec 3-10 /b"},
		{"cannot tell", func() { s.errs[2] = errors.New("io"); s.errs[9] = errors.New("io"); set(1, 2, 3, 4, 7, 9) }, ""},
		{"told again", func() { clear(s.errs); s.procs[9] = fakeProc{11, "/n", 1} }, "poll exec 9-11 /n"},
		{"not listed, but there", func() { set(1, 2, 3, 4, 7) }, ""},
		{"not listed, and unclear", func() { s.errs[9] = errors.New("io") }, ""},
		{"gone", func() { clear(s.errs); set(1, 2, 3, 4); delete(s.procs, 7); delete(s.procs, 9) }, "two exits"},
		{"a zombie is listed and gone", func() { delete(s.procs, 3) }, "poll exit 3-10"},
		{"gone before it is read", func() { set(1, 2, 4, 8) }, ""},
	} {
		step.do()
		events, err := p.scan(t.Context(), event.SourcePoll)
		got := show(events)
		if step.want == "two exits" && len(events) == 2 && events[0].Kind == event.KindExit && events[1].Kind == event.KindExit {
			continue
		}
		if err != nil || got != step.want {
			t.Errorf("%s: got %s, %v, want %s", step.name, got, err, step.want)
		}
		for _, e := range events {
			if e.Known.Has(event.KnownTime) || e.Kind == event.KindExit && (!e.Exit.Presumed || e.Known != 0 || e.Time == 0) {
				t.Errorf("%s: claims too much: %+v", step.name, e)
			}
		}
	}
	if len(p.procs) != 3 {
		t.Errorf("%d processes are remembered, want 3", len(p.procs))
	}
}

// raced changes a process between the comparison and the reading of it.
type raced struct {
	*script
	then func()
}

func (r *raced) look(ctx context.Context, pid int32, p *proc) (change, error) {
	c, err := r.script.look(ctx, pid, p)
	r.then()
	return c, err
}

func TestScanRaces(t *testing.T) {
	for name, c := range map[string]struct {
		then func(*script)
		want string
	}{
		"reused after exec":   {func(s *script) { s.procs[2] = fakeProc{20, "/z", 1} }, "poll exit 2-2"},
		"ended after exec":    {func(s *script) { delete(s.procs, 2) }, "poll exit 2-2"},
		"unreadable after it": {func(s *script) { s.errs[2] = errors.New("io") }, ""},
	} {
		s := &script{list: []int32{1, 2}, procs: map[int32]fakeProc{1: {1, "/i", 0}, 2: {2, "/a", 1}}, errs: map[int32]error{}}
		p := newPoller(source.Options{}, s)
		if _, err := p.scan(t.Context(), event.SourceSnapshot); err != nil {
			t.Fatal(err)
		}
		s.procs[2] = fakeProc{2, "/b", 1}
		r := &raced{script: s, then: func() {}}
		p.table = r
		calls := 0
		r.then = func() {
			if calls++; calls == 2 { // after the look at 2
				c.then(s)
			}
		}
		events, err := p.scan(t.Context(), event.SourcePoll)
		if got := show(events); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v, want %s", name, got, err, c.want)
		}
	}
}

func TestScanInVain(t *testing.T) {
	s := &script{list: []int32{1}, procs: map[int32]fakeProc{1: {1, "/init", 0}}, errs: map[int32]error{}}
	p := newPoller(source.Options{}, s)
	if _, err := p.scan(t.Context(), event.SourceSnapshot); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("too many open files")
	s.errs[1] = boom
	if events, err := p.scan(t.Context(), event.SourcePoll); !errors.Is(err, boom) || len(events) != 0 {
		t.Errorf("nothing can be read: %v, %v", events, err)
	}
	s.list = nil
	if events, err := p.scan(t.Context(), event.SourcePoll); !errors.Is(err, errEmpty) || len(events) != 0 {
		t.Errorf("nothing is listed: %v, %v", events, err)
	}
	s.list = []int32{1}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.scan(ctx, event.SourcePoll); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := open(t.Context(), source.Options{}, &script{err: boom}); !errors.Is(err, boom) {
		t.Errorf("open: %v", err)
	}
}

func opened(t *testing.T, ctx context.Context, s *script) *poller {
	t.Helper()
	o := source.Options{}
	o.FillDefaults()
	p, err := open(ctx, o, s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{list: []int32{1}, procs: map[int32]fakeProc{1: {1, "/init", 0}}}
		p := opened(t, t.Context(), s)
		if got := show(<-p.Events()); got != "snapshot exec 1-1 /init" || p.Name() != event.SourcePoll {
			t.Errorf("baseline: %s", got)
		}
		begin := time.Now()
		s.add(2, fakeProc{2, "/a", 1})
		if got := show(<-p.Events()); got != "gap of 1s; poll exec 2-2 /a" || time.Since(begin) != time.Second {
			t.Errorf("after %v: %s", time.Since(begin), got)
		}
		// Nobody reads: one batch waits in the channel, one at it, and both come after Close.
		s.add(3, fakeProc{3, "/b", 1})
		time.Sleep(1500 * time.Millisecond)
		s.add(4, fakeProc{4, "/c", 1})
		time.Sleep(10 * time.Second)
		p.Close()
		p.Close()
		var rest []event.Event
		for b := range p.Events() {
			if len(b) == 0 {
				t.Error("an empty batch")
			}
			rest = append(rest, b...)
		}
		if got := show(rest); got != "gap of 1s; poll exec 3-3 /b; gap of 1s; poll exec 4-4 /c; gap of 9.5s" || p.Err() != nil {
			t.Errorf("after Close: %s, %v", got, p.Err())
		}
	})
}

// Whatever happens, one gap begins where the last ended, from before Open until
// Close, and comes before what was found at its end; at rest there is one a minute.
func TestBlindSpot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{list: []int32{1}, procs: map[int32]fakeProc{1: {1, "/init", 0}}, errs: map[int32]error{}}
		end := time.Now().UnixNano()
		p := opened(t, t.Context(), s)
		changes := map[time.Duration]func(){
			90 * time.Second:  func() { s.add(2, fakeProc{2, "/a", 1}) },
			91 * time.Second:  func() { s.add(3, fakeProc{3, "/b", 1}) },
			200 * time.Second: func() { s.each(func() { s.err = errors.New("cannot look") }) },
			205 * time.Second: func() { s.each(func() { s.err = nil }) },
		}
		go func() {
			time.Sleep(time.Second / 2) // never at the time of a look
			for at := time.Duration(0); at < 5*time.Minute; at += time.Second {
				if f := changes[at]; f != nil {
					f()
				}
				time.Sleep(time.Second)
			}
			p.Close()
		}()
		var gaps []string
		<-p.Events() // the baseline
		for b := range p.Events() {
			g := b[0]
			if g.Kind != event.KindGap || g.Source != event.SourcePoll || g.Known != event.KnownTime || g.Time != end || g.Gap.Of != 0 ||
				!g.Gap.Healed || g.Gap.Until != time.Now().UnixNano() {
				t.Errorf("%s, %+v is no gap from %d until now", show(b), g.Gap, end)
			}
			if want := "polling: what lives shorter than 1s is not seen"; g.Gap.Cause != want {
				t.Errorf("cause %q, want %q", g.Gap.Cause, want)
			}
			end = g.Gap.Until
			gaps = append(gaps, show(b))
		}
		want := "gap of 1m0s gap of 31s; poll exec 2-2 /a gap of 1s; poll exec 3-3 /b gap of 1m0s gap of 1m0s gap of 1m0s gap of 28.5s"
		for i := range gaps {
			gaps[i] = strings.TrimSuffix(gaps[i], "; ")
		}
		if got := strings.Join(gaps, " "); got != want {
			t.Errorf("gaps:\n got %s\nwant %s", got, want)
		}
	})
}

func TestLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{list: []int32{1}, procs: map[int32]fakeProc{1: {1, "/init", 0}}}
		p := opened(t, t.Context(), s)
		<-p.Events()
		boom := errors.New("boom")
		looks := 0
		s.each(func() { // nine in vain, one good, ten in vain
			if looks++; looks != maxFailures {
				s.err = boom
			} else {
				s.err = nil
			}
		})
		if got, want := show(<-p.Events()), "gap of 20s"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if b, ok := <-p.Events(); ok {
			t.Errorf("got %s", show(b))
		}
		if !errors.Is(p.Err(), boom) || looks != 2*maxFailures {
			t.Errorf("lost after %d looks: %v", looks, p.Err())
		}
	})
}

func TestCancel(t *testing.T) {
	for name, until := range map[string]time.Duration{"between looks": 0, "in a look": 0, "at a full channel": 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			s := &script{list: []int32{1}, procs: map[int32]fakeProc{1: {1, "/init", 0}}}
			p := opened(t, ctx, s)
			if name == "in a look" {
				s.each(cancel)
				time.Sleep(2 * time.Second)
			}
			if name == "at a full channel" {
				s.add(2, fakeProc{2, "/a", 1})
			}
			time.Sleep(until)
			cancel()
			synctest.Wait()
			<-p.Events()
			if b, ok := <-p.Events(); ok || !errors.Is(p.Err(), context.Canceled) {
				t.Errorf("%s: %s, %v", name, show(b), p.Err())
			}
		})
	}
}

// What a snapshot of somebody else's found, and no look ever saw, ends too.
func TestRemember(t *testing.T) {
	s := &script{procs: map[int32]fakeProc{}, errs: map[int32]error{}}
	s.add(1, fakeProc{start: 1, exe: "/init"})
	p := newPoller(source.Options{}, s)
	exits := func() (list []string) {
		t.Helper()
		events, err := p.scan(t.Context(), event.SourcePoll)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Kind == event.KindExit {
				list = append(list, e.Process.String())
			}
		}
		return list
	}
	row := func(pid uint32, start uint64) event.Event {
		return event.Event{Process: event.ProcessKey{PID: pid, Start: start}}
	}
	exits()
	p.Remember([]event.Event{row(1, 1), row(2, 20), row(3, 30), row(4, 40), row(5, 50)})
	s.add(3, fakeProc{start: 31, exe: "/other"}) // the pid is in use again
	s.add(4, fakeProc{start: 40, exe: "/alive"})
	s.errs[5] = errors.New("cannot be told")
	if got, want := fmt.Sprint(exits()), "[00000000-2-20 00000000-3-30]"; got != want {
		t.Errorf("exits %s, want %s", got, want)
	}
	delete(s.errs, 5)
	s.list = []int32{1, 3}
	delete(s.procs, 4)
	if got, want := fmt.Sprint(exits()), "[00000000-4-40 00000000-5-50]"; got != want {
		t.Errorf("exits %s, want %s", got, want)
	}
	if got := exits(); len(got) != 0 {
		t.Errorf("exits %s, twice", got)
	}
}
