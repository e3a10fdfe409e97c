// Package poll watches processes by looking at the process table again and
// again and comparing: the source of last resort, which works everywhere and
// without privileges.
//
// What lives shorter than the interval between two looks is never seen, of
// several execs between two looks only the last is, and forks are not claimed
// at all. Events say so: the time of none is known, every exit is presumed, and
// gaps, one behind the other, cover all the time since Open.
package poll

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
)

// maxFailures is how many looks in a row may fail before the source is lost.
const maxFailures = 10

// gapEvery is how often the blind spot is told while nothing else is, so that a
// machine at rest is not written about at each look.
const gapEvery = time.Minute

// table is the process table of a platform. What an error of look or read
// means: one that wraps os.ErrNotExist, that the process has ended (a zombie
// has, too); any other, that it could not be told.
type table interface {
	pids(ctx context.Context) ([]int32, error)
	// look compares pid with what it was at the last look.
	look(ctx context.Context, pid int32, p *proc) (change, error)
	// read describes pid, and remembers it in p for the next look.
	read(ctx context.Context, pid int32, p *proc) (event.Event, error)
}

// change is what happened to a pid between two looks.
type change uint8

const (
	same     change = iota
	execed          // the process runs another program
	replaced        // it is another process
)

// proc is what is remembered of a live process.
type proc struct {
	key   event.ProcessKey
	round uint64 // last look that saw it
	image image  // the table's
}

// image tells one exec of a process from the next. A table uses of it what its
// platform shows.
type image struct {
	kthread bool // of the kernel
	id      event.ExecID
	exe     string // "" = not known
	args    uint64 // hash
	hasArgs bool
}

type poller struct {
	table    table
	o        source.Options
	events   chan []event.Event
	done     chan struct{}
	closing  sync.Once
	err      error           // written before events is closed, read after
	procs    map[int32]*proc // the loop's; bounded by the live processes
	round    uint64          // the loop's
	failures int             // the loop's
	told     int64           // the loop's: end of the last gap, Unix ns
	given    atomic.Uint64   // batches

	mu    sync.Mutex
	found []event.ProcessKey // by others, since the last look; at most one snapshot's
}

// Open looks once, so that whatever begins or ends from then on is a
// difference, and goes on looking every PollInterval. The first batch is what
// was there already. Cancelling ctx ends the source like Close does, but
// without delivering what is pending, and Err tells it.
func Open(ctx context.Context, o source.Options) (source.Source, error) {
	o.FillDefaults()
	if o.Boot == (event.BootID{}) {
		var err error
		if o.Boot, err = HostBootID(ctx); err != nil {
			return nil, fmt.Errorf("open poll: %w", err)
		}
	}
	return open(ctx, o, newTable(o))
}

// Find looks at some processes alone: those of pids that live, as KindExec
// events of SourceSnapshot. One that cannot be read is left out.
func Find(ctx context.Context, o source.Options, pids []uint32) ([]event.Event, error) {
	o.FillDefaults()
	t := newTable(o)
	var rows []event.Event
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if e, err := t.read(ctx, int32(pid), &proc{}); err == nil {
			e.Source = event.SourceSnapshot
			rows = append(rows, e)
		}
	}
	return rows, nil
}

// Snapshot looks once: what is there now, as KindExec events of SourceSnapshot.
func Snapshot(ctx context.Context, o source.Options) ([]event.Event, error) {
	o.FillDefaults()
	rows, err := newPoller(o, newTable(o)).scan(ctx, event.SourceSnapshot)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	return rows, nil
}

func open(ctx context.Context, o source.Options, t table) (*poller, error) {
	p := newPoller(o, t)
	p.told = time.Now().UnixNano()
	baseline, err := p.scan(ctx, event.SourceSnapshot)
	if err != nil {
		return nil, fmt.Errorf("open poll: %w", err)
	}
	go p.run(ctx, baseline)
	return p, nil
}

func newPoller(o source.Options, t table) *poller {
	return &poller{
		table: t, o: o,
		// One batch may wait: a slow reader delays the next look, and loses nothing else.
		events: make(chan []event.Event, 1),
		done:   make(chan struct{}),
		procs:  make(map[int32]*proc),
	}
}

func (p *poller) Name() event.Source { return event.SourcePoll }

// Blind is what polling never sees.
func (p *poller) Blind() string {
	blind := fmt.Sprintf("polling: what lives shorter than %v is not seen", p.o.PollInterval)
	if t, ok := p.table.(interface{ hides() bool }); ok && t.hides() {
		blind += ", nor is what /proc hides (hidepid)"
	}
	return blind
}

func (p *poller) Events() <-chan []event.Event { return p.events }

func (p *poller) Err() error { return p.err }

// Given is as source.Source says.
func (p *poller) Given() uint64 { return p.given.Load() }

func (p *poller) Close() error {
	p.closing.Do(func() { close(p.done) })
	return nil
}

// Remember takes the rows of a snapshot that somebody else took: one may live just
// between two looks, and its end is told as well. Safe for concurrent use.
func (p *poller) Remember(rows []event.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range rows {
		p.found = append(p.found, rows[i].Process)
	}
}

