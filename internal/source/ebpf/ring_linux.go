//go:build linux && (amd64 || arm64)

package ebpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
)

// A batch has at most so many events, and is full as well when their records have so
// many bytes: a burst reaches the consumer in pieces, of which four may be in memory.
const (
	batchMax   = 2048
	batchBytes = 1 << 20
)

// execMost is the most that one exec takes in the ring buffer: the largest record, and in
// front of it the largest of those that are discarded since the strings do not fit (see
// TRY in bpf/exec.h), each with the 8 bytes that the kernel puts before it.
const (
	execMost  = headMost + 64<<10 + roomWorst + headMost + 128<<10 + 32<<10 + roomWorst
	headMost  = 8 + execSize + 256 // with PIECE
	roomWorst = 26 << 10
)

// lostEvery is how often losses are told while the ring buffer does not get empty.
// Each time the processes are listed anew.
const lostEvery = time.Second

func newEvents() chan []event.Event { return make(chan []event.Event, 2) }

// ring is the open source: loaded programs and the goroutine that reads their
// ring buffer.
type ring struct {
	Options
	detail      string             // how it is attached
	failures    bool               // failed execs are seen
	noFailing   bool               // see checkFailed
	collections []*ebpf.Collection // they share the maps of the first
	links       []link.Link
	reader      *ringbuf.Reader

	detaching, closing sync.Once
	stop               chan struct{}
	lostBy             atomic.Pointer[error] // why there will be no more events; see lose
	lastGood           atomic.Int64          // when the programs were last seen to work, Unix ns
	lastFork, lastExit atomic.Int64          // times of the newest ones told, Unix ns
	reading            atomic.Bool           // records may have left the buffer that no batch which was given has
	given              atomic.Uint64         // batches

	mu       sync.Mutex // guards released and detached
	released bool       // the buffer is no longer mapped
	detached bool       // the links are closed

	// Owned by run.
	events  chan []event.Event
	err     error
	decoder decoder
	lost    [kindMax]uint64 // as last told
	looked  int64           // when that was, ns on the boot clock
	filling int64           // when what is read began to fill the ring buffer, ns on the boot clock; 0 = not known
	skips   []skipping
	spares  spares
}

func (s *ring) Name() event.Source           { return event.SourceEBPF }
func (s *ring) Events() <-chan []event.Event { return s.events }
func (s *ring) Err() error                   { return s.err }

// Detail says how the programs are attached, and what this kernel does not show.
func (s *ring) Detail() string { return s.detail }

// SeesFailures reports whether failed execs are recorded.
func (s *ring) SeesFailures() bool { return s.failures }

// LastGood is when the programs were last seen to work, Unix ns. Safe for
// concurrent use.
func (s *ring) LastGood() int64 { return s.lastGood.Load() }

// Backlog is how many bytes wait in the kernel's buffer, and its size. Safe for
// concurrent use.
func (s *ring) Backlog() (waiting, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.released {
		return 0, s.RingBytes
	}
	return s.reader.AvailableBytes(), s.RingBytes
}

// Held is 1 while records that were read are not given yet. Safe for concurrent use.
//
// BUG(ebpf): the reader waits in the same call in which it takes the first record from
// the buffer, so that it is neither there nor held for the instant until that returns.
func (s *ring) Held() int {
	if s.reading.Load() {
		return 1
	}
	return 0
}

// Given is as source.Source says.
func (s *ring) Given() uint64 { return s.given.Load() }

// Close detaches the programs. What is in the ring buffer is still delivered.
func (s *ring) Close() error {
	var err error
	s.closing.Do(func() {
		err = s.detach()
		close(s.stop)
		// Wake the reader, unless it has seen stop and is gone already.
		if wake := s.reader.Flush(); wake != nil && !errors.Is(wake, os.ErrClosed) {
			err = errors.Join(err, wake)
		}
	})
	return err
}

