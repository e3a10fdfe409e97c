package store

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"zombiezen.com/go/sqlite"
)

const blind = "polling: what lives shorter than 1s is not seen"

func gapEvent(from, until int64, cause string) event.Event {
	return event.Event{
		Kind: event.KindGap, Source: event.SourcePoll, Known: event.KnownTime, Time: from,
		Gap: &event.Gap{Until: until, Cause: cause},
	}
}

func lostEvent(from, until int64, of event.Kind, n uint64) event.Event {
	return event.Event{
		Kind: event.KindGap, Source: event.SourceEBPF, Known: event.KnownTime | event.KnownLost, Time: from,
		Gap: &event.Gap{Until: until, Of: of, Lost: n, Cause: "ring buffer full"},
	}
}

func gapRows(t *testing.T, db *DB) []string {
	t.Helper()
	return rows(t, db, fmt.Sprintf("SELECT (ts - %d) / %d, (until - %[1]d) / %d, kind, lost, source FROM gaps ORDER BY seq", bootNS, second, second))
}

// One gap behind the other is one row, through restarts too.
func TestGapsGoOn(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if a := appendAll(t, db, gapEvent(at(10), at(20), blind)); a.Rows != 1 || a.FirstTS != at(10) {
		t.Errorf("the first: %+v", a)
	}
	if a := appendAll(t, db, gapEvent(at(20), at(30), blind)); a != (Appended{}) {
		t.Errorf("one that goes on is no new row: %+v", a)
	}
	a := appendAll(t, db, gapEvent(at(30), at(40), blind), execEvent(2, 1, at(39), "/bin/a", "a"), gapEvent(at(40), at(41), blind))
	if a.Rows != 1 || a.FirstSeq != 2 || a.LastSeq != 2 {
		t.Errorf("in a batch: %+v", a)
	}
	appendAll(t, db, gapEvent(at(35), at(38), blind)) // is part of it
	want(t, "one row", gapRows(t, db), "10 | 41 | any | <null> | poll")
	if s := db.Stats(); s.GapsExtended != 4 || s.Rows[event.KindGap] != 1 {
		t.Errorf("%+v", s)
	}

	db = open(t, dir) // the other was not closed, as after a crash: what is on disk is enough
	appendAll(t, db, gapEvent(at(41), at(50), blind))
	want(t, "after a crash", gapRows(t, db), "10 | 50 | any | <null> | poll")
	if previous, err := db.BeginRun(t.Context(), Begin{Boot: testBoot, At: at(60)}); err != nil || previous.Reached != at(50) {
		t.Errorf("the record reaches to %d, %v, want the gap's end", previous.Reached, err)
	}

	// What is not told on, is of another kind or cause, or is counted, is a row.
	other := gapEvent(at(50), at(51), blind)
	other.Source = event.SourceAgent
	kind := gapEvent(at(50), at(51), blind)
	kind.Gap.Of = event.KindExec
	appendAll(t, db, other, kind, lostEvent(at(50), at(51), 0, 3), lostEvent(at(51), at(52), 0, 4), gapEvent(at(53), at(54), blind),
		gapEvent(at(54), at(55), "another"), gapEvent(at(55), at(56), blind))
	want(t, "rows", gapRows(t, db), "10 | 50 | any | <null> | poll", "50 | 51 | any | <null> | agent", "50 | 51 | exec | <null> | poll",
		"50 | 51 | any | 3 | ebpf", "51 | 52 | any | 4 | ebpf", "53 | 54 | any | <null> | poll", "54 | 55 | any | <null> | poll", "55 | 56 | any | <null> | poll")
}

