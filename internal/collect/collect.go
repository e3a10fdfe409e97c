// Package collect is procmond's core: it subscribes to a source, takes a
// snapshot of the processes that were already there, merges the two without
// holes or doubles, keeps the table of live processes, hashes what is executed, and
// hands the stream on.
package collect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
)

// Sink takes the stream. Its methods are called by one goroutine and may block;
// the events then wait in the source.
type Sink interface {
	Put(ctx context.Context, batch []event.Event) error

	// Sync gives all processes that are alive at this point of the stream, as
	// KindExec events of SourceSnapshot; those whose image is not known have
	// neither KnownExe nor KnownArgs. news are the ones among them that the
	// stream has not told of before, followed by the exits of those that it
	// told of and that are not there any more.
	Sync(ctx context.Context, live, news []event.Event) error
}

// ErrExiting comes with the rows of a Snapshot when some are of processes that were
// on their way out: where the source told their end before the snapshot, or lost it,
// they would seem alive for good, so that there is another snapshot a little later.
var ErrExiting = errors.New("processes are on their way out")

// Pauses before that snapshot: each is twice as long as the last, as long as there
// are such processes.
const againFirst, againMost = time.Second, 10 * time.Minute

// Options for a Collector.
type Options struct {
	// Snapshot lists the live processes as they are now: KindExec events of
	// SourceSnapshot whose Time is when each was read. With ErrExiting the rows are
	// good; any other error ends Run.
	Snapshot func(context.Context) ([]event.Event, error)
	// Lookup is Snapshot of those among pids that live, for processes of which
	// the snapshot could not tell what they run. nil = that stays unknown until
	// the next snapshot.
	Lookup func(ctx context.Context, pids []uint32) ([]event.Event, error)
	// Hidden reports whether a process lives that Snapshot cannot see. nil = it sees
	// all.
	Hidden func(pid int) bool
	// Quiet is how long a source with nothing to say is waited for before it counts
	// as having told all, unless it says that it has not; at least twice its
	// FlushDelay, and how long it holds an event back. 0 = 150 ms.
	Quiet time.Duration
	// HeldEvents and HeldBytes, of their strings, bound what is held back while a
	// snapshot is taken; beyond them events wait in the source's own buffer. They bound
	// again what is held back of those, until they reach the snapshot's end; beyond them
	// a gap is told. 0 = 50,000 and 16 MiB. A batch is not divided.
	HeldEvents, HeldBytes int
	Hash                  HashOptions
	Log                   *slog.Logger
}

