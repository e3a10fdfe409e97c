package detect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/sentineld/sentineld/internal/rule"
)

// Engine is the Evaluator of this process.
type Engine struct {
	o      Options
	fresh  *fresh   // nil = no rule without a window
	window *windows // nil = no rule with one

	mu    sync.Mutex // guards the status of the rules
	rules []*compiled
}

// compiled is a rule that is ready to run.
type compiled struct {
	rule   *rule.Rule
	stmt   *sqlite.Stmt
	cols   []string
	views  []string // the event views that it reads
	hashes hashUse
	status RuleStatus
	wrong  error // why it cannot be prepared

	reported map[string]report // of a window rule
	found    map[string]int64  // of a rule over the state of hashes: alert id -> end of the range, see foundBefore
}

// New prepares the rules. A rule that cannot be prepared is disabled, with the
// reason in its status, and is no error.
func New(ctx context.Context, o Options) (_ *Engine, err error) {
	o.fillDefaults()
	e := &Engine{o: o}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start rules: %w", err), e.Close())
		}
	}()
	var plain, windowed []*compiled
	for i := range o.Rules {
		c := &compiled{rule: &o.Rules[i], status: RuleStatus{ID: o.Rules[i].ID, State: StateOK}}
		e.rules = append(e.rules, c)
		switch {
		case c.rule.Disabled:
			c.status.State, c.status.Off, c.status.Err = StateDisabled, true, "enabled: false"
		case c.rule.Window > 0:
			windowed = append(windowed, c)
		default:
			plain = append(plain, c)
		}
	}
	if len(plain) > 0 {
		s, err := e.open(ctx)
		if err != nil {
			return nil, err
		}
		e.fresh = &fresh{side: s}
		if err := e.fresh.prepare(e, plain); err != nil {
			return nil, err
		}
	}
	if len(windowed) > 0 {
		s, err := e.open(ctx)
		if err != nil {
			return nil, err
		}
		e.window = &windows{side: s}
		if err := e.window.prepare(e, windowed); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *Engine) open(ctx context.Context) (*side, error) {
	s, err := e.o.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &side{Session: s, own: map[string]*sqlite.Stmt{}}, nil
}

// Evaluate runs all rules over the events of the range. An error means that
// nothing was evaluated, or not all of it: evaluate the range again. The ids of
// the alerts are then the same.
func (e *Engine) Evaluate(ctx context.Context, r Range) (Result, error) {
	res := Result{PutOff: -1}
	if e.fresh != nil && r.ToSeq > r.FromSeq {
		if err := e.fresh.evaluate(ctx, e, r, &res); err != nil {
			return Result{}, fmt.Errorf("evaluate rules over new events: %w", err)
		}
		if err := e.fresh.late(ctx, e, r, &res); err != nil {
			return Result{}, fmt.Errorf("evaluate rules over hashes that came late: %w", err)
		}
	}
	if e.window != nil {
		if err := e.window.turn(ctx, e, r, &res); err != nil {
			if ctx.Err() != nil {
				return Result{}, fmt.Errorf("evaluate rules with a window: %w", err)
			}
			// It costs those rules some time, and the others nothing.
			e.o.Log.Error("evaluate rules with a window", "err", err)
			res.Failed++
			res.Stalled = fmt.Sprintf("evaluate rules with a window: %v", err)
			res.PutOff, res.Again = e.window.from(), e.o.Now().Add(time.Second)
		}
	}
	return res, nil
}

// Status tells how each rule is doing, in the order they were given.
func (e *Engine) Status() []RuleStatus {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]RuleStatus, len(e.rules))
	for i, c := range e.rules {
		list[i] = c.status
	}
	return list
}

// Close closes the sessions. It may be called again.
func (e *Engine) Close() error {
	var errs []error
	for _, c := range e.rules {
		if c.stmt != nil {
			errs = append(errs, c.stmt.Finalize())
			c.stmt = nil
		}
	}
	if e.fresh != nil {
		errs = append(errs, e.fresh.close())
		e.fresh = nil
	}
	if e.window != nil {
		errs = append(errs, e.window.close())
		e.window = nil
	}
	return errors.Join(errs...)
}

// runs reports whether a rule is run at all.
func (c *compiled) runs() bool { return c.stmt != nil && c.status.State != StateDisabled }

// job is one run of one rule.
type job struct {
	c      *compiled
	lo, hi int64        // time range of what it sees, Unix ns
	before func() error // sets what it sees, nil = nothing to set
	rows   []row
	cut    int
	skip   bool  // the rule has failed in this evaluation
	then   place // of a rule with a window: where it goes on

	// Of execs whose hash came late, see late.go: a probe notes here what the rule
	// finds without the hashes, and how often; the look that follows leaves it out
	// of rows.
	unhashed map[uint64]int // nil = no such job
	probe    bool
}

