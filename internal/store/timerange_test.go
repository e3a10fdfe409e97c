package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sentineld/sentineld/internal/event"
	"zombiezen.com/go/sqlite"
)

func within(t *testing.T, db *DB, r TimeRange) *Session {
	t.Helper()
	s := session(t, db.o.Dir)
	if err := s.Within(r); err != nil {
		t.Fatal(err)
	}
	return s
}

// Each view shows what is in the range: its start belongs to it, its end does not.
func TestWithin(t *testing.T) {
	db := open(t, t.TempDir())
	failed := execEvent(6, 1, at(25), "/bin/none", "none")
	failed.Kind, failed.Exec.Errno = event.KindExecFailed, 2
	appendAll(t, db,
		forkEvent(2, 1, at(10)), execEvent(2, 1, at(10), "/bin/old", "old"), exitEvent(2, at(15), 0, 0),
		forkEvent(3, 1, at(19)), execEvent(3, 1, at(19), "/bin/long", "long"),
		lostEvent(at(5), at(6), 0, 1), lostEvent(at(18), at(20), 0, 2), lostEvent(at(29), at(40), 0, 3), lostEvent(at(30), at(40), 0, 4),
		forkEvent(4, 3, at(20)), execEvent(4, 3, at(20), "/bin/in", "in"), failed, exitEvent(4, at(29), 0, 0),
		forkEvent(5, 3, at(30)), execEvent(5, 3, at(30), "/bin/late", "late"), exitEvent(3, at(31), 0, 0))
	again := alert("d", "r", "d", at(10)) // raised long ago, and seen again
	again.LastSeen = at(22)
	record(t, db, 1, alert("a", "r", "a", at(19)), alert("b", "r", "b", at(20)), alert("c", "r", "c", at(30)), again)
	for _, begin := range []int64{12, 24} {
		if _, err := db.BeginRun(t.Context(), Begin{Boot: testBoot, At: at(begin)}); err != nil {
			t.Fatal(err)
		}
		if err := db.EndRun(t.Context(), End{At: at(begin + 10)}); err != nil {
			t.Fatal(err)
		}
	}
	all := `SELECT 'exec ' || name || ' by ' || coalesce(parent_name, '?') AS what FROM execs UNION ALL SELECT 'failure ' || name FROM exec_failures
		UNION ALL SELECT 'fork ' || pid FROM forks UNION ALL SELECT 'exit ' || pid FROM exits UNION ALL SELECT 'gap ' || lost FROM gaps
		UNION ALL SELECT 'process ' || pid FROM processes WHERE pid > 1 UNION ALL SELECT 'alert ' || id FROM alerts
		UNION ALL SELECT 'run ' || row_number() OVER (ORDER BY started DESC) FROM runs ORDER BY 1`
	for _, test := range []struct {
		r    TimeRange
		want string
	}{
		{TimeRange{at(20), at(30)}, "alert b, alert d, exec in by long, exit 4, failure none, fork 4, gap 2, gap 3, process 3, process 4, process 6, run 1, run 2"},
		{TimeRange{Since: at(30)}, "alert c, exec late by long, exit 3, fork 5, gap 3, gap 4, process 3, process 5, process 6, run 1"},
		{TimeRange{Until: at(11)}, "alert d, exec old by ?, fork 2, gap 1, process 2, process 6"},
		{TimeRange{at(23), at(24)}, "process 3, process 4, process 6"}, // between two runs
		{TimeRange{at(100), at(101)}, "process 5, process 6"},
	} {
		// 5 was never seen to end, and of 6 only a failure is known: it started before.
		got, err := sessionRows(within(t, db, test.r), all)
		if err != nil {
			t.Fatal(err)
		}
		if s := strings.Join(got, ", "); s != test.want {
			t.Errorf("%v:\n got %s\nwant %s", test.r, s, test.want)
		}
	}
	if got, err := sessionRows(within(t, db, TimeRange{}), all); err != nil || len(got) != len(rows(t, db, all)) {
		t.Errorf("all of time: %d rows, %v", len(got), err)
	}
}

