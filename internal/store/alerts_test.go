package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

func alert(id, rule, key string, seen int64) event.Alert {
	return event.Alert{
		ID: id, Time: seen, RuleID: rule, RuleName: "name of " + rule, RuleVersion: "v1", Author: "Ann", Severity: event.SeverityHigh,
		Tags: []string{"attack.t1059"}, Title: "title", State: "open", Key: key, Count: 1, FirstSeen: seen, LastSeen: seen,
		Process: "abcdef01-2-20", Evidence: event.Evidence{Row: []byte(`{"a":1}`), Ancestors: []string{"/bin/sh"}}, Complete: true,
	}
}

func record(t *testing.T, db *DB, cursor int64, alerts ...event.Alert) (ids []string) {
	t.Helper()
	raised, err := db.RecordAlerts(t.Context(), cursor, alerts, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range raised {
		ids = append(ids, a.ID)
	}
	return ids
}

func TestAlertsAreKeptWhole(t *testing.T) {
	db := open(t, t.TempDir())
	bare := event.Alert{ID: "b", RuleID: "r2", Time: at(2)}
	want(t, "raised", record(t, db, 5, alert("a", "r", "k", at(1)), bare), "a", "b")
	want(t, "alerts", rows(t, db, "SELECT * FROM alerts"),
		fmt.Sprintf("a | %d | 2025-10-09T08:53:21.000000000Z | r | name of r | high | open | 1 | %[1]d | %[1]d | abcdef01-2-20 | title | "+
			`{"row":{"a":1},"ancestors":["/bin/sh"]} | 1 | v1 | Ann | ["attack.t1059"] | k`, at(1)),
		fmt.Sprintf(`b | %d | 2025-10-09T08:53:22.000000000Z | r2 |  | unknown | open | 1 | 0 | 0 | <null> |  | {"row":null} | 0 |  | <null> | [] | <null>`, at(2)))
	if n, err := db.Cursor(t.Context(), "detect"); n != 5 || err != nil {
		t.Errorf("cursor %d, %v", n, err)
	}
}

func TestAlertsFold(t *testing.T) {
	db := open(t, t.TempDir())
	want(t, "raised", record(t, db, 1,
		alert("a", "r", "k", at(1)), alert("b", "r", "k", at(2)), alert("c", "r", "other", at(2)), alert("d", "r2", "k", at(2))), "a", "c", "d")
	incomplete := alert("e", "r", "k", at(60))
	incomplete.Complete, incomplete.Count = false, 3
	want(t, "within a minute of the last", record(t, db, 2, incomplete), []string{}...)
	want(t, "folded", rows(t, db, "SELECT id, count, first_seen, last_seen, complete FROM alerts WHERE key = 'k' AND rule_id = 'r'"),
		fmt.Sprint("a | 5 | ", at(1), " | ", at(60), " | 0"))
	want(t, "same id", record(t, db, 3, alert("a", "r", "k", at(1000))), []string{}...)
	want(t, "too late", record(t, db, 3, alert("f", "r", "k", at(121))), "f")
	want(t, "into the newer", record(t, db, 3, alert("g", "r", "k", at(122))), []string{}...)
	want(t, "counts", rows(t, db, "SELECT id, count FROM alerts WHERE rule_id = 'r' AND key = 'k' ORDER BY ts"), "a | 5", "f | 2")

	if err := execute(db.conn, "UPDATE alert_rows SET state = 'closed'"); err != nil {
		t.Fatal(err)
	}
	want(t, "closed", record(t, db, 4, alert("h", "r", "k", at(123))), "h")
	if raised, err := db.RecordAlerts(t.Context(), 5, []event.Alert{alert("i", "r", "k", at(123))}, 0); len(raised) != 1 || err != nil {
		t.Errorf("without folding: %+v, %v", raised, err)
	}
	if s := db.Stats(); s.AlertsRaised != 6 || s.AlertsFolded != 4 {
		t.Errorf("stats %+v", s)
	}
}

// An older cursor that waits to be written must not win.
func TestCursorOfAlertsWins(t *testing.T) {
	db := open(t, t.TempDir())
	db.SetCursor("detect", 3)
	record(t, db, 9)
	if n, err := db.Cursor(t.Context(), "detect"); n != 9 || err != nil {
		t.Errorf("cursor %d, %v", n, err)
	}
}

func TestEvidenceThatIsNoJSON(t *testing.T) {
	db := open(t, t.TempDir())
	a := alert("a", "r", "k", at(1))
	a.Evidence.Row = []byte("{")
	want(t, "raised", record(t, db, 1, a), "a")
	want(t, "evidence", rows(t, db, "SELECT evidence FROM alerts"), "{}")
}
