package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

// detectCursor is the name under which detection keeps how far it has come.
const detectCursor = "detect"

// RecordAlerts stores alerts and the cursor "detect" in one transaction, so
// that no event is ever evaluated twice or not at all. An alert whose rule and
// key are those of one that is not closed, and whose last match is within fold
// of that one's, only counts there; one whose id is stored is ignored. The
// others are returned as they were stored. An alert with a gap in the time that it
// looked at, or between two matches, is not complete, whatever it says of itself.
func (db *DB) RecordAlerts(ctx context.Context, cursor int64, alerts []event.Alert, fold time.Duration) (raised []event.Alert, err error) {
	err = db.locked(ctx, func() error {
		for i := range alerts {
			a := alerts[i]
			if a.LookedFrom == 0 {
				a.LookedFrom = a.FirstSeen
			}
			a.LookedFrom, a.LookedUntil = min(a.LookedFrom, a.FirstSeen), max(a.LookedUntil, a.LastSeen)
			if a.Complete { // a gap may have been stored since it was found
				lost, err := db.lostIn(a.LookedFrom, a.LookedUntil)
				if err != nil {
					return err
				}
				a.Complete = !lost
			}
			folded, err := db.foldAlert(&a, fold)
			if err != nil {
				return err
			}
			if folded {
				db.stats.AlertsFolded++
				continue
			}
			if a.State == "" {
				a.State = "open"
			}
			a.Count = max(a.Count, 1)
			if err := db.insertAlert(&a); err != nil {
				return fmt.Errorf("alert %s: %w", a.ID, err)
			}
			db.stats.AlertsRaised++
			raised = append(raised, a)
		}
		return db.writeCursor(detectCursor, cursor)
	})
	if err != nil {
		return nil, fmt.Errorf("record %d alerts: %w", len(alerts), err)
	}
	return raised, nil
}

// foldAlert reports whether a is stored already or now counts with another.
func (db *DB) foldAlert(a *event.Alert, fold time.Duration) (bool, error) {
	known := db.st.alertKnown
	known.BindText(1, a.ID)
	found, err := known.Step()
	if err != nil {
		return false, err
	}
	if err := known.Reset(); err != nil || found {
		return found, err
	}
	if fold <= 0 {
		return false, nil
	}
	s := db.st.alertFold
	s.BindText(1, a.RuleID)
	s.BindText(2, a.Key)
	if found, err = s.Step(); err != nil {
		return false, err
	}
	var n, last int64
	if found {
		n, last = s.ColumnInt64(0), s.ColumnInt64(1)
	}
	if err := s.Reset(); err != nil || !found || a.LastSeen-last > int64(fold) {
		return false, err
	}
	// It now reaches from its first match to this one: what was lost on the way
	// could have counted too.
	lost, err := db.lostIn(min(last, a.LookedFrom), a.LookedUntil)
	if err != nil {
		return false, err
	}
	r := db.st.alertRepeat
	r.BindInt64(1, n)
	r.BindInt64(2, int64(max(a.Count, 1)))
	r.BindInt64(3, a.LastSeen)
	r.BindInt64(4, a.FirstSeen)
	r.BindInt64(5, bit(a.Complete && !lost))
	r.BindInt64(6, a.LookedFrom)
	r.BindInt64(7, a.LookedUntil)
	return true, step(r)
}

func (db *DB) insertAlert(a *event.Alert) error {
	evidence, err := json.Marshal(a.Evidence)
	if err != nil {
		// A row that is no JSON must not cost the alert.
		db.o.Log.Warn("evidence of alert left out", "alert", a.ID, "rule", a.RuleID, "err", err)
		a.Evidence.Row, evidence = nil, []byte("{}")
	}
	s := db.st.alertInsert
	s.BindText(1, a.ID)
	s.BindInt64(2, a.Time)
	s.BindText(3, a.RuleID)
	s.BindText(4, a.RuleName)
	s.BindText(5, a.RuleVersion)
	s.BindText(6, a.Author)
	s.BindInt64(7, int64(a.Severity))
	s.BindText(8, string(event.AppendJSONStrings(nil, a.Tags)))
	s.BindText(9, a.Title)
	s.BindText(10, a.State)
	s.BindText(11, a.Key)
	s.BindInt64(12, int64(a.Count))
	s.BindInt64(13, a.FirstSeen)
	s.BindInt64(14, a.LastSeen)
	s.BindText(15, a.Process)
	s.BindText(16, string(evidence))
	s.BindInt64(17, bit(a.Complete))
	s.BindInt64(18, a.LookedFrom)
	s.BindInt64(19, a.LookedUntil)
	return step(s)
}