// detach ends the recording, once.
func (s *ring) detach() (err error) {
	s.detaching.Do(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.detached = true
		for _, l := range slices.Backward(s.links) { // see open
			err = errors.Join(err, l.Close())
		}
	})
	return err
}

func (s *ring) release() {
	_ = s.detach() // nobody is left to tell
	s.mu.Lock()
	s.released = true
	s.mu.Unlock()
	if s.reader != nil {
		_ = s.reader.Close()
	}
	for _, c := range s.collections {
		c.Close()
	}
}

// run waits for the kernel's wake-up, then lets records gather for FlushDelay,
// then reads all there are. At rest it sleeps in epoll without a timer.
func (s *ring) run() {
	defer close(s.events)
	defer s.release()
	var watch sync.WaitGroup
	ended := make(chan struct{})
	watch.Go(func() { s.watch(ended) })
	defer watch.Wait()
	defer close(ended)
	s.decoder.boot, s.decoder.env = s.Boot, s.Env
	var rec ringbuf.Record
	timer := time.NewTimer(0)
	<-timer.C
	// Close wakes the reader after it closed stop. A drain may take the wake-up
	// for its own, so stop is looked at before each wait.
	for !s.stopping() {
		// A record that was thrown away wakes the reader but is never returned.
		wait := time.Time{}
		switch {
		case s.HooksOnly:
			wait = time.Now()
		case s.spares.unsure:
			wait = time.Now().Add(spareEvery)
		}
		s.reader.SetDeadline(wait)
		err := s.reader.ReadInto(&rec)
		switch {
		case errors.Is(err, ringbuf.ErrFlushed) || !wait.IsZero() && errors.Is(err, os.ErrDeadlineExceeded):
			rec.RawSample = rec.RawSample[:0]
		case err != nil:
			s.err = errLost
			return
		}
		s.reading.Store(true)
		if s.reader.AvailableBytes() < s.reader.BufferSize()/8 {
			timer.Reset(s.FlushDelay)
			select {
			case <-timer.C:
			case <-s.stop:
			}
		}
		if !s.drain(&rec) {
			return
		}
		if err := s.lostBy.Load(); err != nil {
			s.err = *err
			_ = s.detach() // whatever still runs would only fill the buffer
			break
		}
	}
	rec.RawSample = rec.RawSample[:0]
	s.drain(&rec) // the programs are detached: this is the rest
}

func (s *ring) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// setClock looks at the wall clock, so that one that was set shows in the times of the
// events; the identity of processes has the boot clock alone.
func (s *ring) setClock() {
	s.decoder.wallOffset = source.ClockAhead(unix.CLOCK_REALTIME, unix.CLOCK_BOOTTIME)
}

// drain delivers rec, if it holds a record, and all that follow it until the
// ring is empty, and what was lost meanwhile. A consumer that is slower than the
// programs can make that last, so both are looked after in between, too. False: the
// source is lost.
func (s *ring) drain(rec *ringbuf.Record) bool {
	s.reading.Store(true)
	defer s.reading.Store(false)
	s.setClock()
	var batch []event.Event
	first, size := true, 0                // size of its records
	var told time.Time                    // when losses were told last
	s.reader.SetDeadline(time.Unix(1, 0)) // long past: read what is there, never wait
	for {
		if len(rec.RawSample) > 0 {
			if batch == nil {
				batch = make([]event.Event, 0, 256)
			}
			var err error
			if batch, err = s.decoder.decode(batch, rec.RawSample); err != nil {
				s.err = err
				s.send(s.appendLost(batch))
				return false
			}
			if first {
				s.setFilling(rec.RawSample)
				first = false
			}
			settle(batch)
			size += len(rec.RawSample)
		}
		if len(batch) >= batchMax || size >= batchBytes {
			if time.Since(told) >= lostEvery {
				batch = s.appendLost(batch)
				told = time.Now()
			}
			s.send(batch) // may take its time
			s.setClock()
			batch, size = nil, 0
		}
		err := s.reader.ReadInto(rec)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if errors.Is(err, ringbuf.ErrFlushed) {
			rec.RawSample = rec.RawSample[:0]
		} else if err != nil {
			s.err = errLost
			s.send(s.appendLost(batch))
			return false
		}
	}
	rec.RawSample = rec.RawSample[:0]
	s.send(s.appendLost(batch))
	return true
}