// A batch that is rolled back leaves neither disk nor memory with a longer gap.
func TestGapRollback(t *testing.T) {
	db := open(t, t.TempDir())
	appendAll(t, db, gapEvent(at(10), at(20), blind))
	fail := func() error { return errors.New("broken") }
	batch := []event.Event{gapEvent(at(20), at(30), blind), gapEvent(at(40), at(50), blind)}
	if _, err := db.append(t.Context(), batch, fail); !errors.Is(err, ErrRetry) {
		t.Fatal(err)
	}
	want(t, "rolled back", gapRows(t, db), "10 | 20 | any | <null> | poll")
	appendAll(t, db, gapEvent(at(30), at(40), blind)) // does not go on where that row ends
	want(t, "hole", gapRows(t, db), "10 | 20 | any | <null> | poll", "30 | 40 | any | <null> | poll")
	appendAll(t, db, batch[1])
	want(t, "goes on", gapRows(t, db), "10 | 20 | any | <null> | poll", "30 | 50 | any | <null> | poll")
}

func completeness(t *testing.T, db *DB) []string {
	t.Helper()
	return rows(t, db, "SELECT id || complete FROM alerts ORDER BY id")
}

// A loss that is told after an alert was stored, and one that is told between
// the evaluation and the storing, both make the alert incomplete.
func TestLateGaps(t *testing.T) {
	db := open(t, t.TempDir())
	wide := alert("wide", "r1", "k", at(30))
	wide.FirstSeen = at(10)
	closed := alert("closed", "r2", "k", at(20))
	closed.State = "closed"
	record(t, db, 1, wide, closed, alert("before", "r3", "k", at(19)), alert("in", "r4", "k", at(20)), alert("after", "r5", "k", at(22)))
	want(t, "whole", completeness(t, db), "after1", "before1", "closed1", "in1", "wide1")
	appendAll(t, db, lostEvent(at(20), at(21), event.KindExec, 5))
	want(t, "told later", completeness(t, db), "after1", "before1", "closed1", "in0", "wide0")

	raised, err := db.RecordAlerts(t.Context(), 2, []event.Alert{alert("late", "r6", "k", at(21))}, time.Hour)
	if err != nil || len(raised) != 1 || raised[0].Complete {
		t.Errorf("stored behind a gap: %+v, %v", raised, err)
	}
	// A gap that is made longer reaches more alerts.
	appendAll(t, db, gapEvent(at(5), at(6), blind), gapEvent(at(6), at(19), blind))
	want(t, "longer", completeness(t, db), "after1", "before0", "closed1", "in0", "late0", "wide0")

	// A repeat counts from the first match on.
	record(t, db, 3, alert("fold", "r7", "k", at(40)))
	appendAll(t, db, lostEvent(at(41), at(42), event.KindExec, 1))
	if got := record(t, db, 4, alert("repeat", "r7", "k", at(45))); len(got) != 0 {
		t.Errorf("not folded: %v", got)
	}
	want(t, "folded", rows(t, db, "SELECT id, count, complete FROM alerts WHERE rule_id = 'r7'"), "fold | 2 | 0")

	if _, err := db.append(t.Context(), []event.Event{lostEvent(at(22), at(23), 0, 1)}, func() error { return errors.New("broken") }); err == nil {
		t.Fatal("no error")
	}
	want(t, "rolled back", rows(t, db, "SELECT complete FROM alerts WHERE id = 'after'"), "1")
}

// Neither a gap nor an alert looks at all there is.
func TestGapPlans(t *testing.T) {
	db := open(t, t.TempDir())
	for sql, index := range map[string]string{
		"SELECT 1 FROM gap_rows WHERE until >= 1 AND +ts <= 2 LIMIT 1": "gap_until",
		"SELECT 1 FROM gaps WHERE +ts <= 2 AND until >= 1 LIMIT 1":     "gap_until",
		`UPDATE alert_rows SET complete = 0
			WHERE complete = 1 AND state <> 'closed' AND last_seen >= 1 AND first_seen <= 2`: "alert_whole",
	} {
		if got := plan(t, db, sql); !strings.Contains(got, "USING "+index) && !strings.Contains(got, "INDEX "+index) {
			t.Errorf("%s: %s", sql, got)
		}
	}
}

func plan(t *testing.T, db *DB, sql string) string {
	t.Helper()
	var lines []string
	err := query(db.conn, "EXPLAIN QUERY PLAN "+sql, func(s *sqlite.Stmt) { lines = append(lines, s.ColumnText(3)) })
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "; ")
}
