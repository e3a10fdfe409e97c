package detect

import (
	"context"

	"zombiezen.com/go/sqlite"
)

// walk is a range whose windows are looked at in pieces, from the oldest on.
type walk struct {
	r        Range
	paths    []*path // of the rules that have something left to look at
	reported map[*compiled]map[string]report
}

// path is the way of one rule through the windows of a walk.
type path struct {
	c    *compiled
	legs []leg
	at   place
	wait bool // it failed in this turn, and goes on in the next one
}

// leg is a range of time, with windows that end from first to last, which are
// multiples of the rule's step apart.
type leg struct {
	first, last int64 // Unix ns, both in it
	late        bool  // of execs whose hash came late
}

// place is where a path goes on: the end of the next window of a leg.
type place struct {
	leg   int
	end   int64
	event int64 // time of a new event that is known to be the first from some time before it on
}

// span is a range of time, both ends in it, Unix ns.
type span struct{ lo, hi int64 }

// begin finds out what each rule has to look at of the range.
func (w *windows) begin(ctx context.Context, e *Engine, r Range) (*walk, error) {
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
		return nil, err
	}
	k := &walk{r: r, reported: map[*compiled]map[string]report{}}
	for _, c := range w.rules {
		p := &path{c: c}
		step := c.step()
		if c.hashes.again(c) {
			spans, err := w.spans(r, step)
			if err != nil {
				return nil, err
			}
			for _, late := range spans {
				// The other events of a finding may have come behind it.
				hi, err := w.newest(c, late.hi+c.rule.Window.Nanoseconds())
				if err != nil {
					return nil, err
				}
				p.legs = append(p.legs, newLeg(late.lo, max(late.hi, hi), step, true))
			}
		}
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
		if s.hi != 0 {
			p.legs = append(p.legs, newLeg(s.lo, s.hi, step, false))
		}
		switch {
		case !c.runs():
			w.pass(e, c, s, news, r)
		case len(p.legs) > 0:
			p.at.end = p.legs[0].first
			k.paths = append(k.paths, p)
		}
	}
	return k, nil
}

// pass notes what a rule that does not run has missed: its events, or, where it is not
// known which it would read, any.
func (w *windows) pass(e *Engine, c *compiled, s span, news map[string]span, r Range) {
	if c.stmt == nil {
		s = span{r.FromTS, r.FromTS}
		for _, n := range news {
			s.hi = max(s.hi, n.hi)
		}
	}
	if s.hi != 0 {
		e.miss(c, s.lo, s.hi)
	}
}

// newLeg has windows for events from lo to hi: the last ends with the newest of them.
func newLeg(lo, hi, step int64, late bool) leg {
	return leg{first: hi - (hi-lo)/step*step, last: hi, late: late}
}

// step is how far the next window is, ns.
func (c *compiled) step() int64 { return max(1, c.rule.Window.Nanoseconds()/steps) }

// pieceLooks is how many windows of a rule are looked at between two looks at the
// clock.
const pieceLooks = 16

// piece looks at the next windows of each rule. more: there are others that can be
// looked at in this turn. With an error none of the piece was.
func (w *windows) piece(ctx context.Context, e *Engine, res *Result) (more bool, err error) {
	if w.walk == nil {
		if w.walk, err = w.begin(ctx, e, w.held); err != nil {
			return false, err
		}
		w.held = Range{}
	}
	k := w.walk
	var jobs []*job
	next := map[*path]place{}
	for _, p := range k.paths {
		at := p.at
		for n := 0; n < pieceLooks && at.leg < len(p.legs) && !p.wait; n++ {
			j := &job{c: p.c, lo: at.end - p.c.rule.Window.Nanoseconds(), hi: at.end}
			j.before = func() error {
				return w.each("UPDATE temp.time_range SET lo = ?1, hi = ?2, to_seq = ?3", nil, j.lo, j.hi, k.r.ToSeq)
			}
			if at, err = w.after(ctx, e, p, at); err != nil {
				return false, err
			}
			j.then = at
			jobs = append(jobs, j)
		}
		next[p] = at
	}
	if len(jobs) > 0 {
		if err := e.run(ctx, w.side, jobs, res); err != nil {
			return false, err
		}
		if err := e.raise(ctx, &maker{side: w.side, r: k.r, reported: k.reported}, jobs, res); err != nil {
			return false, err
		}
	}
	return w.advance(e, jobs, next), nil
}

// advance notes what a piece has looked at. Of a rule that failed only the window in
// which it did is left out.
func (w *windows) advance(e *Engine, jobs []*job, next map[*path]place) (more bool) {
	k := w.walk
	failed := map[*compiled]place{}
	for _, j := range jobs {
		if _, known := failed[j.c]; j.skip && !known {
			failed[j.c] = j.then
		}
	}
	left := k.paths[:0]
	for _, p := range k.paths {
		p.at = next[p]
		if at, ok := failed[p.c]; ok {
			p.at, p.wait = at, true
		}
		if p.at.leg == len(p.legs) {
			continue
		}
		if !p.c.runs() {
			e.miss(p.c, p.at.end-p.c.rule.Window.Nanoseconds(), p.legs[p.at.leg].last)
			for _, l := range p.legs[p.at.leg+1:] {
				e.miss(p.c, l.first-p.c.rule.Window.Nanoseconds(), l.last)
			}
			continue
		}
		left = append(left, p)
		more = more || !p.wait
	}
	if k.paths = left; len(left) > 0 {
		return more
	}
	for c, list := range k.reported {
		c.remember(list)
	}
	w.walk = nil
	return w.holds()
}

// after is the place behind the window at a place.
//
// A window without a new event in it was looked at when its events were new. Leaving
// it out makes no difference but for a clock that was set: between 1970 and today are
// a hundred million windows of a minute.
func (w *windows) after(ctx context.Context, e *Engine, p *path, at place) (place, error) {
	l, window := p.legs[at.leg], p.c.rule.Window.Nanoseconds()
	if at.end >= l.last {
		at = place{leg: at.leg + 1}
		if at.leg < len(p.legs) {
			at.end = p.legs[at.leg].first
		}
		return at, nil
	}
	at.end += p.c.step()
	if l.late {
		return at, nil
	}
	if at.event < at.end-window {
		first := l.last
		err := w.WithDeadline(ctx, fillFactor*e.o.Deadline, func() error {
			for _, view := range p.c.views {
				err := w.each(w.next[view], func(s *sqlite.Stmt) { first = min(first, s.ColumnInt64(0)) }, at.end-window, w.walk.r.FromSeq, w.walk.r.ToSeq)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return at, err
		}
		at.event = first
	}
	if at.event > at.end {
		at.end = l.last - (l.last-at.event)/p.c.step()*p.c.step()
	}
	return at, nil
}
