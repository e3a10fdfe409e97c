package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/health"
)

// Beginnings of the cause of a gap that tells of what a source never sees.
const (
	blindSpot     = "polling:"
	blindFailures = "failed execs are not seen by"
)

// lossMemory is how long a loss makes the agent degraded: long enough for
// whoever looks every few minutes, and short enough that the state says how it
// is and not how it was.
const lossMemory = 10 * time.Minute

// Causes of the gap between two runs.
const (
	causeStopped = "sentineld did not run"
	causeCrashed = "sentineld was killed or crashed, and did not run"
)

// losses counts the gaps that are stored. What a source never sees is not among
// them: it is no event of this agent but how that source is. Safe for concurrent
// use.
type losses struct {
	mu sync.Mutex // guards the rest
	h  health.Loss
}

// isLoss reports whether a gap is news about how the agent works. That it was
// stopped in order is none: somebody did that.
func isLoss(e *event.Event) bool {
	if e.Kind != event.KindGap || e.Gap.Cause == causeStopped {
		return false
	}
	return !strings.HasPrefix(e.Gap.Cause, blindFailures) && (e.Source != event.SourcePoll || !strings.HasPrefix(e.Gap.Cause, blindSpot))
}

// load finds the last loss of the runs before.
func (l *losses) load(ctx context.Context, dir string) error {
	s, err := openSession(ctx, dir)
	if err != nil {
		return err
	}
	defer s.Close()
	// The key is the start of a gap, and one that goes on keeps it: the latest end is
	// looked for among as many as it takes no time to read.
	stmt, _, err := s.Prepare(`SELECT max(until), cause FROM (SELECT until, cause FROM gaps
		WHERE cause IS NOT ?1 AND NOT (source = ?2 AND substr(coalesce(cause, ''), 1, length(?3)) = ?3)
			AND substr(coalesce(cause, ''), 1, length(?4)) <> ?4 ORDER BY ts DESC LIMIT 1000)`)
	if err != nil {
		return err
	}
	defer stmt.Finalize()
	stmt.BindText(1, causeStopped)
	stmt.BindText(2, event.SourcePoll.String())
	stmt.BindText(3, blindSpot)
	stmt.BindText(4, blindFailures)
	if _, err := stmt.Step(); err != nil {
		return fmt.Errorf("find the last loss: %w", err)
	}
	if !stmt.ColumnIsNull(0) {
		l.mu.Lock()
		l.h.Last, l.h.Cause = stmt.ColumnInt64(0), stmt.ColumnText(1)
		l.mu.Unlock()
	}
	return nil
}

// stored notes the gaps of a batch that was stored.
func (l *losses) stored(batch []event.Event) {
	for i := range batch {
		e := &batch[i]
		if !isLoss(e) {
			continue
		}
		l.mu.Lock()
		l.h.Gaps++
		if e.Known.Has(event.KnownLost) {
			if l.h.Events == nil {
				l.h.Events = map[string]uint64{}
			}
			kind := "any"
			if e.Gap.Of != 0 {
				kind = e.Gap.Of.String()
			}
			l.h.Events[kind] += e.Gap.Lost
		} else {
			l.h.Uncounted++
		}
		if e.Gap.Until >= l.h.Last {
			l.h.Last, l.h.Cause = e.Gap.Until, e.Gap.Cause
		}
		l.mu.Unlock()
	}
}

// status is what was counted, and why it makes the agent degraded at now; "" when
// it does not.
func (l *losses) status(now time.Time) (h health.Loss, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h = l.h
	h.Events = make(map[string]uint64, len(l.h.Events))
	for k, n := range l.h.Events {
		h.Events[k] = n
	}
	if ago := now.Sub(time.Unix(0, h.Last)); h.Last != 0 && ago < lossMemory {
		reason = fmt.Sprintf("events were lost %s ago: %s (see the gaps view)", age(max(0, ago)), h.Cause)
	}
	return h, reason
}