func (o *Options) fillDefaults() {
	if o.Quiet == 0 {
		o.Quiet = 150 * time.Millisecond
	}
	if o.HeldEvents == 0 {
		o.HeldEvents = 50_000
	}
	if o.HeldBytes == 0 {
		o.HeldBytes = 16 << 20
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Stats is what a Collector has done. Counters only grow.
type Stats struct {
	Events    [event.NumKinds]uint64 // handed on, by kind
	Lost      [event.NumKinds]uint64 // told by the source as lost, by kind; 0 = any kind
	Duplicate uint64                 // exits and forks seen twice, handed on once
	Syncs     uint64                 // snapshots taken
	Resyncs   uint64                 // of these, after a loss
	Live      int                    // processes in the table
	Held      int                    // events that wait for a snapshot to be complete
	Hash      HashStats
}

// Collector joins one source and one sink.
type Collector struct {
	o        Options
	needSync chan struct{} // capacity 1: a request that nobody has served yet
	hash     *hasher       // nil = nothing is hashed

	// Owned by Run.
	table  table
	sink   Sink
	lossy  bool             // something was lost since the last snapshot
	again  <-chan time.Time // when the next snapshot is due; nil = when somebody asks
	pause  time.Duration    // before it
	newest int64            // time of the last event that the source gave, Unix ns; when Run began until there is one

	stats atomic.Pointer[Stats]
	count Stats // Run's own copy
}

// New makes a collector; Run does the work.
func New(o Options) *Collector {
	o.fillDefaults()
	c := &Collector{o: o, needSync: make(chan struct{}, 1)}
	if o.Hash.Rate > 0 {
		c.hash = newHasher(o.Hash)
	}
	c.stats.Store(&Stats{})
	return c
}

// NeedSync asks for a Sync soon. Safe for concurrent use, never blocks.
func (c *Collector) NeedSync() {
	select {
	case c.needSync <- struct{}{}:
	default:
	}
}

// Stats returns the latest counters. Safe for concurrent use.
func (c *Collector) Stats() Stats {
	s := *c.stats.Load()
	s.Hash = c.hash.stats()
	return s
}

// Run collects until src's Events are closed, which is how it is stopped: by
// closing src. ctx aborts it. The error is src's, the sink's or ctx's.
func (c *Collector) Run(ctx context.Context, src source.Source, sink Sink) error {
	c.table, c.sink, c.lossy, c.newest = newTable(), sink, false, time.Now().UnixNano()
	c.table.hidden = c.o.Hidden
	c.again, c.pause = nil, 0
	if c.hash != nil {
		// Nobody waits for its end: it may hang in a file system that does not
		// answer, and what it has not hashed yet is given up.
		hashing, stop := context.WithCancel(ctx)
		defer stop()
		go c.hash.run(hashing)
	}
	open := true
	resync := true // the first snapshot
	for open {
		if resync {
			var err error
			if open, err = c.sync(ctx, src); err != nil {
				return err
			}
			resync = false
			continue
		}
		select {
		case batch, ok := <-src.Events():
			if !ok {
				open = false
				break
			}
			lost, err := c.live(ctx, batch)
			if err != nil {
				return err
			}
			resync = lost
		case e := <-c.hash.late():
			// The exec was put: its hash is asked for before that, but this goroutine
			// alone puts either.
			late := c.hash.take(e)
			if err := c.sink.Put(ctx, late); err != nil {
				return err
			}
			c.publish(late)
		case <-c.needSync:
			resync = true
		case <-c.again:
			resync = true
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return src.Err()
}

// live passes a batch through the table and on to the sink. lost tells that the
// batch had a gap after which the table may be wrong.
func (c *Collector) live(ctx context.Context, batch []event.Event) (lost bool, err error) {
	out := make([]event.Event, 0, len(batch))
	for i := range batch {
		e := &batch[i]
		if e.Kind == event.KindGap {
			lost = lost || !e.Gap.Healed
			if e.Known.Has(event.KnownLost) {
				c.count.Lost[e.Gap.Of] += e.Gap.Lost
			}
		}
		out = c.table.apply(out, e)
	}
	c.lossy = c.lossy || lost
	c.passed(batch)
	c.hash.add(out)
	if err := c.sink.Put(ctx, out); err != nil {
		return lost, err
	}
	c.publish(out)
	return lost, nil
}

func (c *Collector) publish(out []event.Event) {
	for i := range out {
		c.count.Events[out[i].Kind]++
	}
	c.count.Live, c.count.Duplicate = c.table.live, c.table.duplicates
	s := c.count
	c.stats.Store(&s)
}

// sync takes a snapshot and merges it with what the source says meanwhile. The
// events are held back until the source has told everything that happened
// before the snapshot was complete; then comes what only the snapshot knows,
// and then the held events. open is false when the source ended.
func (c *Collector) sync(ctx context.Context, src source.Source) (open bool, err error) {
	// What starts from here on is told by the source, or counted as lost.
	since := time.Now().UnixNano()
	l, err := c.scan(ctx, src, c.o.Snapshot)
	if err != nil {
		return l.open, err
	}
	if c.again = nil; l.exiting {
		c.pause = min(max(2*c.pause, againFirst), againMost)
		c.again = time.After(c.pause)
	} else {
		c.pause = 0
	}
	remember(src, l.rows)
	live, news, late := c.table.merge(l.rows, l.held, since)
	c.hash.add(live)
	c.hash.copies(news) // all of them are in live
	if err := c.sink.Sync(ctx, live, news); err != nil {
		return l.open, err
	}
	c.count.Syncs++
	if c.lossy {
		c.count.Resyncs++
	}
	c.lossy = false
	c.publish(news)
	if err := c.release(ctx, l); err != nil {
		return l.open, err
	}
	if err := c.found(ctx, c.table.catchUp(late)); err != nil {
		return l.open, err
	}
	return c.lookUp(ctx, src, l)
}

// maxLookups is how often in a row processes are looked up: each time only those
// are left that did an exec, or were forked by one that did, just then.
const maxLookups = 4

// lookUp closes what a snapshot leaves open: what a process runs that was forked
// after the pids were listed, when it was not known what its parent ran either,
// since that did an exec before its row could tell.
func (c *Collector) lookUp(ctx context.Context, src source.Source, l look) (open bool, err error) {
	for range maxLookups {
		pids := c.table.unknown(l.held)
		if !l.open || c.o.Lookup == nil || len(pids) == 0 {
			break
		}
		l, err = c.scan(ctx, src, func(ctx context.Context) ([]event.Event, error) { return c.o.Lookup(ctx, pids) })
		if err != nil {
			return l.open, err
		}
		remember(src, l.rows)
		// They come first: held is what happened since, or while they were read.
		if err := c.found(ctx, c.table.settle(l.rows, l.held)); err != nil {
			return l.open, err
		}
		if err := c.release(ctx, l); err != nil {
			return l.open, err
		}
	}
	return l.open, nil
}

// remember tells a source that only looks now and then what a snapshot found in
// between: it has to tell the end of that, too.
func remember(src source.Source, rows []event.Event) {
	if r, ok := src.(interface{ Remember([]event.Event) }); ok {
		r.Remember(rows)
	}
}

// release passes on what was held back, and before it that some may be missing.
func (c *Collector) release(ctx context.Context, l look) error {
	if err := c.found(ctx, l.gap); err != nil {
		return err
	}
	for _, batch := range l.held {
		c.count.Held -= len(batch)
		lost, err := c.live(ctx, batch)
		if err != nil {
			return err
		}
		if lost {
			c.NeedSync()
		}
	}
	return nil
}

// found hands on what was found out beside the source.
func (c *Collector) found(ctx context.Context, news []event.Event) error {
	if len(news) == 0 {
		return nil
	}
	c.hash.add(news)
	if err := c.sink.Put(ctx, news); err != nil {
		return err
	}
	c.publish(news)
	return nil
}

// maxSilences is how often in a row a source is waited for that has something and
// gives nothing.
const maxSilences = 20

// look is a snapshot and what the source told meanwhile.
type look struct {
	rows    []event.Event
	held    [][]event.Event // reaches the end of the snapshot, unless there is a gap
	open    bool            // the source has not ended
	exiting bool            // see ErrExiting
	gap     []event.Event   // at most one: where held ends too early
}

// scan runs a snapshot and gathers the source's batches until they reach the
// snapshot's end.
func (c *Collector) scan(ctx context.Context, src source.Source, snapshot func(context.Context) ([]event.Event, error)) (look, error) {
	type result struct {
		rows []event.Event
		err  error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		rows, err := snapshot(ctx)
		done <- result{rows, err}
	}()

	l := look{open: true}
	var scanned <-chan result = done
	var quiet <-chan time.Time
	var end int64   // of the snapshot, Unix ns; 0 = not yet
	n, size := 0, 0 // events held, from before end or from behind it, and bytes of their strings
	full := func() bool { return n >= c.o.HeldEvents || size >= c.o.HeldBytes }
	silences := 0
	take := func(batch []event.Event, ok bool) (complete bool) {
		if !ok {
			l.open = false
			return end != 0 // else let the snapshot finish; then it is over
		}
		if len(batch) == 0 {
			return false
		}
		l.held = append(l.held, batch)
		n += len(batch)
		size += stringBytes(batch)
		c.count.Held += len(batch)
		c.publish(nil)
		c.passed(batch)
		if end == 0 || c.newest >= end {
			return end != 0
		}
		if full() {
			l.gap = c.early()
			return true
		}
		quiet, silences = time.After(c.o.Quiet), 0
		return false
	}
	for {
		events := src.Events()
		if !l.open || end == 0 && full() {
			events = nil
		}
		select {
		case r := <-scanned:
			if l.exiting = errors.Is(r.err, ErrExiting); r.err != nil && !l.exiting {
				return l, fmt.Errorf("take snapshot of the process list: %w", r.err)
			}
			if l.rows = r.rows; !l.open {
				return l, nil
			}
			scanned, end, n, size = nil, time.Now().UnixNano(), 0, 0
			quiet = time.After(c.o.Quiet)
		case batch, ok := <-events:
			if take(batch, ok) {
				return l, nil
			}
		case <-quiet:
			// When this process was kept from running for so long, there are events,
			// but nobody has had the time to give them. They go from the source to the
			// channel, so that one is looked at first.
			waiting := waits(src)
			select {
			case batch, ok := <-events:
				if take(batch, ok) {
					return l, nil
				}
			default:
				if silences++; waiting && silences == maxSilences {
					l.gap = c.early()
				}
				if !waiting || silences == maxSilences {
					return l, nil
				}
			}
			quiet = time.After(c.o.Quiet)
		case <-ctx.Done():
			return l, ctx.Err()
		}
	}
}

// stringBytes is how much memory a batch takes that depends on what was executed.
func stringBytes(batch []event.Event) (n int) {
	for i := range batch {
		if x := batch[i].Exec; x != nil {
			n += len(x.Args) + len(x.Env) + len(x.Exe) + len(x.Invoked) + len(x.Interpreter) + len(x.Cwd) + len(x.Cgroup)
		}
	}
	return n
}

// early is the gap that tells that a list was made before the source had told all
// from before its end. What it tells later may be known from the list by then, and
// is left out: that a process was forked, or how it ended. No other list is needed:
// the table comes out right all the same.
func (c *Collector) early() []event.Event {
	return []event.Event{{
		Kind: event.KindGap, Source: event.SourceAgent, Known: event.KnownTime, Time: c.newest,
		Gap: &event.Gap{Until: max(c.newest, time.Now().UnixNano()), Cause: earlyCause},
	}}
}

const earlyCause = "the list of processes overtook the events"

// passed notes up to when the source has told, if batch has more than gaps, whose
// times are older.
func (c *Collector) passed(batch []event.Event) {
	for i := len(batch) - 1; i >= 0; i-- {
		if batch[i].Kind != event.KindGap {
			c.newest = batch[i].Time
			return
		}
	}
}

// waits reports whether a source has something that it has not given, if it can say
// that: in its buffer, or read and held until it is final.
func waits(src source.Source) bool {
	if b, ok := src.(interface{ Backlog() (waiting, size int) }); ok {
		if waiting, _ := b.Backlog(); waiting > 0 {
			return true
		}
	}
	// It goes from the buffer to what is held, so that one is looked at first.
	h, ok := src.(interface{ Held() int })
	return ok && h.Held() > 0
}