// What is asked for a range of time goes straight to it, however long the record
// is, and is judged as ever.
func TestWithinPlan(t *testing.T) {
	db := open(t, t.TempDir())
	appendAll(t, db, execEvent(2, 1, at(10), "/bin/a", "a"))
	s := within(t, db, TimeRange{at(1), at(20)})
	for view, table := range map[string]string{"execs": "e", "exec_failures": "e", "forks": "e", "exits": "e"} {
		for _, sql := range []string{"SELECT * FROM " + view, "SELECT count(*) FROM " + view, "SELECT process FROM " + view + " WHERE pid = 7 ORDER BY ts DESC"} {
			var lines []string
			err := s.Trusted(func() error {
				return query(s.conn, "EXPLAIN QUERY PLAN "+sql, func(s *sqlite.Stmt) { lines = append(lines, s.ColumnText(3)) })
			})
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("SEARCH %s USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)", table); !strings.Contains(strings.Join(lines, "; "), want) {
				t.Errorf("%s: %s, want %s", sql, strings.Join(lines, "; "), want)
			}
		}
	}
	_, reads, err := s.Prepare("SELECT exe FROM execs WHERE pid = 1")
	if err != nil || fmt.Sprint(reads) != "[{execs exe} {execs pid}]" {
		t.Errorf("reads %v, %v", reads, err)
	}
	for _, sql := range []string{"SELECT s FROM strings", "SELECT * FROM exec_rows", "DROP VIEW temp.execs", "SELECT * FROM temp.sqlite_schema",
		"SELECT pid FROM main.execs", "SELECT count(*) FROM 'main'.execs", "SELECT 1 FROM execs, [main] -- x\n . Execs", "SELECT pid FROM execs WHERE pid IN (SELECT pid FROM main/**/.forks)"} {
		if stmt, _, err := s.Prepare(sql); err == nil {
			stmt.Finalize()
			t.Errorf("%s is allowed", sql)
		}
	}
}

// A name that only looks like the schema's is none.
func TestWithinNames(t *testing.T) {
	s := within(t, open(t, t.TempDir()), TimeRange{Since: at(1)})
	for _, sql := range []string{
		"SELECT 1 FROM execs WHERE cmdline LIKE '%main.execs%' OR exe = '/srv/main.d/x' OR exe = 'it''s main.forks'",
		"SELECT main.pid FROM execs main -- main.execs\n", `SELECT 1 AS "main.execs" FROM forks /* main.execs */`, "SELECT domain.pid FROM execs domain",
	} {
		stmt, _, err := s.Prepare(sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		stmt.Finalize()
	}
}

// TestCoverage wants what a record says of its own ends.
func TestCoverage(t *testing.T) {
	ctx := t.Context()
	db := open(t, t.TempDir())
	coverage := func(r TimeRange) Coverage {
		t.Helper()
		c, err := within(t, db, r).Coverage(r)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := coverage(TimeRange{}); c != (Coverage{}) {
		t.Errorf("empty: %+v", c)
	}
	run := func(begin, end, covered int64, failures bool) {
		t.Helper()
		if _, err := db.BeginRun(ctx, Begin{Boot: testBoot, At: at(begin), Failures: failures}); err != nil {
			t.Fatal(err)
		}
		if end == 0 {
			return
		}
		if err := db.EndRun(ctx, End{At: at(end), Covered: at(covered)}); err != nil {
			t.Fatal(err)
		}
	}
	run(10, 0, 0, false) // killed
	appendAll(t, db, execEvent(2, 1, at(11), "/bin/a", "a"), exitEvent(2, at(12), 0, 0))
	if c := coverage(TimeRange{Since: at(30)}); c != (Coverage{at(11), at(12), true}) {
		t.Errorf("while it runs: %+v", c)
	}
	run(20, 40, 39, true)
	appendAll(t, db, lostEvent(at(12), at(20), 0, 1))
	for _, test := range []struct {
		r          TimeRange
		noFailures bool
	}{{TimeRange{}, true}, {TimeRange{Since: at(21)}, false}, {TimeRange{at(15), at(30)}, true}, {TimeRange{Until: at(9)}, false}} {
		if c := coverage(test.r); c != (Coverage{at(11), at(39), test.noFailures}) {
			t.Errorf("%+v: %+v", test.r, c)
		}
	}
}

// A store that nothing can be written beside can be asked for a range as well.
func TestWithinFrozen(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	appendAll(t, db, execEvent(2, 1, at(10), "/bin/a", "a"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := &Session{}
	o := SessionOptions{}
	o.fillDefaults()
	if err := s.open(db.Path(), o, true); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Within(TimeRange{Since: at(11)}); err != nil {
		t.Fatal(err)
	}
	if got, err := sessionRows(s, "SELECT count(*) FROM execs"); err != nil || got[0] != "0" {
		t.Errorf("%v, %v", got, err)
	}
}
