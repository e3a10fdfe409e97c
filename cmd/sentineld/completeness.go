package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/store"
)

// question is what an answer is judged by.
type question struct {
	dir      string
	r        store.TimeRange // that the session was narrowed to
	asked    int64           // when, Unix ns; see catchUp
	gaps     bool            // it is about nothing but gaps, which are then the answer
	failures bool            // it is about failed execs too
	alerts   bool            // it is about what rules found too
	late     string          // what it does not cover of what the agent knows of; see catchUp
}

// catchUpTime is how long an answer waits for what happened before its question.
const catchUpTime = 2 * time.Second

// catchUp waits until what happened before now, and is in the range, is in the store:
// none is on its way, or something newer is stored. It takes two looks in a row at which
// nothing waits, since what one stage has just given may not be with the next yet. What
// has not come in time is late.
func (q *question) catchUp(ctx context.Context, now time.Time) {
	q.asked = now.UnixNano()
	target := q.asked
	if q.r.Until != 0 {
		target = min(target, q.r.Until)
	}
	const pause = 50 * time.Millisecond
	for seen := uint64(math.MaxUint64); ; {
		a, err := askAgent(ctx, q.dir)
		if err != nil || a.Collector == nil || a.Pipeline == nil {
			return // notCovered says it
		}
		c, p := a.Collector, a.Pipeline
		if p.Newest >= target && p.Newest <= time.Now().UnixNano() {
			return
		}
		if a.NoEvents != "" {
			q.late = "no events come in: " + a.NoEvents
			return
		}
		waiting := c.Backlog + c.Held + c.Queue + p.Queued
		known := p.Events
		for _, n := range c.Events {
			known += n
		}
		switch {
		case waiting > 0:
			seen = math.MaxUint64
		case known == seen:
			return
		default:
			seen = known
		}
		if time.Since(now) > catchUpTime {
			q.late = fmt.Sprintf("what happened last is still on its way: %s in the kernel, %s and %s in procmond, %s in sentineld",
				humanize.IBytes(uint64(c.Backlog)), plural(int64(c.Held), "event"), humanize.IBytes(uint64(c.Queue)), plural(int64(p.Queued), "event"))
			return
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// tellMissing says on stderr, one line each, and by its error, why an answer is
// not whole: gaps in the range of time that the session sees, and what of the
// range the record does not reach.
func tellMissing(ctx context.Context, s *store.Session, q question, stderr io.Writer) error {
	gaps, err := lossLine(ctx, s)
	if err != nil {
		return err
	}
	why, err := q.notCovered(ctx, s, time.Now().UnixNano())
	if err != nil {
		return err
	}
	if gaps != "" && !q.gaps {
		why = append([]string{gaps + " (sentineld query 'SELECT * FROM gaps')"}, why...)
	}
	if q.alerts {
		if line := missedLine(ctx, q.dir, q.r); line != "" {
			why = append(why, line)
		}
	}
	for _, line := range why {
		err = incomplete(stderr, line)
	}
	return err
}

// notCovered says what of the range the record does not reach. Behind its newest
// event nothing happened if an agent says that events come in, and is not known
// otherwise.
func (q question) notCovered(ctx context.Context, s *store.Session, now int64) (why []string, err error) {
	c, err := s.Coverage(q.r)
	if err != nil {
		return nil, err
	}
	if q.failures && c.NoFailures {
		why = append(why, "failed execs were not recorded all the time (sentineld run --exec-failures)")
	}
	if q.r.Since != 0 && q.r.Since < c.From {
		why = append(why, "nothing was recorded before "+shortTime(c.From))
	}
	if q.late != "" {
		why = append(why, q.late)
	}
	if q.r.Until > q.asked {
		why = append(why, fmt.Sprintf("what is between %s and %s has not happened yet", shortTime(q.asked), shortTime(q.r.Until)))
	}
	until := min(q.r.Until, now)
	if until == 0 {
		until = now
	}
	after := "after " + shortTime(c.Until)
	switch {
	case c.Until > now: // it says nothing of what was recorded since
		after = fmt.Sprintf("since the clock was set back from %s", shortTime(c.Until))
	case until <= c.Until:
		return why, nil
	case c.Until == 0:
		after = "at all"
	}
	a, err := askAgent(ctx, q.dir)
	switch {
	case err == nil && q.late != "": // it says more
	case errors.Is(err, errNoAgent):
		if !q.r.IsZero() { // else the question is what the record holds
			why = append(why, "nothing was recorded "+after+": no agent runs")
		}
	case err != nil:
		why = append(why, fmt.Sprintf("whether anything was recorded %s is not known: %v", after, err))
	case a.NoEvents != "":
		why = append(why, fmt.Sprintf("nothing was recorded %s: no events come in: %s", after, a.NoEvents))
	case a.Collector == nil:
		why = append(why, fmt.Sprintf("whether anything was recorded %s is not known: %s", after, notUnderstood))
	case a.Collector.Blind["any"] == "":
	case !q.r.IsZero():
		why = append(why, fmt.Sprintf("%s: %s", after, a.Collector.Blind["any"]))
	default:
		blind := a.Collector.Blind["any"]
		if told, err := hasGap(ctx, s, blind, c.Until); err != nil {
			return nil, err
		} else if !told {
			why = append(why, blind)
		}
	}
	return why, nil
}

// hasGap tells whether a gap of a cause, among those that a session sees, reaches to a
// time, Unix ns.
func hasGap(ctx context.Context, s *store.Session, cause string, until int64) (has bool, err error) {
	stmt, _, err := s.Prepare("SELECT 1 FROM gaps WHERE until >= :until AND cause = :cause")
	if err != nil {
		return false, err
	}
	defer stmt.Finalize()
	stmt.SetInt64(":until", until)
	stmt.SetText(":cause", cause)
	err = s.WithDeadline(ctx, 5*time.Second, func() (err error) {
		has, err = stmt.Step()
		return err
	})
	return has, err
}

// lossLine says what the gaps that a session sees amount to; "" = there are none.
func lossLine(ctx context.Context, s *store.Session) (line string, err error) {
	stmt, _, err := s.Prepare("SELECT kind, count(*), sum(lost), count(*) - count(lost), min(ts), max(until) FROM gaps GROUP BY kind ORDER BY kind")
	if err != nil {
		return "", err
	}
	defer stmt.Finalize()
	var n, from, until int64
	var lost, unknown []string
	err = s.WithDeadline(ctx, 5*time.Second, func() error {
		for {
			more, err := stmt.Step()
			if err != nil || !more {
				return err
			}
			kind := stmt.ColumnText(0)
			n += stmt.ColumnInt64(1)
			if c := stmt.ColumnInt64(2); c > 0 {
				lost = append(lost, fmt.Sprintf("%d %s", c, kindWord(kind)))
			}
			if stmt.ColumnInt64(3) > 0 {
				unknown = append(unknown, kindWord(kind))
			}
			if t := stmt.ColumnInt64(4); from == 0 || t < from {
				from = t
			}
			until = max(until, stmt.ColumnInt64(5))
		}
	})
	if err != nil || n == 0 {
		return "", err
	}
	what := strings.Join(lost, ", ")
	if what != "" {
		what += " lost"
	}
	if len(unknown) > 0 {
		if what != "" {
			what += ", "
		}
		what += "an unknown number of " + strings.Join(unknown, ", ")
	}
	return fmt.Sprintf("%s between %s and %s, %s", plural(n, "gap"), shortTime(from), shortTime(until), what), nil
}

// kindWord names the events of a kind.
func kindWord(kind string) string {
	if kind == "any" {
		return "events of any kind"
	}
	return kind + " events"
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// incomplete says on stderr why an answer is not whole.
func incomplete(stderr io.Writer, line string) error {
	fmt.Fprintln(stderr, "incomplete: "+line)
	return cli.ErrIncomplete
}
