package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
)

func TestHostileStatementsAreRefused(t *testing.T) {
	db := open(t, t.TempDir())
	appendAll(t, db, execEvent(2, 1, at(1), "/bin/x", "x"))
	s := session(t, db.o.Dir)
	for _, sql := range []string{
		"", " ", ";", "-- nothing", "/* open", "(SELECT 1)", "x", "SELECT 1; SELECT 2", "SELECT 1;;; -- a\n DROP TABLE strings", "SELECT 1\x00",
		"EXPLAIN SELECT 1", "/**/ explain query plan SELECT 1", "PRAGMA user_version", "pragma query_only=0",
		"ATTACH 'x.db' AS x", "DETACH main", "VACUUM", "VACUUM INTO '/tmp/x.db'", "REINDEX", "ANALYZE",
		"BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT x", "RELEASE x", "END",
		"INSERT INTO strings VALUES (1, 'x')", "WITH a AS (SELECT 1) INSERT INTO strings SELECT 1, 'x'", "REPLACE INTO strings VALUES (1, 'x')",
		"UPDATE strings SET s = ''", "WITH a AS (SELECT 1) UPDATE strings SET s = ''", "DELETE FROM execs", "WITH a AS (SELECT 1) DELETE FROM exec_rows",
		"CREATE TABLE x(y)", "CREATE TEMP TABLE x(y)", "CREATE VIEW x AS SELECT 1", "CREATE TEMP VIEW execs AS SELECT 1", "CREATE INDEX x ON strings(s)",
		"CREATE TRIGGER x AFTER INSERT ON strings BEGIN SELECT 1; END", "CREATE VIRTUAL TABLE x USING fts5(y)", "DROP TABLE strings", "DROP VIEW execs",
		"ALTER TABLE strings RENAME TO x",
		"SELECT * FROM sqlite_schema", "SELECT * FROM sqlite_master", "SELECT * FROM main.sqlite_schema", "SELECT * FROM sqlite_temp_schema",
		"SELECT * FROM strings", "SELECT s FROM main.strings", "SELECT rowid FROM procs", "SELECT * FROM cursors", "SELECT session FROM run_rows", "SELECT * FROM run_rows",
		"SELECT (SELECT s FROM strings) FROM execs", "WITH execs AS (SELECT * FROM cursors) SELECT * FROM execs",
		"WITH execs AS (SELECT * FROM sqlite_schema) SELECT * FROM execs", "SELECT x FROM (SELECT name AS x FROM cursors) AS execs",
		"SELECT * FROM pragma_table_info('strings')", "SELECT * FROM pragma_query_only", "SELECT * FROM execs, pragma_database_list",
		"SELECT * FROM sqlite_dbpage", "SELECT * FROM dbstat", "SELECT * FROM sqlite_stmt", "SELECT * FROM bytecode('SELECT 1')", "SELECT * FROM tables_used('SELECT 1')",
		"SELECT load_extension('x')", "SELECT readfile('/etc/passwd')", "SELECT writefile('/tmp/x', 'y')", "SELECT edit('x')", "SELECT fts3_tokenizer('simple')",
		"SELECT sqlite_log(1, 'x')", "SELECT sqlite_compileoption_get(1)", "SELECT sqlite_source_id()", "SELECT x MATCH 'y' FROM (SELECT 1 AS x)",
		"SELECT * FROM generate_series(1, 10)", "SELECT * FROM nosuch", "SELECT nosuch FROM execs", "SELEC 1", "SELECT FROM", `SELECT "text"`,
		"VALUES (load_extension('x'))", "SELECT 1 UNION SELECT id FROM strings", "SELECT * FROM execs WHERE exe IN (SELECT s FROM strings)",
		"SELECT count(*) FROM pragma_database_list", "SELECT count(*) FROM sqlite_schema", "SELECT count(*) FROM bytecode('SELECT 1')",
		"SELECT " + strings.Repeat("1+", 200) + "1", "SELECT '" + strings.Repeat("x", 20_000) + "'",
		"SELECT 1" + strings.Repeat(" UNION SELECT 1", 20),
	} {
		stmt, _, err := s.Prepare(sql)
		if err == nil {
			more, err := stmt.Step()
			t.Errorf("%.60q was prepared: %v, %v", sql, more, err)
			stmt.Finalize()
			continue
		}
		if !errors.Is(err, ErrForbidden) && sqlite.ErrCode(err).ToPrimary() != sqlite.ResultError {
			t.Errorf("%.60q: %v", sql, err)
		}
	}
	// The session is as good as before.
	if got, err := sessionRows(s, "SELECT pid FROM execs"); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestErrorsSayWhereAndWhatInstead(t *testing.T) {
	s := session(t, open(t, t.TempDir()).o.Dir)
	for sql, wanted := range map[string]string{
		"SELECT\n  nosuch FROM execs":              "2:3: no such column: nosuch",
		"SELECT 1\nFROM execs WHERE":               "2:17: incomplete input",
		"SELECT *\nFROM execs\nWHER 1":             `3:6: near "1": syntax error`,
		"SELECT 1;\n-- x\nDELETE FROM x":           "3:1: not allowed: more than one statement",
		"\n  pragma x":                             "2:3: not allowed: PRAGMA is not open to queries",
		"SELECT * FROM strings":                    "not allowed: table strings is not open to queries: use the views execs, ",
		"SELECT load_extension('x')":               "1:8: not allowed: function load_extension is not allowed in a query",
		"WITH x AS (SELECT 1) DELETE FROM strings": "not allowed: a query only reads: use SELECT",
		"SELECT * FROM sqlite_schema":              "not allowed: sqlite_master is SQLite's own",
	} {
		_, _, err := s.Prepare(sql)
		if err == nil || !strings.HasPrefix(err.Error(), wanted) {
			t.Errorf("%q:\n got %v\nwant %s", sql, err, wanted)
		}
	}
}

func TestWhatQueriesCan(t *testing.T) {
	db := open(t, t.TempDir())
	appendAll(t, db, execEvent(2, 1, at(1), "/bin/bash", "bash", "-c", "id"), execEvent(3, 2, at(2), "/usr/bin/id", "id"), exitEvent(3, at(3), 0, 0))
	s := session(t, db.o.Dir)
	for sql, wanted := range map[string]string{
		"select name from EXECS where Exe = '/usr/bin/id';  -- comment":                                            "id",
		"/* a */ WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT max(n) FROM c": "5",
		"VALUES (1), (2)": "1;2",
		"SELECT value FROM execs, json_each(args) WHERE pid = 2":                                    "bash;-c;id",
		"SELECT e.args -> 2, e.args ->> 2 FROM execs e WHERE pid = 2":                               `"id" | id`,
		"SELECT exe FROM execs WHERE cmdline REGEXP '^ba(sh|r)'":                                    "/bin/bash",
		"SELECT NULL REGEXP 'x', 'x' REGEXP NULL, 'abc' REGEXP 'B', 'abc' REGEXP '(?i)B'":           "<null> | <null> | 0 | 1",
		"SELECT pid, row_number() OVER (ORDER BY ts DESC) FROM execs ORDER BY 2":                    "3 | 1;2 | 2",
		"SELECT e.pid, x.code FROM execs e LEFT JOIN exits x ON x.process = e.process ORDER BY 1":   "2 | <null>;3 | 0",
		"SELECT a.pid FROM execs a LEFT JOIN execs b ON b.process = a.parent WHERE b.pid = 2":       "3",
		"SELECT pid FROM execs e WHERE EXISTS (SELECT 1 FROM exits x WHERE x.process = e.process)":  "3",
		"SELECT exe, count(*) FROM execs GROUP BY exe HAVING count(*) > 1":                          "",
		"SELECT strftime('%Y', ts / 1000000000, 'unixepoch'), time(0) FROM execs LIMIT 1":           "2025 | 12:00:00",
		"SELECT basename('/a/b'), basename('x'), basename(''), basename(NULL)":                      "b | x |  | <null>",
		"SELECT rfc3339(0), rfc3339(-1), args_json('a b', NULL), args_json(NULL, x'00')":            `1970-01-01T00:00:00.000000000Z | 1969-12-31T23:59:59.999999999Z | ["a","b"] | <null>`,
		"SELECT known_names(3), gained_names(255), source_name(99), kind_name(0), severity_name(4)": `["time","start"] | ["setuid","setgid","caps"] | unknown | any | critical`,
		"SELECT pid FROM execs UNION SELECT pid FROM exits ORDER BY 1":                              "2;3",
		"SELECT group_concat(DISTINCT name) FROM execs":                                             "bash,id",
		"SELECT count(*) FROM execs WHERE exe GLOB '/bin/*' AND cmdline LIKE '%BASH%'":              "1",
	} {
		got, err := sessionRows(s, sql)
		if err != nil || strings.Join(got, ";") != wanted {
			t.Errorf("%s:\n got %q, %v\nwant %q", sql, got, err, wanted)
		}
	}
	for _, sql := range []string{"SELECT 'x' REGEXP '('", "SELECT 'x' REGEXP '" + strings.Repeat("x", 5000) + "'"} {
		if got, err := sessionRows(s, sql); err == nil || !strings.Contains(err.Error(), "REGEXP") {
			t.Errorf("%.30s: %q, %v", sql, got, err)
		}
	}
	for i := range 2*maxPatterns + 1 {
		if got, err := sessionRows(s, fmt.Sprintf("SELECT '%d' REGEXP '^%d$'", i, i)); err != nil || got[0] != "1" {
			t.Fatalf("pattern %d: %q, %v", i, got, err)
		}
	}
}

func TestPrepareTellsWhatIsRead(t *testing.T) {
	s := session(t, open(t, t.TempDir()).o.Dir)
	for sql, wanted := range map[string][]Read{
		"SELECT EXE FROM Execs e WHERE e.uid = 0 AND exe <> ''":                         {{"execs", "exe"}, {"execs", "uid"}},
		"SELECT count(*) FROM exits":                                                    {{"exits", ""}},
		"WITH execs2 AS (SELECT pid FROM execs) SELECT pid FROM execs2":                 {{"execs", "pid"}},
		"SELECT 1 FROM forks WHERE process IN (SELECT parent FROM execs WHERE uid = 0)": {{"forks", "process"}, {"execs", "parent"}, {"execs", "uid"}},
		"SELECT x.code FROM exits x JOIN json_each('[1]') j ON j.value = x.code":        {{"exits", "code"}},
		"VALUES (1)": nil,
	} {
		stmt, reads, err := s.Prepare(sql)
		if err != nil {
			t.Fatal(err)
		}
		stmt.Finalize()
		for _, r := range wanted {
			if !slices.Contains(reads, r) {
				t.Errorf("%s: %v is not in %v", sql, r, reads)
			}
		}
		if len(reads) != len(wanted) {
			t.Errorf("%s: %v, want %v", sql, reads, wanted)
		}
	}
}

// Detection puts the new rows into a temporary table under a view's name.
func TestTemporaryViewStandsInForAView(t *testing.T) {
	db := open(t, t.TempDir())
	appendAll(t, db, execEvent(2, 1, at(1), "/bin/a"), execEvent(3, 1, at(2), "/bin/b"))
	s := session(t, db.o.Dir)
	err := s.Trusted(func() error {
		for _, sql := range []string{
			"CREATE TEMP TABLE fresh AS SELECT * FROM main.execs LIMIT 0",
			"CREATE TEMP VIEW execs AS SELECT * FROM fresh",
			"INSERT INTO fresh SELECT * FROM main.execs WHERE seq > 1",
		} {
			if err := execute(s.Conn(), sql); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stmt, reads, err := s.Prepare("SELECT count(*), max(exe) FROM execs")
	if err != nil {
		t.Fatal(err)
	}
	defer stmt.Finalize()
	if !slices.Contains(reads, Read{"execs", "exe"}) {
		t.Errorf("reads %v", reads)
	}
	for _, wanted := range []string{"1 | /bin/b", "0 | <null>"} {
		if _, err := stmt.Step(); err != nil {
			t.Fatal(err)
		}
		if got := rowText(stmt); got != wanted {
			t.Errorf("got %s, want %s", got, wanted)
		}
		stmt.Reset()
		if err := s.Trusted(func() error { return execute(s.Conn(), "DELETE FROM fresh") }); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := s.Prepare("SELECT exe FROM fresh"); !errors.Is(err, ErrForbidden) {
		t.Errorf("the table itself: %v", err)
	}
	if _, err := sessionRows(s, "SELECT count(*) FROM execs"); err != nil {
		t.Errorf("count: %v", err)
	}
	// A change of the schema prepares the statement anew, still as the user's.
	if err := s.Trusted(func() error { return execute(s.Conn(), "CREATE TEMP TABLE other(x)") }); err != nil {
		t.Fatal(err)
	}
	if _, err := stmt.Step(); err != nil {
		t.Error(err)
	}
	if err := s.Trusted(func() error { return execute(s.Conn(), "UPDATE strings SET s = ''") }); sqlite.ErrCode(err) != sqlite.ResultReadOnly {
		t.Errorf("write to a session: %v", err)
	}
}

const endless = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"

func TestDeadlineStopsAStatement(t *testing.T) {
	s := session(t, open(t, t.TempDir()).o.Dir)
	for range 20 {
		start := time.Now()
		err := s.WithDeadline(t.Context(), 10*time.Millisecond, func() error { _, err := sessionRows(s, endless); return err })
		if !errors.Is(err, ErrDeadline) || !strings.Contains(err.Error(), "10ms") {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if got, err := sessionRows(s, "SELECT 1"); err != nil || len(got) != 1 {
			t.Fatalf("afterwards: %q, %v", got, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(5*time.Millisecond, cancel)
	err := s.WithDeadline(ctx, 0, func() error { _, err := sessionRows(s, endless); return err })
	if !errors.Is(err, ErrDeadline) || !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if err := s.WithDeadline(ctx, 0, func() error { t.Error("ran"); return nil }); !errors.Is(err, ErrDeadline) {
		t.Errorf("canceled before: %v", err)
	}
	other := errors.New("other")
	if err := s.WithDeadline(t.Context(), time.Hour, func() error { return other }); err != other {
		t.Errorf("other error: %v", err)
	}
}

// A deadline that passes between two statements must not be forgotten.
func TestDeadlineBetweenStatements(t *testing.T) {
	s := session(t, open(t, t.TempDir()).o.Dir)
	ctx, cancel := context.WithCancel(t.Context())
	err := s.WithDeadline(ctx, 0, func() error {
		cancel()
		_, err := sessionRows(s, endless)
		return err
	})
	if !errors.Is(err, ErrDeadline) {
		t.Error(err)
	}
}

func TestLongValues(t *testing.T) {
	db := open(t, t.TempDir())
	long := strings.Repeat("x ", 200<<10)
	appendAll(t, db, execEvent(2, 1, at(1), "/bin/x", "x", long))
	if got := rows(t, db, "SELECT length(cmdline), json_array_length(args) FROM execs"); got[0] != fmt.Sprintf("%d | 2", 2+len(long)) {
		t.Errorf("%q", got)
	}
	s, err := OpenSession(t.Context(), db.o.Dir, SessionOptions{MaxValueBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := sessionRows(s, "SELECT cmdline FROM execs"); sqlite.ErrCode(err) != sqlite.ResultTooBig {
		t.Errorf("value beyond the limit: %v", err)
	}
	if got, err := sessionRows(s, "SELECT pid FROM execs"); err != nil {
		t.Errorf("row beyond the limit: %q, %v", got, err)
	}
	if _, err := sessionRows(s, "SELECT length(randomblob(100000))"); sqlite.ErrCode(err) != sqlite.ResultTooBig {
		t.Errorf("made value beyond the limit: %v", err)
	}
}

func TestSessionNeedsAStore(t *testing.T) {
	if _, err := OpenSession(t.Context(), t.TempDir(), SessionOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing store: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OpenSession(ctx, t.TempDir(), SessionOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if _, err := Open(ctx, Options{Dir: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestSessionIsDefensive(t *testing.T) {
	db := open(t, t.TempDir())
	s := session(t, db.o.Dir)
	err := s.Trusted(func() error {
		if err := execute(s.conn, "PRAGMA writable_schema=ON"); err != nil {
			return err
		}
		on, err := pragmaInt(s.conn, "writable_schema")
		if on != 0 {
			t.Error("the schema can be written")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestComplete(t *testing.T) {
	for sql, want := range map[string]bool{
		"": false, ";": true, "SELECT 1": false, "SELECT 1;": true, "SELECT ';": false, "SELECT ';'": false, "SELECT ';';": true,
		"SELECT 1; -- x": true, "SELECT 1 -- ;": false, "SELECT 1 /* ;": false, "SELECT \";\" ; \n": true, "SELECT [;": false, "SELECT 'it''s;": false,
	} {
		if got := Complete(sql); got != want {
			t.Errorf("%q: %v", sql, got)
		}
	}
}
