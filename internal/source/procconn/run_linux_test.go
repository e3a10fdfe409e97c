package procconn

import (
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
	"github.com/sentineld/sentineld/internal/source"
	"github.com/sentineld/sentineld/internal/testenv"
)

// TestLossIsTold: what was lost, or has no name, is told as a gap that begins when
// nothing waited last, however the source goes on.
func TestLossIsTold(t *testing.T) {
	const since = 5
	for name, c := range map[string]struct {
		now  *socket
		want []string // causes
	}{
		"the socket is lost":               {&socket{err: errLost}, []string{causeUnnamed}},
		"the socket is lost in a storm":    {&socket{err: errLost, overflow: true}, []string{causeUnnamed, causeOverflow}},
		"the socket is empty, a storm ago": {&socket{empty: true, overflow: true}, []string{causeUnnamed, causeOverflow}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.now.messages = []message{execOf(10*second, 5)} // of a process that is nowhere
			s := &conn{socket: c.now, tracker: *w.tr, events: make(chan []event.Event, 1), since: since}
			s.take(true)
			close(s.events)
			var got []string
			for _, e := range <-s.events {
				if e.Kind != event.KindGap || e.Time != since || e.Gap.Until < time.Now().Add(-time.Minute).UnixNano() {
					t.Fatalf("%s from %d: %+v", e.Kind, e.Time, e.Gap)
				}
				got = append(got, e.Gap.Cause)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestGapAfterTheClockIsSetBack covers what both clocks said.
func TestGapAfterTheClockIsSetBack(t *testing.T) {
	before, since := time.Now().UnixNano(), time.Now().Add(time.Hour).UnixNano()
	if e := gap(since, 0, 0, causeOverflow); e.Time < before || e.Time > time.Now().UnixNano() || e.Gap.Until != since {
		t.Errorf("from %v to %v", time.Unix(0, e.Time), time.Unix(0, e.Gap.Until))
	}
}

// TestExitSentAfterSeed: a process may be gone from /proc, and the socket empty, before
// its exit is sent.
func TestExitSentAfterSeed(t *testing.T) {
	w := newWorld(t)
	w.apply(fork(9*second, 0, 5), fork(9*second, 0, 6))
	w.want("fork 5-900 of 0; fork 6-900 of 0")
	s := &conn{socket: &socket{empty: true, overflow: true, began: mono()}, tracker: *w.tr, events: make(chan []event.Event, 9)}
	s.take(true)
	s.socket.overflow = false
	for left := range int64(2) { // what was sent before the seed is not sure to be read
		s.socket.began = s.seededAt + settleTime - 2 + left
		s.take(true)
	}
	s.socket.messages = []message{exit(10*second, 5, 5, 0x300)}
	s.take(true)
	if e := s.tracker.out; len(e) != 1 || e[0].Process.Start != 900 || !e[0].Known.Has(event.KnownCode) || e[0].Exit.Code != 3 {
		t.Errorf("%s", show(e))
	}
	s.socket.began = mono() + settleTime
	s.take(true)
	s.flush()
	if len(s.tracker.procs) != 0 || s.tracker.gone != nil {
		t.Errorf("remembers %v, %v", s.tracker.procs, s.tracker.gone)
	}
}

// TestHeldWhileRead: once a message has left the socket there is something held, at each
// moment that somebody else looks.
func TestHeldWhileRead(t *testing.T) {
	testenv.NeedNetAdmin(t)
	o := source.Options{}
	o.FillDefaults()
	s, err := open(t.Context(), o, procfs.FS{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.release()
	settle := func() {
		t.Helper()
		for s.socket.drain(); len(s.socket.messages) > 0; s.socket.drain() { // of others
			s.take(false)
		}
		s.tracker.out = nil
		s.take(false)
		if n := s.Held(); n != 0 {
			t.Fatalf("%d are held, and nothing is read", n)
		}
	}
	settle()
	for range 100 {
		if err := exec.Command("/bin/true").Run(); err != nil {
			t.Fatal(err)
		}
	}
	first, _ := s.Backlog()
	if first == 0 {
		t.Fatal("nothing waits")
	}
	looked, stop, done := make(chan struct{}), make(chan struct{}), make(chan bool)
	go func() {
		for n := 0; ; n++ {
			if n == 1 {
				close(looked)
			}
			if waiting, _ := s.Backlog(); waiting < first && s.Held() == 0 {
				done <- false
				return
			}
			select {
			case <-stop:
				done <- true
				return
			default:
			}
		}
	}()
	<-looked
	s.socket.drain()
	s.take(false)
	close(stop)
	if !<-done {
		t.Error("what was read is not held")
	}
	settle()
}
