package procconn

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
)

const (
	// batchMax is the most events of one batch, so that a burst reaches the
	// consumer in pieces.
	batchMax = 2048

	// eagerReads is how often within a FlushDelay the reader lets itself be
	// woken: a program must be read while it lives, and a wake-up for every
	// message would slow a busy system down.
	eagerReads = 16
)

// conn is the open source.
type conn struct {
	o      source.Options
	socket *socket

	stop     chan struct{}
	closing  sync.Once
	lostBy   atomic.Pointer[error] // why there will be no more events; see lose
	lastGood atomic.Int64          // time of the newest message, Unix ns
	held     atomic.Int64          // messages and events that were read and are not handed on
	given    atomic.Uint64         // batches

	// Owned by run.
	events   chan []event.Event
	err      error
	tracker  tracker
	settled  int64 // execs whose details were read until then are final, CLOCK_MONOTONIC
	overflow bool  // messages were lost, and those from before may not all be read
	seededAt int64 // anew, CLOCK_MONOTONIC; 0 = all messages from before it are applied
	since    int64 // when nothing waited last, Unix ns
}

func (s *conn) Name() event.Source           { return event.SourceProcconn }
func (s *conn) Events() <-chan []event.Event { return s.events }
func (s *conn) Err() error                   { return s.err }

// LastGood is when the connector was last seen to work, Unix ns. Safe for
// concurrent use.
func (s *conn) LastGood() int64 { return s.lastGood.Load() }

// Backlog is how many bytes wait in the socket, and its size. Safe for concurrent use.
func (s *conn) Backlog() (waiting, size int) { return s.socket.memory() }

// Held is how many events wait for what makes them final. Safe for concurrent use.
func (s *conn) Held() int {
	if s.socket.reading.Load() {
		return int(max(s.held.Load(), 1)) // they have left the socket
	}
	return int(s.held.Load())
}

// Given is as source.Source says.
func (s *conn) Given() uint64 { return s.given.Load() }

// Close ends the subscription, once the messages that wait are read.
func (s *conn) Close() error {
	s.closing.Do(func() {
		close(s.stop)
		s.socket.wake()
	})
	return nil
}

func (s *conn) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

func (s *conn) release() {
	// Else kernels before 6.6 go on to make messages for nobody. If it fails,
	// there is nothing more to do.
	_ = s.socket.send(request(mcastIgnore, 0))
	s.socket.file.Close()
}

// run reads in windows of FlushDelay. One opens with the first message; within
// it messages are read as they come, at most eagerReads times, and at its end
// events are handed on. At rest it sleeps in epoll without a timer.
func (s *conn) run() {
	defer close(s.events)
	defer s.release()
	var watch sync.WaitGroup
	ended := make(chan struct{})
	watch.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		s.watch(tick.C, ended)
	})
	defer watch.Wait()
	defer close(ended)
	timer := time.NewTimer(0)
	<-timer.C
	inside := s.overflow // of a window
	eager := 0
	var end time.Time
	for !s.stopping() {
		switch {
		case !inside:
			s.socket.wait(time.Time{}, s.stopping)
			inside, eager, end = true, eagerReads, time.Now().Add(s.o.FlushDelay)
		case !s.socket.empty: // it had more than is read at once
			s.socket.drain()
		case eager > 0:
			s.socket.wait(end, s.stopping)
			eager--
		default:
			timer.Reset(time.Until(end))
			select {
			case <-timer.C:
			case <-s.stop:
			}
			s.socket.drain()
		}
		if !s.take(true) {
			return
		}
		if time.Now().Before(end) {
			continue
		}
		s.socket.drain()
		inside = len(s.socket.messages) > 0 || !s.socket.empty
		if !s.take(true) || !s.flush() {
			return
		}
		inside = inside || len(s.tracker.out) > 0 || s.seededAt != 0
		eager, end = eagerReads, time.Now().Add(s.o.FlushDelay)
	}
	s.rest(timer)
	if err := s.lostBy.Load(); err != nil && s.err == nil {
		s.err = *err
	}
}

// rest delivers what is left after Close. The last details need a moment until
// they are final.
func (s *conn) rest(timer *time.Timer) {
	s.socket.drain()
	if !s.take(true) {
		return
	}
	timer.Reset(SettleTime)
	<-timer.C
	s.socket.drain()
	if !s.take(false) {
		return
	}
	s.settled = mono()
	s.send(append(s.tracker.ready(s.settled), s.losses()...))
}

// take applies what the socket has read. False: the source is lost.
func (s *conn) take(details bool) bool {
	if s.socket.overflow {
		// The next exec of each that waits may be among what was lost.
		s.overflow, s.tracker.unsure = true, true
		s.tracker.voidSince(s.settled)
	}
	messages := s.socket.messages
	s.held.Store(int64(len(messages) + len(s.tracker.out)))
	s.socket.reading.Store(false)
	s.tracker.clocks.read()
	if n := len(messages); n > 0 {
		s.lastGood.Store(messages[n-1].time + s.tracker.clocks.wall)
	}
	s.tracker.apply(messages, details && !s.overflow)
	s.socket.messages = messages[:0]
	if s.socket.err != nil {
		return s.fail(s.socket.err)
	}
	// All is applied that was sent before the socket was found empty, or before
	// the last message.
	if s.socket.empty {
		s.settled = max(s.settled, s.socket.began-settleTime)
	} else if len(messages) > 0 {
		s.settled = max(s.settled, messages[len(messages)-1].time-settleTime)
	}
	// Who was gone by then may have his exit sent a little later.
	if s.seededAt != 0 && s.settled >= s.seededAt {
		s.tracker.forgetGone()
		s.seededAt = 0
	}
	if !s.socket.empty {
		return true
	}
	if s.overflow {
		s.send(append(s.tracker.ready(mono()), s.losses()...))
		s.overflow = false
		return s.reseed()
	}
	return true
}

// losses are gaps for what found no room, or no name, since the socket was empty
// last.
func (s *conn) losses() []event.Event {
	gaps := s.tracker.takeUnnamed(s.since)
	if s.overflow {
		gaps = append(gaps, gap(s.since, 0, 0, causeOverflow))
	}
	return gaps
}

// flush hands on the events that are final. False: the source is lost.
func (s *conn) flush() bool {
	batch := s.tracker.ready(s.settled)
	unnamed := s.tracker.takeUnnamed(s.since)
	s.send(append(batch, unnamed...))
	s.held.Store(int64(len(s.tracker.out)))
	if !s.overflow && s.socket.empty {
		s.since = time.Now().UnixNano()
	}
	return len(unnamed) == 0 || s.overflow || s.reseed()
}

// reseed is due after each loss.
func (s *conn) reseed() bool {
	s.since = time.Now().UnixNano()
	if err := s.tracker.seed(); err != nil {
		return s.fail(fmt.Errorf("read process table after a loss: %w", err))
	}
	s.seededAt = mono()
	return true
}

// fail delivers what is certain, says what is not, and ends the source.
func (s *conn) fail(err error) bool {
	s.err = err
	s.tracker.voidSince(s.settled)
	s.send(append(s.tracker.ready(mono()), s.losses()...))
	return false
}

func (s *conn) send(batch []event.Event) {
	for len(batch) > 0 {
		n := min(len(batch), batchMax)
		s.given.Add(1)
		s.events <- batch[:n:n]
		batch = batch[n:]
	}
}
