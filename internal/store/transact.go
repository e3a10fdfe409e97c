package store

import (
	"context"
	"fmt"

	"github.com/sentineld/sentineld/internal/event"
	"zombiezen.com/go/sqlite"
)

// transact runs fn in one transaction, with what has to be written along. A
// failure leaves disk and memory as they were before. The caller holds db.mu.
func (db *DB) transact(fn func() error) error {
	if db.failed != nil {
		return db.failed
	}
	err := step(db.st.begin)
	if err != nil { // nothing has changed yet
		return fmt.Errorf("%w: begin: %w", ErrRetry, err)
	}
	seq, cursors, stats, run := db.seq, db.cursors, db.stats, db.run
	db.cursors = make(map[string]int64)
	db.seen = sightings{}
	db.bootTime = db.o.BootTime()
	if err = db.writeCursors(cursors); err == nil {
		err = fn()
	}
	if err == nil {
		err = db.finish(seq)
	}
	if err == nil {
		err = step(db.st.commit)
	}
	if err == nil {
		db.lastSeq.Store(db.seq)
		return nil
	}
	// SQLite may have rolled back by itself: disk full and I/O errors do that.
	if !db.conn.AutocommitEnabled() {
		if rollback := step(db.st.rollback); rollback != nil && !db.conn.AutocommitEnabled() {
			db.failed = fmt.Errorf("%w: roll back: %w after %w", ErrFatal, rollback, err)
			return db.failed
		}
	}
	db.stats = stats
	if reload := db.load(); reload != nil {
		db.failed = fmt.Errorf("%w: reload: %w after %w", ErrFatal, reload, err)
		return db.failed
	}
	db.cursors, db.run = cursors, run
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB, sqlite.ResultMisuse:
		db.failed = fmt.Errorf("%w: %w", ErrFatal, err)
		return db.failed
	}
	return fmt.Errorf("%w: %w", ErrRetry, err)
}

// finish writes what belongs to the end of each transaction.
func (db *DB) finish(before int64) error {
	if err := db.flushProcesses(); err != nil {
		return err
	}
	if err := db.flushBinaries(); err != nil {
		return err
	}
	if db.seq != before {
		return db.writeCursor("#seq", db.seq)
	}
	return nil
}

func (db *DB) writeCursors(cursors map[string]int64) error {
	for name, seq := range cursors {
		if err := db.writeCursor(name, seq); err != nil {
			return err
		}
	}
	return nil
}

func (db *DB) writeCursor(name string, seq int64) error {
	s := db.st.cursor
	s.BindText(1, name)
	s.BindInt64(2, seq)
	if err := step(s); err != nil || name != detectCursor {
		return err
	}
	db.st.hashesDone.BindInt64(1, seq)
	return step(db.st.hashesDone)
}

// locked takes db.mu and runs fn in a transaction.
func (db *DB) locked(ctx context.Context, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.transact(fn)
}

// step runs a kept statement that returns no rows.
func step(s *sqlite.Stmt) error {
	if _, err := s.Step(); err != nil {
		return err
	}
	return s.Reset()
}

// timeKey gives out the keys of one table of events.
type timeKey struct {
	max       int64 // the largest key
	want, got int64 // the last one that was asked for, and what was given
}

// insert stores a row under ts or the first free key behind it, and returns
// that. The key is parameter 1.
func (k *timeKey) insert(s *sqlite.Stmt, ts int64) (int64, error) {
	want := ts
	if ts == k.want && k.got != 0 { // many rows of one snapshot: not a search from the start for each
		ts = k.got + 1
	}
	for {
		s.BindInt64(1, ts)
		_, err := s.Step()
		if err == nil {
			k.want, k.got, k.max = want, ts, max(k.max, ts)
			return ts, s.Reset()
		}
		if code := sqlite.ErrCode(err); code != sqlite.ResultConstraintPrimaryKey && code != sqlite.ResultConstraintRowID {
			return 0, err
		}
		ts++
	}
}

// statements are the writer's, prepared once.
type statements struct {
	begin, commit, rollback *sqlite.Stmt

	exec, failure, fork, exit, gap *sqlite.Stmt

	stringFind, stringAdd   *sqlite.Stmt
	procAdd, procChange     *sqlite.Stmt
	procFind                *sqlite.Stmt
	cursor, position        *sqlite.Stmt
	alertFold, alertRepeat  *sqlite.Stmt
	alertKnown, alertInsert *sqlite.Stmt
	gapExtend, gapIn        *sqlite.Stmt
	alertHurt, reach        *sqlite.Stmt

	presumed *sqlite.Stmt

	execFind, execHash, hash, hashesDone *sqlite.Stmt
	binaryBefore, binarySeen, binaryNext *sqlite.Stmt
}

