package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sentineld/sentineld/internal/alert"
	"github.com/sentineld/sentineld/internal/detect"
	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/store"
)

// cursorName is under which the store keeps how far rules have been evaluated.
const cursorName = "detect"

// detection evaluates the rules over what was stored, stores the alerts and
// hands them to the sinks.
type detection struct {
	db        *store.DB
	evaluator detect.Evaluator
	sinks     []alert.Sink
	fold      time.Duration
	log       *slog.Logger

	wake chan struct{} // capacity 1: there is something new

	mu      sync.Mutex
	pending detect.Range // stored and not yet evaluated; ToSeq 0 = nothing
	failure string       // why the last evaluation failed, or was put off through no rule's fault

	// Owned by run.
	cursor int64     // evaluated up to here, but for what was put off
	again  time.Time // when to look at what was put off or failed; zero = nothing did
	// What was found and is not stored yet, and up to where nothing has to be
	// evaluated again once it is.
	found   []event.Alert
	durable int64
	stalled string // see detect.Result
}

// newDetection continues where the store says that the last run was.
func newDetection(ctx context.Context, dir string, d *detection) (*detection, error) {
	cursor, err := d.db.Cursor(ctx, cursorName)
	if err != nil {
		return nil, err
	}
	d.cursor = cursor
	d.wake = make(chan struct{}, 1)
	if last := d.db.LastSeq(); last > cursor {
		ts, err := firstAfter(ctx, dir, cursor)
		if err != nil {
			return nil, err
		}
		d.stored(store.Appended{Rows: 1, FirstSeq: cursor + 1, LastSeq: last, FirstTS: ts})
	}
	return d, nil
}

// firstAfter finds the earliest time of the events that were stored after seq.
// That looks at all of them, once: a run that was killed left some behind.
func firstAfter(ctx context.Context, dir string, seq int64) (ts int64, err error) {
	s, err := openSession(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	stmt, _, err := s.Prepare(`SELECT min(ts) FROM (
		SELECT min(ts) AS ts FROM execs WHERE seq > ?1 UNION ALL SELECT min(ts) FROM exec_failures WHERE seq > ?1 UNION ALL
		SELECT min(ts) FROM forks WHERE seq > ?1 UNION ALL SELECT min(ts) FROM exits WHERE seq > ?1 UNION ALL
		SELECT min(ts) FROM gaps WHERE seq > ?1)`)
	if err != nil {
		return 0, err
	}
	defer stmt.Finalize()
	stmt.BindInt64(1, seq)
	if _, err := stmt.Step(); err != nil {
		return 0, fmt.Errorf("find events that no rule has seen: %w", err)
	}
	if stmt.ColumnIsNull(0) { // only hashes of execs that were seen: those are found by their number
		return time.Now().UnixNano(), nil
	}
	return stmt.ColumnInt64(0), nil
}

// retryDelay is how long a failed evaluation waits.
const retryDelay = time.Second

// stored tells that rows were added. It never blocks.
func (d *detection) stored(a store.Appended) {
	if a.Rows == 0 {
		return
	}
	d.mu.Lock()
	if d.pending.ToSeq == 0 {
		d.pending = detect.Range{ToSeq: a.LastSeq, FromTS: a.FirstTS}
	} else {
		d.pending.ToSeq = max(d.pending.ToSeq, a.LastSeq)
		d.pending.FromTS = min(d.pending.FromTS, a.FirstTS)
	}
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run evaluates until stop is closed and everything stored has been evaluated,
// or ctx ends.
func (d *detection) run(ctx context.Context, stop <-chan struct{}) error {
	for {
		var later <-chan time.Time
		if !d.again.IsZero() {
			later = time.After(time.Until(d.again))
		}
		select {
		case <-d.wake:
			d.evaluate(ctx, false)
		case <-later:
			d.evaluate(ctx, false)
		case <-stop:
			d.evaluate(ctx, true)
			return d.evaluator.Close()
		case <-ctx.Done():
			return d.evaluator.Close()
		}
	}
}

// rangeMax is how many events are evaluated at once at most.
const rangeMax = 20_000

// evaluate evaluates what is pending or was put off. What fails stays pending
// for the next time.
func (d *detection) evaluate(ctx context.Context, final bool) {
	for {
		d.mu.Lock()
		r := d.pending
		d.pending = detect.Range{}
		if rest := r; r.ToSeq > d.cursor+rangeMax {
			r.ToSeq, d.pending = d.cursor+rangeMax, rest
		}
		more := d.pending.ToSeq != 0
		d.mu.Unlock()
		if r.ToSeq <= d.cursor && d.again.IsZero() {
			return
		}
		r.FromSeq, r.ToSeq, r.Final = d.cursor, max(r.ToSeq, d.cursor), final && !more
		err := d.save(ctx) // what an earlier evaluation found
		if err == nil {
			err = d.raise(ctx, r)
		}
		d.note(ctx, r, err)
		if err != nil || !more {
			return
		}
	}
}

// note remembers how an evaluation of r went.
func (d *detection) note(ctx context.Context, r detect.Range, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.failure = d.stalled
		return
	}
	if ctx.Err() != nil {
		return
	}
	d.log.Error("evaluate rules", "err", err)
	d.failure = err.Error()
	d.again = time.Now().Add(retryDelay)
	switch {
	case r.ToSeq <= d.cursor: // it was evaluated; what it found is kept
	case d.pending.ToSeq == 0:
		d.pending = r
	default:
		d.pending.FromTS = min(d.pending.FromTS, r.FromTS)
	}
}

func (d *detection) raise(ctx context.Context, r detect.Range) error {
	res, err := d.evaluator.Evaluate(ctx, r)
	if err != nil {
		return err
	}
	if res.Cut > 0 || res.Unreadable > 0 {
		d.log.Warn("rules did not look at everything", "matches_over_limit", res.Cut, "events_too_long", res.Unreadable)
	}
	d.cursor, d.again = r.ToSeq, res.Again
	d.found, d.durable, d.stalled = res.Alerts, r.ToSeq, res.Stalled
	if res.PutOff >= 0 {
		d.durable = res.PutOff
	}
	if len(d.found) == 0 {
		d.db.SetCursor(cursorName, d.durable)
		return nil
	}
	return d.save(ctx)
}

// save stores what was found, and hands on what is new of it.
func (d *detection) save(ctx context.Context) error {
	if len(d.found) == 0 {
		return nil
	}
	raised, err := d.db.RecordAlerts(ctx, d.durable, d.found, d.fold)
	if err != nil {
		return fmt.Errorf("store alerts: %w", err)
	}
	d.found = nil
	for i := range raised {
		d.deliver(ctx, &raised[i])
	}
	return nil
}

func (d *detection) deliver(ctx context.Context, a *event.Alert) {
	for _, s := range d.sinks {
		if err := s.Deliver(ctx, a); err != nil {
			// The alert itself is in the store: `alerts list` shows it.
			d.log.Error("deliver alert", "sink", s.Name(), "alert", a.ID, "err", err)
		}
	}
}

// status returns why the last evaluation failed, "" when it did not.
func (d *detection) status() (rules []detect.RuleStatus, failure string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.evaluator.Status(), d.failure
}
