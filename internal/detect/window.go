package detect

import (
	"context"
	"fmt"
	"maps"
	"time"

	"zombiezen.com/go/sqlite"
)

// windows narrows the store's views to a time range with temporary views of
// the same names; the range is in a table of one row. SQLite goes straight to
// its start, since the events are ordered by time.
type windows struct {
	*side
	rules []*compiled
	fresh map[string]string // view -> SELECT of the first and the last ts of new events

	held      Range // put off; empty = nothing
	notBefore time.Time
}

const (
	// share is how much of a core rules with a window may use: the next look is
	// put off for as long as the last one took, divided by this.
	share = 0.01
	// maxPutOff bounds that.
	maxPutOff = 10 * time.Second
)

// turn evaluates the range and what was put off before it, or puts it off too.
func (w *windows) turn(ctx context.Context, e *Engine, r Range, res *Result) error {
	if r.ToSeq > r.FromSeq {
		if w.held.ToSeq > w.held.FromSeq {
			r.FromSeq, r.FromTS = min(r.FromSeq, w.held.FromSeq), min(r.FromTS, w.held.FromTS)
		}
		w.held = r
	}
	if w.held.ToSeq <= w.held.FromSeq {
		return nil
	}
	began := e.o.Now()
	if began.Before(w.notBefore) && !r.Final {
		res.PutOff, res.Again = w.held.FromSeq, w.notBefore
		return nil
	}
	if err := w.evaluate(ctx, e, w.held, res); err != nil {
		return err
	}
	w.held = Range{}
	now := e.o.Now()
	w.notBefore = now.Add(min(maxPutOff, time.Duration(float64(now.Sub(began))/share)))
	return nil
}

const (
	// steps is how often a window is looked at while it moves on by its own
	// length: events that came in one after the other are usually evaluated so
	// soon that one look is enough, but after an outage there are many windows
	// between the oldest and the newest of them.
	steps = 4
	// maxLooks bounds that, from the newest event backwards.
	maxLooks = 400
	// maxReported bounds what a rule remembers of its windows. Forgetting costs
	// a repeat that the store folds.
	maxReported = 10_000
)

func (w *windows) prepare(e *Engine, list []*compiled) error {
	union := e.reads(w.side, list)
	w.fresh = map[string]string{}
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
	}
	w.rules = list
	e.compile(w.side, list)
	return nil
}

// span is a range of time, both ends in it, Unix ns.
type span struct{ lo, hi int64 }

func (w *windows) evaluate(ctx context.Context, e *Engine, r Range, res *Result) error {
	news := map[string]span{} // of the views that have any
	err := w.WithDeadline(ctx, fillFactor*e.o.Deadline, func() error {
		for view, sql := range w.fresh {
			err := w.each(sql, func(s *sqlite.Stmt) {
				if !s.ColumnIsNull(0) {
					news[view] = span{s.ColumnInt64(0), s.ColumnInt64(1)}
				}
			}, r.FromTS, r.FromSeq, r.ToSeq)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	var jobs []*job
	for _, c := range w.rules {
		var s span
		for _, view := range c.views {
			n, ok := news[view]
			switch {
			case ok && s.hi == 0:
				s = n
			case ok:
				s = span{min(s.lo, n.lo), max(s.hi, n.hi)}
			}
		}
		window := c.rule.Window.Nanoseconds()
		var ends []int64
		if c.hashes.again(c) {
			spans, err := w.spans(r, window/steps)
			if err != nil {
				return err
			}
			for _, late := range spans {
				// The other events of a finding may have come behind it.
				hi, err := w.newest(c, late.hi+window)
				if err != nil {
					return err
				}
				ends = append(ends, looks(late.lo, max(late.hi, hi), window)...)
			}
			if n := len(ends) - maxLooks; n > 0 {
				res.Cut += n
				ends = ends[n:]
			}
		}
		if s.hi != 0 {
			ends = append(ends, looks(s.lo, s.hi, window)...)
		}
		for _, hi := range ends {
			j := &job{c: c, lo: hi - window, hi: hi}
			j.before = func() error {
				return w.each("UPDATE temp.time_range SET lo = ?1, hi = ?2, to_seq = ?3", nil, j.lo, j.hi, r.ToSeq)
			}
			jobs = append(jobs, j)
		}
	}
	if err := e.run(ctx, w.side, jobs, res); err != nil {
		return err
	}
	return e.raise(ctx, &maker{side: w.side, r: r}, jobs, res)
}

// looks are the ends of the windows to look at for events from lo to hi, in
// rising order.
func looks(lo, hi, window int64) []int64 {
	step := max(1, window/steps)
	n := min(maxLooks, 1+(hi-lo)/step)
	ends := make([]int64, n)
	for i := range ends {
		ends[i] = hi - (n-1-int64(i))*step
	}
	return ends
}

// report is what a window rule has reported: the end of the window, and of the
// range that was evaluated.
type report struct{ hi, toSeq int64 }

// repeats reports whether a finding in a window that starts at lo rests on some
// of the events of one that was reported by an evaluation of earlier events, or
// by this one. A range that is evaluated again gives the same alerts again.
func (c *compiled) repeats(key string, lo, fromSeq int64, now map[string]report) bool {
	if r, ok := now[key]; ok && r.hi >= lo {
		return true
	}
	r, ok := c.reported[key]
	return ok && r.hi >= lo && r.toSeq <= fromSeq
}

// remember takes over what an evaluation has reported.
func (c *compiled) remember(now map[string]report, newest int64) {
	if len(c.reported)+len(now) > maxReported {
		oldest := newest - c.rule.Window.Nanoseconds()
		maps.DeleteFunc(c.reported, func(_ string, r report) bool { return r.hi < oldest })
		if len(c.reported)+len(now) > maxReported {
			clear(c.reported)
		}
	}
	if c.reported == nil {
		c.reported = map[string]report{}
	}
	maps.Copy(c.reported, now)
}