func (st *statements) prepare(conn *sqlite.Conn) error {
	for _, p := range [...]struct {
		to  **sqlite.Stmt
		sql string
	}{
		{&st.begin, "BEGIN IMMEDIATE"},
		{&st.commit, "COMMIT"},
		{&st.rollback, "ROLLBACK"},
		{&st.exec, insertInto("exec_rows", execColumns)},
		{&st.failure, insertInto("failure_rows", colFailureEnv)},
		{&st.fork, insertInto("fork_rows", 4)},
		{&st.exit, insertInto("exit_rows", 10)},
		{&st.gap, insertInto("gap_rows", 7)},
		{&st.gapExtend, "UPDATE gap_rows SET until = ?2 WHERE ts = ?1"},
		// The newest ranges are asked for most: by the end of gaps, not by their start.
		{&st.gapIn, "SELECT 1 FROM gap_rows WHERE until >= ?1 AND +ts <= ?2 LIMIT 1"},
		{&st.alertHurt, `UPDATE alert_rows SET complete = 0
			WHERE complete = 1 AND state <> 'closed' AND coalesce(looked_until, last_seen) >= ?1 AND coalesce(looked_from, first_seen) <= ?2`},
		{&st.stringFind, "SELECT id FROM strings WHERE s = ?"},
		{&st.stringAdd, insertInto("strings", 2)},
		{&st.procAdd, insertInto("procs", procColumns)},
		{&st.procChange, `UPDATE procs SET start_ns = ?5, started = ?6, parent = ?7, ppid = ?8, first_ts = ?9, image = ?10,
			execs = ?11, ended_ts = ?12, exit_code = ?13, signal = ?14, core = ?15, presumed = ?16, ancestors = ?17 WHERE id = ?1`},
		{&st.procFind, processQuery + "WHERE p.pid = ? AND p.start = ? AND p.boot = ?"},
		{&st.presumed, "DELETE FROM exit_rows WHERE ts BETWEEN ?1 AND ?1 + ?3 AND proc = ?2 AND presumed"},
		{&st.execFind, "SELECT ts FROM exec_rows WHERE ts BETWEEN ?1 AND ?1 + ?3 AND proc = ?2 ORDER BY ts LIMIT 1"},
		{&st.execHash, fmt.Sprintf(`UPDATE exec_rows SET sha256 = ?2, known = known | %d, flags = flags | %d
			WHERE ts = ?1 AND sha256 IS NULL AND inode = ?3 AND exe IS ?4 RETURNING source, dev`, event.KnownSHA256, flagLateHash)},
		{&st.hash, insertInto("hash_rows", 2)},
		{&st.hashesDone, "DELETE FROM hash_rows WHERE seq <= ?"},
		{&st.binaryBefore, "SELECT sha256 FROM binary_rows WHERE exe = ?1 AND dev = ?2 AND sha256 <> ?3 AND first_seen < ?4 ORDER BY last_seen DESC LIMIT 1"},
		{&st.binarySeen, insertInto("binary_rows", 10) + ` ON CONFLICT DO UPDATE SET
			inode = CASE WHEN excluded.last_seen >= last_seen THEN excluded.inode ELSE inode END,
			size = coalesce(excluded.size, size),
			mtime = CASE WHEN excluded.last_seen >= last_seen THEN coalesce(excluded.mtime, mtime) ELSE mtime END,
			previous = CASE WHEN excluded.last_seen > last_seen AND excluded.execs > 0 THEN coalesce(excluded.previous, previous) ELSE previous END,
			first_seen = min(first_seen, excluded.first_seen), last_seen = max(last_seen, excluded.last_seen), execs = execs + excluded.execs`},
		{&st.binaryNext, "UPDATE binary_rows SET previous = ?3 WHERE exe = ?1 AND dev = ?2 AND sha256 <> ?3 AND first_seen > ?4 AND previous IS NULL"},
		{&st.cursor, "INSERT INTO cursors VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq"},
		{&st.position, "UPDATE run_rows SET session = ?, session_seq = ? WHERE id = ?"},
		{&st.reach, "UPDATE run_rows SET reached = max(coalesce(reached, ?1), ?1) WHERE id = ?2"},
		{&st.alertFold, `SELECT n, last_seen FROM alert_rows
			WHERE rule_id = ? AND key = ? AND state <> 'closed' ORDER BY last_seen DESC LIMIT 1`},
		{&st.alertRepeat, `UPDATE alert_rows SET count = count + ?2, last_seen = max(last_seen, ?3),
			first_seen = min(first_seen, ?4), complete = complete AND ?5, looked_from = min(coalesce(looked_from, first_seen), ?6),
			looked_until = max(coalesce(looked_until, last_seen), ?7) WHERE n = ?1`},
		{&st.alertKnown, "SELECT 1 FROM alert_rows WHERE id = ?"},
		{&st.alertInsert, insertInto("alert_rows(id, ts, rule_id, rule_name, rule_version, author, severity, tags, title, state, "+
			"key, count, first_seen, last_seen, process, evidence, complete, looked_from, looked_until)", 19)},
	} {
		s, err := conn.Prepare(p.sql)
		if err != nil {
			return err
		}
		*p.to = s
	}
	return nil
}

func insertInto(table string, columns int) string {
	sql := make([]byte, 0, 128)
	sql = append(append(append(sql, "INSERT INTO "...), table...), " VALUES (?"...)
	for range columns - 1 {
		sql = append(sql, ",?"...)
	}
	return string(append(sql, ')'))
}
