package store

import (
	"fmt"
	"strings"
)

// TimeRange is a stretch of time, Unix ns. 0 = open at that end.
type TimeRange struct {
	Since int64 // what happened then or later
	Until int64 // and before then
}

// IsZero reports whether r is all of time.
func (r TimeRange) IsZero() bool { return r == TimeRange{} }

// Within narrows the views to what happened in r: events, alerts and binaries by
// ts, gaps that touch it, and processes that lived in it. What an event says of
// others (its parent, its ancestors) stays as it is. To be called once, before
// the first Prepare.
func (s *Session) Within(r TimeRange) error {
	return s.Trusted(func() error {
		for _, view := range viewNames {
			// Both ends may be of one index; SQLite takes the one that serves.
			from, to := "ts >= %d", "ts < %d"
			switch view {
			case "gaps":
				from = "until >= %d"
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