// recall tells the ends of those that others found and this look did not.
func (p *poller) recall(ctx context.Context, d *diff) {
	p.mu.Lock()
	found := p.found
	p.found = nil
	p.mu.Unlock()
	for _, key := range found {
		pid := int32(key.PID)
		if q := p.procs[pid]; q != nil && q.key == key {
			continue // it is looked after
		}
		if slices.ContainsFunc(d.exits, func(e event.Event) bool { return e.Process == key }) {
			continue
		}
		c, err := p.table.look(ctx, pid, &proc{key: key})
		switch {
		case errors.Is(err, os.ErrNotExist) || err == nil && c == replaced:
			d.exits = append(d.exits, exitOf(key))
		default: // it could not be read, or not whole: the next look sees
			p.Remember([]event.Event{{Process: key}})
		}
	}
}

func (p *poller) run(ctx context.Context, batch []event.Event) {
	defer close(p.events)
	tick := time.NewTicker(p.o.PollInterval)
	defer tick.Stop()
	for {
		if !p.send(ctx, batch) {
			return
		}
		select {
		case <-p.done:
			p.send(ctx, []event.Event{p.gap()})
			return
		case <-ctx.Done():
			p.err = context.Cause(ctx)
			return
		case <-tick.C:
		}
		var err error
		batch, err = p.scan(ctx, event.SourcePoll)
		if err == nil {
			p.failures = 0
			if len(batch) > 0 || time.Now().UnixNano()-p.told >= int64(gapEvery) {
				batch = append([]event.Event{p.gap()}, batch...)
			}
			continue
		}
		p.failures++
		if p.failures == maxFailures {
			if p.send(ctx, []event.Event{p.gap()}) {
				p.err = fmt.Errorf("poll processes: %d looks in a row were in vain: %w", maxFailures, err)
			}
			return
		}
		if ctx.Err() == nil {
			p.o.Log.Warn("cannot read the process table, trying again", "error", err, "in_a_row", p.failures)
		}
	}
}

// send delivers a batch, unless ctx ends. It is not given up for Close, whose
// caller reads on.
func (p *poller) send(ctx context.Context, batch []event.Event) bool {
	if len(batch) == 0 {
		return true
	}
	p.given.Add(1)
	select {
	case p.events <- batch:
		return true
	case <-ctx.Done():
		p.err = context.Cause(ctx)
		return false
	}
}

// gap is the time from the last gap until now.
func (p *poller) gap() event.Event {
	from := p.told
	p.told = max(from, time.Now().UnixNano()) // the clock may have been set back
	return event.Event{
		Kind: event.KindGap, Source: event.SourcePoll, Known: event.KnownTime, Time: from,
		Gap: &event.Gap{
			Until: p.told, Healed: true, Cause: p.Blind(),
		},
	}
}

var errEmpty = errors.New("read process table: no process can be read")

// scan looks once and says what is different: exits, then execs. With an error
// nothing is different yet; the next scan finds it.
func (p *poller) scan(ctx context.Context, src event.Source) ([]event.Event, error) {
	pids, err := p.table.pids(ctx)
	if err != nil {
		return nil, fmt.Errorf("read process table: %w", err)
	}
	p.round++
	var d diff
	seen, why := 0, errEmpty
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		switch err := p.visit(ctx, pid, &d); {
		case err == nil:
			seen++
		case !errors.Is(err, os.ErrNotExist):
			why = err
		}
	}
	// This process is in every table: one without any says nothing of the others.
	if seen == 0 && len(d.exits) == 0 {
		return nil, why
	}
	p.sweep(ctx, &d)
	p.recall(ctx, &d)
	for i := range d.execs {
		d.execs[i].Source = src
	}
	return append(d.exits, parentsFirst(d.execs)...), nil
}

// diff is what one look found.
type diff struct{ exits, execs []event.Event }

// visit compares one listed pid with what is remembered of it.
func (p *poller) visit(ctx context.Context, pid int32, d *diff) error {
	q := p.procs[pid]
	if q != nil {
		c, err := p.table.look(ctx, pid, q)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return err
		case err != nil || c == same: // with an error it may well be there
			q.round = p.round
			return err
		case c == replaced:
			d.exits = append(d.exits, p.exit(pid, q))
			q = nil
		}
	}
	fresh := &proc{round: p.round}
	e, err := p.table.read(ctx, pid, fresh)
	if err == nil && q != nil && e.Process != q.key {
		err = os.ErrNotExist // it ended after it was compared: the next scan sees the other one
	}
	if err != nil {
		if q != nil && !errors.Is(err, os.ErrNotExist) {
			q.round = p.round
		}
		return err
	}
	fresh.key = e.Process
	p.procs[pid] = fresh
	d.execs = append(d.execs, e)
	return nil
}

// sweep adds the exits of what this round did not see. Each is looked for once
// more, since not every platform lists its processes at one moment.
func (p *poller) sweep(ctx context.Context, d *diff) {
	for pid, q := range p.procs {
		if q.round == p.round {
			continue
		}
		c, err := p.table.look(ctx, pid, q)
		if errors.Is(err, os.ErrNotExist) || err == nil && c == replaced {
			d.exits = append(d.exits, p.exit(pid, q))
		}
	}
}

// exit forgets a process. Only that it is gone is known: not when, nor how.
func (p *poller) exit(pid int32, q *proc) event.Event {
	delete(p.procs, pid)
	return exitOf(q.key)
}

func exitOf(key event.ProcessKey) event.Event {
	return event.Event{
		Kind: event.KindExit, Source: event.SourcePoll, Time: time.Now().UnixNano(),
		Process: key, Exit: &event.Exit{Presumed: true},
	}
}
