package detect

import (
	"context"
	"fmt"
	"maps"
	"time"
)

// windows narrows the store's views to a time range with temporary views of
// the same names; the range is in a table of one row. SQLite goes straight to
// its start, since the events are ordered by time.
type windows struct {
	*side
	rules []*compiled
	fresh map[string]string // view -> SELECT of the first and the last ts of new events
	next  map[string]string // view -> SELECT of the first ts of new events from a time on

	held      Range // new, and not begun with; empty = nothing
	walk      *walk // what is being looked at; nil = nothing
	notBefore time.Time
}

const (
	// share is how much of a core rules with a window may use: the next look is
	// put off for as long as the last one took, divided by this.
	share = 0.01
	// maxPutOff bounds that.
	maxPutOff = 10 * time.Second
	// maxTurn bounds how long windows are looked at in a row, so that what is new
	// does not wait for what an outage left behind.
	maxTurn = time.Second
	// maxLastTurn is maxTurn of the last turn: whoever starts anew goes on.
	maxLastTurn = 10 * time.Second
)

// turn evaluates what was put off and the range, or puts them off, too.
func (w *windows) turn(ctx context.Context, e *Engine, r Range, res *Result) error {
	w.hold(r)
	if w.walk == nil && !w.holds() {
		return nil
	}
	began := e.o.Now()
	if began.Before(w.notBefore) && !r.Final {
		res.PutOff, res.Again = w.from(), w.notBefore
		return nil
	}
	most := maxTurn
	if r.Final {
		most = maxLastTurn
	}
	if w.walk != nil {
		for _, p := range w.walk.paths {
			p.wait = false
		}
	}
	now := began
	for more := true; more && now.Sub(began) < most; now = e.o.Now() {
		var err error
		if more, err = w.piece(ctx, e, res); err != nil {
			if ctx.Err() != nil && w.walk != nil { // what was found is not told: all of it is looked at again
				w.hold(w.walk.r)
				w.walk = nil
			}
			return err
		}
	}
	w.notBefore = now.Add(min(maxPutOff, time.Duration(float64(now.Sub(began))/share)))
	if w.walk != nil || w.holds() {
		res.PutOff, res.Again = w.from(), w.notBefore
	}
	return nil
}

func (w *windows) holds() bool { return w.held.ToSeq > w.held.FromSeq }

// hold adds a range to what is to be looked at.
func (w *windows) hold(r Range) {
	if r.ToSeq <= r.FromSeq {
		return
	}
	if w.holds() {
		r.FromSeq, r.FromTS, r.ToSeq = min(r.FromSeq, w.held.FromSeq), min(r.FromTS, w.held.FromTS), max(r.ToSeq, w.held.ToSeq)
	}
	w.held = r
}

// from is the seq behind which there is something that was not looked at.
func (w *windows) from() int64 {
	if w.walk != nil {
		return w.walk.r.FromSeq
	}
	return w.held.FromSeq
}

const (
	// steps is how often a window is looked at while it moves on by its own
	// length: events that came in one after the other are usually evaluated so
	// soon that one look is enough, but after an outage there are many windows
	// between the oldest and the newest of them.
	steps = 4
	// maxReported bounds what a rule remembers of its windows. Forgetting costs
	// a repeat that the store folds.
	maxReported = 10_000
)

func (w *windows) prepare(e *Engine, list []*compiled) error {
	union := e.reads(w.side, list)
	w.fresh, w.next = map[string]string{}, map[string]string{}
	if err := w.once("CREATE TEMP TABLE time_range AS SELECT 0 AS lo, 0 AS hi, 0 AS to_seq"); err != nil {
		return err
	}
	for _, view := range eventViews {
		if _, ok := union[view]; !ok {
			continue
		}
		cols, err := columns(w.side, view)
		if err != nil {
			return err
		}
		err = w.once(fmt.Sprintf("CREATE TEMP VIEW %s AS SELECT %s FROM main.%[1]s WHERE ts >= (SELECT lo FROM temp.time_range)"+
			" AND ts <= (SELECT hi FROM temp.time_range) AND seq <= (SELECT to_seq FROM temp.time_range)", view, selectList(cols)))
		if err != nil {
			return err
		}
		w.fresh[view] = fmt.Sprintf("SELECT min(ts), max(ts) FROM main.%s WHERE ts >= ?1 AND seq > ?2 AND seq <= ?3", view)
		w.next[view] = fmt.Sprintf("SELECT ts FROM main.%s WHERE ts >= ?1 AND seq > ?2 AND seq <= ?3 ORDER BY ts LIMIT 1", view)
	}
	w.rules = list
	e.compile(w.side, list)
	return nil
}

// report is what a window rule has reported: the end of the window, and of the
// range that was evaluated.
type report struct{ hi, toSeq int64 }

// repeats reports whether a finding in a window that starts at lo rests on some
// of the events of one that was reported by an evaluation of earlier events, or
// by this one. A range that is evaluated again gives the same alerts again.
func (c *compiled) repeats(key string, lo, fromSeq int64, now ...map[string]report) bool {
	for _, reported := range now {
		if r, ok := reported[key]; ok && r.hi >= lo {
			return true
		}
	}
	r, ok := c.reported[key]
	return ok && r.hi >= lo && r.toSeq <= fromSeq
}

// remember takes over what an evaluation has reported.
func (c *compiled) remember(now map[string]report) {
	c.reported = addReports(c.reported, now, c.rule.Window)
}

// addReports adds what was reported to what was before, which forgets the oldest where
// there is much.
func addReports(before, now map[string]report, window time.Duration) map[string]report {
	if len(now) == 0 {
		return before
	}
	if len(before)+len(now) > maxReported {
		oldest := int64(0)
		for _, r := range now {
			oldest = max(oldest, r.hi-window.Nanoseconds())
		}
		maps.DeleteFunc(before, func(_ string, r report) bool { return r.hi < oldest })
		if len(before)+len(now) > maxReported {
			clear(before)
		}
	}
	if before == nil {
		before = map[string]report{}
	}
	maps.Copy(before, now)
	return before
}