// run runs the jobs, each within the deadline. They share one deadline as long
// as it holds, since setting one costs as much as a rule over some dozen rows;
// the job in which it ends is run again with one of its own.
func (e *Engine) run(ctx context.Context, s *side, jobs []*job, res *Result) error {
	for start := 0; start < len(jobs); {
		i := start
		var failed error
		err := s.WithDeadline(ctx, e.o.Deadline, func() error {
			for ; i < len(jobs); i++ {
				if failed = e.runJob(jobs[i]); failed != nil {
					return failed
				}
			}
			return nil
		})
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case i >= len(jobs):
			return err
		}
		if sqlite.ErrCode(failed).ToPrimary() == sqlite.ResultInterrupt && i > start {
			start = i
			continue
		}
		e.strike(jobs[i], err)
		res.Failed++
		for _, j := range jobs[i:] { // one strike an evaluation
			if j.c == jobs[i].c {
				j.rows, j.cut, j.skip = nil, 0, true
			}
		}
		start = i + 1
	}
	return nil
}

// runJob collects the rows of one rule.
func (e *Engine) runJob(j *job) (err error) {
	c := j.c
	if j.skip {
		return nil
	}
	if !c.runs() {
		e.miss(c, j.lo, j.hi)
		return nil
	}
	j.rows, j.cut = nil, 0
	if j.before != nil {
		if err := j.before(); err != nil {
			return err
		}
	}
	if j.probe {
		clear(j.unhashed)
	}
	without := maps.Clone(j.unhashed) // the job may be run again
	began := time.Now()
	bytes, seen := 0, uint64(0)
	for {
		more, stepErr := c.stmt.Step()
		if err = stepErr; err != nil || !more {
			break
		}
		seen++
		full := len(j.rows) >= e.o.MaxRows || bytes >= e.o.MaxBytes
		if full && j.unhashed == nil {
			j.cut++
			continue
		}
		r := readRow(c.stmt, c.cols)
		if j.probe {
			j.unhashed[r.subject()]++
			continue
		}
		if subject := r.subject(); without[subject] > 0 {
			if r.seq == 0 { // one more such row is another finding
				without[subject]--
			}
			seen--
			continue
		}
		if full {
			j.cut++
			continue
		}
		bytes += len(r.json)
		j.rows = append(j.rows, r)
	}
	if err != nil {
		c.stmt.Reset() // it repeats the error of Step
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	c.status.Busy += time.Since(began)
	if err == nil && !j.probe {
		c.status.State, c.status.Strikes, c.status.Err = StateOK, 0, ""
		c.status.Evaluations++
		c.status.Matches += seen
		if j.cut > 0 {
			c.missed(j.lo, j.hi, e.o.Now()).Matches += uint64(j.cut)
		}
	}
	return err
}

// strike notes a failure of a rule and disables it after too many in a row.
func (e *Engine) strike(j *job, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := j.c
	m := c.missed(j.lo, j.hi, e.o.Now())
	m.Evaluations++
	m.Cause = err.Error()
	c.status.Evaluations++
	c.status.Strikes++
	c.status.State, c.status.Err = StateError, err.Error()
	if c.status.Strikes >= e.o.Strikes {
		c.status.State = StateDisabled
		c.status.Err = fmt.Sprintf("failed %d times in a row: %v", c.status.Strikes, err)
	}
	e.o.Log.Warn("rule failed", "rule", c.rule.ID, "state", string(c.status.State), "strikes", c.status.Strikes, "err", err)
}

// refuse disables a rule that cannot be prepared.
func (e *Engine) refuse(c *compiled, err error) {
	c.wrong, c.status.State, c.status.Err = err, StateDisabled, err.Error()
	e.o.Log.Error("rule disabled", "rule", c.rule.ID, "file", c.rule.File, "err", err)
}

// compile prepares a rule for good, after the temporary views are there.
func (e *Engine) compile(s *side, list []*compiled) {
	for _, c := range list {
		if c.status.State == StateDisabled {
			continue
		}
		stmt, _, err := s.Prepare(c.rule.SQL)
		if err != nil {
			e.refuse(c, explain(s, c.rule, err))
			continue
		}
		c.stmt, c.cols = stmt, columnNames(stmt)
	}
}

// reads asks which columns each rule reads, before anything stands in for the
// views, and returns the union: view -> columns.
func (e *Engine) reads(s *side, list []*compiled) map[string][]string {
	union := map[string][]string{}
	for _, c := range list {
		reads, err := check(s, c.rule)
		if err != nil {
			e.refuse(c, err)
			continue
		}
		for _, r := range reads {
			view, column := r[0], r[1]
			if slices.Contains(eventViews, view) && !slices.Contains(c.views, view) {
				c.views = append(c.views, view)
			}
			c.hashes.note(view, column)
			if !slices.Contains(union[view], column) {
				union[view] = append(union[view], column)
			}
		}
	}
	return union
}