// setFilling notes the first record after the ring buffer was empty. Nothing was lost
// before it had its place: a buffer that is larger than what an exec takes has room for
// any when it is empty. Its time is taken a moment later, before which an interrupt, or
// the host of a virtual machine, may keep the program from running: hence the tenth of a
// second. One that can be preempted there may be kept for any time.
func (s *ring) setFilling(raw []byte) {
	// Failed execs may be a fexit program's: see skipping.
	preempted := s.Options.spares > 0 || binary.LittleEndian.Uint32(raw) == kindExecFailed
	if s.filling = 0; s.RingBytes > execMost && !preempted {
		s.filling = int64(binary.LittleEndian.Uint64(raw[8:])) - int64(100*time.Millisecond)
	}
}

func (s *ring) send(batch []event.Event) {
	if len(batch) == 0 {
		return
	}
	noteNewest(&s.lastFork, batch, event.KindFork)
	noteNewest(&s.lastExit, batch, event.KindExit)
	s.given.Add(1)
	s.events <- batch
}

func noteNewest(newest *atomic.Int64, batch []event.Event, of event.Kind) {
	for i := len(batch) - 1; i >= 0; i-- {
		if batch[i].Kind == of {
			newest.Store(batch[i].Time)
			return
		}
	}
}

// appendLost adds a gap for each kind whose count of failed reservations has
// grown since the last look. The range begins there, or, where that was later, with
// what filled the ring buffer.
func (s *ring) appendLost(batch []event.Event) []event.Event {
	from, looking := s.looked, source.ClockNow(unix.CLOCK_BOOTTIME)
	var lost [kindMax]uint64 // by KIND_ of bpf/record.h, which are event.Kind's
	if err := s.collections[0].Variables["lost"].Get(&lost); err != nil {
		return batch
	}
	s.looked = looking
	for k, n := range lost {
		if n == s.lost[k] {
			continue
		}
		batch = append(batch, s.gap(max(from, s.filling), event.KnownLost, event.Gap{Of: event.Kind(k), Lost: n - s.lost[k], Cause: "ring buffer full"}))
		s.lost[k] = n
	}
	return s.appendSkipped(batch, from)
}

// gap is one from a time on the boot clock until now.
func (s *ring) gap(from int64, known event.Known, g event.Gap) event.Event {
	g.Until = source.ClockNow(unix.CLOCK_BOOTTIME) + s.decoder.wallOffset
	return event.Event{
		Kind: event.KindGap, Source: event.SourceEBPF, Known: event.KnownTime | known, Time: from + s.decoder.wallOffset, Gap: &g,
	}
}

// skipping is a program that the kernel may leave out: when it is due on a CPU
// where a task that was preempted is inside of it. Tracing programs can be
// preempted from 7.0 on, fentry and fexit ones since 5.12. One that looks at the
// begin of an exec is not among these: its exec says that what it gave is not known.
type skipping struct {
	program *ebpf.Program
	kind    event.Kind // what it tells of
	seen    uint64
}

// appendSkipped adds a gap for each program that was left out since from, boot clock. How
// many events that were is not known, since some programs look at threads, too.
func (s *ring) appendSkipped(batch []event.Event, from int64) []event.Event {
	for i := range s.skips {
		p := &s.skips[i]
		stats, err := p.program.Stats()
		if err != nil || stats.RecursionMisses == p.seen {
			continue // before 5.12 nothing is counted
		}
		n := stats.RecursionMisses - p.seen
		p.seen = stats.RecursionMisses
		batch = append(batch, s.gap(from, 0, event.Gap{Of: p.kind, Cause: fmt.Sprintf("the kernel left the program out %d times, being inside of it", n)}))
	}
	return s.appendSpared(batch)
}
