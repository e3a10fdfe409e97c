// Package pipeline is the way from procmond's stream to the store: it gathers
// what comes into batches, adds what procmond does not know, stores each batch
// in one transaction and acknowledges it. What is not stored is not
// acknowledged, so back-pressure reaches procmond and the kernel's buffer, where
// loss is counted.
package pipeline

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/health"
)

// Item is a piece of the stream.
type Item struct {
	Events []event.Event

	// Live, instead of Events, is the complete list of the processes that are
	// alive at this point of the stream, made at Now (Unix ns).
	Live []event.Event
	Now  int64

	// Session and Seq are the place in the stream behind this item, to be
	// stored with it. An item of the agent's own has none.
	Session string
	Seq     uint64
	// Ack is called when the item and all before it are durable; of several that
	// become durable together only the newest one's. nil = nobody waits.
	Ack func()
}

// Store is where batches go. An error means that nothing was stored; Append
// and Reconcile are then called again with the same.
type Store interface {
	Append(ctx context.Context, batch []event.Event, session string, seq uint64) error
	Reconcile(ctx context.Context, live []event.Event, now int64) error
}

// Options of a pipeline. The zero value is usable.
type Options struct {
	BatchRows  int           // events that are stored at once at most; 0 = 1,000
	BatchDelay time.Duration // how long an event waits for others; 0 = 250 ms
	User       func(uid uint32) (string, bool)
	Redactor   *Redactor // of secrets; nil = as NewRedactor makes it without options
	Unredacted bool      // secrets are stored, and Redactor is not used
	// Fatal tells that an error of the store will not go away; nil = none will.
	Fatal func(error) bool
	Log   *slog.Logger
}

func (o *Options) fillDefaults() {
	if o.BatchRows == 0 {
		o.BatchRows = 1000
	}
	if o.BatchDelay == 0 {
		o.BatchDelay = 250 * time.Millisecond
	}
	if o.User == nil {
		o.User = func(uint32) (string, bool) { return "", false }
	}
	if o.Redactor == nil {
		o.Redactor = &Redactor{}
	}
	if o.Fatal == nil {
		o.Fatal = func(error) bool { return false }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Pipeline is one run of it.
type Pipeline struct {
	o     Options
	store Store

	events, stored atomic.Uint64
	queued         atomic.Int64
	newest, lag    atomic.Int64
	failure        atomic.Pointer[string] // why the store takes nothing at the moment

	// Owned by Run.
	batch   []event.Event
	session string // place in the stream behind batch, "" when it holds
	seq     uint64 // only items of the agent's own
	ack     func() // of the newest item that has one; nil = nobody waits
}

// New makes a pipeline into store.
func New(store Store, o Options) *Pipeline {
	o.fillDefaults()
	return &Pipeline{o: o, store: store}
}

// Status is safe for concurrent use. failure is why nothing can be stored, ""
// when all is well.
func (p *Pipeline) Status() (s health.Pipeline, failure string) {
	if f := p.failure.Load(); f != nil {
		failure = *f
	}
	return health.Pipeline{
		Events: p.events.Load(), Stored: p.stored.Load(), Queued: int(p.queued.Load()), Newest: p.newest.Load(), LagNS: p.lag.Load(),
	}, failure
}

// Run stores what comes from in until it is closed, and then returns nil. With
// an error, which is ctx's or one that Options.Fatal knows, what was acknowledged
// is stored; of what was not, only a list of live processes may be.
func (p *Pipeline) Run(ctx context.Context, in <-chan Item) error {
	timer := time.NewTimer(0)
	<-timer.C
	for {
		var wait <-chan time.Time
		if len(p.batch) > 0 {
			wait = timer.C
		}
		select {
		case it, ok := <-in:
			if !ok {
				return p.flush(ctx)
			}
			if len(p.batch) == 0 {
				timer.Reset(p.o.BatchDelay)
			}
			if err := p.take(ctx, it); err != nil {
				return err
			}
		case <-wait:
			if err := p.flush(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *Pipeline) take(ctx context.Context, it Item) error {
	p.events.Add(uint64(len(it.Events)))
	p.queued.Add(int64(len(it.Events)))
	p.enrich(it.Events)
	if it.Live != nil {
		if err := p.flush(ctx); err != nil {
			return err
		}
		p.enrich(it.Live)
		if err := p.retry(ctx, func() error { return p.store.Reconcile(ctx, it.Live, it.Now) }); err != nil {
			return err
		}
	}
	p.batch = append(p.batch, it.Events...)
	if it.Session != "" {
		p.session, p.seq = it.Session, it.Seq
	}
	if it.Ack != nil {
		p.ack = it.Ack
	}
	if len(p.batch) >= p.o.BatchRows || len(p.batch) == 0 {
		return p.flush(ctx)
	}
	return nil
}

// flush stores the batch, however long the store takes to accept it.
func (p *Pipeline) flush(ctx context.Context) error {
	if len(p.batch) == 0 && p.ack == nil {
		return nil
	}
	err := p.retry(ctx, func() error { return p.store.Append(ctx, p.batch, p.session, p.seq) })
	if err != nil {
		return err
	}
	if n := len(p.batch); n > 0 {
		p.stored.Add(uint64(n))
		p.queued.Add(-int64(n))
		if at := event.NewestEvent(p.batch); at != 0 {
			p.newest.Store(at)
			p.lag.Store(time.Now().UnixNano() - at)
		}
	}
	if p.ack != nil {
		p.ack()
		p.ack = nil
	}
	clear(p.batch) // lets go of the strings
	p.batch = p.batch[:0]
	p.session, p.seq = "", 0
	if cap(p.batch) > 8*p.o.BatchRows {
		p.batch = nil
	}
	return nil
}

// retry calls store until it succeeds, with growing pauses: a full disk may
// have room again. Nothing is taken from the stream meanwhile.
func (p *Pipeline) retry(ctx context.Context, store func() error) error {
	var pause *backoff.ExponentialBackOff
	for {
		err := store()
		if err == nil {
			if pause != nil {
				p.failure.Store(nil)
				p.o.Log.Info("storing again")
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if p.o.Fatal(err) {
			return err
		}
		if pause == nil {
			pause = backoff.NewExponentialBackOff()
			pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 5*time.Second
			p.o.Log.Error("store does not take events; they wait in procmond and in the kernel", "err", err)
		}
		text := err.Error()
		p.failure.Store(&text)
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// enrich replaces secrets and adds the names of users.
func (p *Pipeline) enrich(batch []event.Event) {
	for i := range batch {
		e := &batch[i]
		if e.Exec == nil {
			continue
		}
		if !p.o.Unredacted {
			p.o.Redactor.Exec(e.Exec)
		}
		if !e.Known.Has(event.KnownUID) {
			continue
		}
		if name, ok := p.o.User(e.Exec.UID); ok {
			e.Exec.User = name
			e.Known |= event.KnownUser
		}
	}
}
