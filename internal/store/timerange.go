package store

import (
	"fmt"
	"math"
	"strings"

	"zombiezen.com/go/sqlite"
)

// TimeRange is a stretch of time, Unix ns. 0 = open at that end.
type TimeRange struct {
	Since int64 // what happened then or later
	Until int64 // and before then
}

// IsZero reports whether r is all of time.
func (r TimeRange) IsZero() bool { return r == TimeRange{} }

// Coverage is what a record can tell of.
type Coverage struct {
	// From is the time of the oldest event, and up to Until nothing is missing
	// unsaid, as far as the record itself knows; Unix ns. 0, 0 = it is empty.
	From, Until int64
	// NoFailures: at some time in the range failed execs were not asked for, or the
	// source could not see them.
	NoFailures bool
}

// Coverage asks the whole record, whatever Within has narrowed.
func (s *Session) Coverage(r TimeRange) (c Coverage, err error) {
	const ends = `SELECT
		min(coalesce((SELECT min(ts) FROM exec_rows), ?1), coalesce((SELECT min(ts) FROM fork_rows), ?1), coalesce((SELECT min(ts) FROM exit_rows), ?1)),
		max(coalesce((SELECT max(ts) FROM exec_rows), 0), coalesce((SELECT max(ts) FROM fork_rows), 0), coalesce((SELECT max(ts) FROM exit_rows), 0),
			coalesce((SELECT max(until) FROM gap_rows), 0), coalesce((SELECT max(covered) FROM run_rows), 0))`
	// A run that did not come to its end was over when the next one began.
	const failures = `SELECT 1 FROM run_rows r WHERE failures IS NOT 1 AND started < ?2
		AND coalesce(ended, (SELECT min(n.started) FROM run_rows n WHERE n.id > r.id), ?2) >= ?1 LIMIT 1`
	until := r.Until
	if until == 0 {
		until = math.MaxInt64
	}
	err = s.Trusted(func() error {
		err := query(s.conn, ends, func(s *sqlite.Stmt) { c.From, c.Until = s.ColumnInt64(0), s.ColumnInt64(1) }, int64(math.MaxInt64))
		if err != nil {
			return err
		}
		return query(s.conn, failures, func(*sqlite.Stmt) { c.NoFailures = true }, r.Since, until)
	})
	if err != nil {
		return c, fmt.Errorf("find what the record covers: %w", err)
	}
	if c.From == math.MaxInt64 {
		c.From = 0
	}
	return c, nil
}

// Within narrows the views to what happened in r: events and binaries by ts; gaps,
// runs and alerts with their repeats that touch it; processes that lived in it.
// What an event says of others (its parent, its ancestors) stays as it is. From
// then on a view that is named by its schema, which would be all of the record,
// is refused. To be called once, before the first Prepare.
func (s *Session) Within(r TimeRange) error {
	s.narrowed = !r.IsZero()
	return s.Trusted(func() error {
		for _, view := range viewNames {
			// Both ends may be of one index; SQLite takes the one that serves.
			from, to := "ts >= %d", "ts < %d"
			switch view {
			case "gaps":
				from = "until >= %d"
			case "alerts":
				from, to = "max(ts, last_seen) >= %d", "min(ts, first_seen) < %d"
			case "runs":
				from = "(ended IS NULL OR ended >= %d)"
			case "processes": // an unknown start or end is no reason to leave one out
				from, to = "(ended IS NULL OR ended >= %d)", "(ts IS NULL OR ts < %d)"
			}
			var where []string
			if r.Since != 0 {
				where = append(where, fmt.Sprintf(from, r.Since))
			}
			if r.Until != 0 {
				where = append(where, fmt.Sprintf(to, r.Until))
			}
			if len(where) == 0 {
				return nil
			}
			sql := fmt.Sprintf("CREATE TEMP VIEW %s AS SELECT * FROM main.%[1]s WHERE %s", view, strings.Join(where, " AND "))
			if err := execute(s.conn, sql); err != nil {
				return fmt.Errorf("narrow %s to a range of time: %w", view, err)
			}
		}
		return nil
	})
}
