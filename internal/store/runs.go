package store

import (
	"context"
	"fmt"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"zombiezen.com/go/sqlite"
)

// Run is one run of the agent. The zero value is none.
type Run struct {
	ID         int64
	Started    int64 // Unix ns
	Ended      int64 // 0: it did not come to its end, or it still runs
	Covered    int64 // see End
	Outage     string
	Boot       event.BootID
	Session    string // of the collector's stream, see Position
	SessionSeq uint64
	// Reached is where what the next run did not see starts, Unix ns by the clock of
	// now: up to there nothing is missing unsaid. 0 = nothing was ever recorded.
	Reached int64
}

// Begin is how a run began.
type Begin struct {
	Boot     event.BootID
	At       int64 // Unix ns
	Failures bool  // failed execs are asked for
}

// BeginRun records that the agent runs and returns the run before.
func (db *DB) BeginRun(ctx context.Context, b Begin) (previous Run, err error) {
	err = db.locked(ctx, func() error {
		if previous, err = db.lastRun(); err != nil {
			return err
		}
		if previous.Reached, err = db.reached(b.Boot, previous.Covered); err != nil {
			return err
		}
		return query(db.conn, "INSERT INTO run_rows(started, boot, redacted, failures) VALUES (?, ?, ?, ?) RETURNING id",
			func(s *sqlite.Stmt) { db.run = s.ColumnInt64(0) }, b.At, b.Boot[:], bit(!db.o.Unredacted), bit(b.Failures))
	})
	if err != nil {
		return Run{}, fmt.Errorf("begin run: %w", err)
	}
	return previous, nil
}

// NoFailures records that failed execs are not asked for any more, for what is left of
// the run that BeginRun recorded. Before one has begun it does nothing.
func (db *DB) NoFailures(ctx context.Context) error {
	err := db.locked(ctx, func() error {
		return query(db.conn, "UPDATE run_rows SET failures = 0 WHERE id = ?", func(*sqlite.Stmt) {}, db.run)
	})
	if err != nil {
		return fmt.Errorf("record that failed execs are not asked for: %w", err)
	}
	return nil
}

// End is how a run ended.
type End struct {
	At int64 // Unix ns
	// Covered is up to when nothing is missing unsaid, Unix ns: what happened later
	// was not asked for any more, or did not come in.
	Covered int64
	Outage  string // why no events came in any more, "" = they did
}

// EndRun records that the run that BeginRun recorded came to its end.
func (db *DB) EndRun(ctx context.Context, e End) error {
	err := db.locked(ctx, func() error {
		err := query(db.conn, "UPDATE run_rows SET ended = ?, covered = ?, outage = nullif(?, '') WHERE id = ?", func(*sqlite.Stmt) {},
			e.At, e.Covered, e.Outage, db.run)
		if err != nil {
			return err
		}
		return db.reach(e.Covered)
	})
	if err != nil {
		return fmt.Errorf("end run: %w", err)
	}
	return nil
}

func (db *DB) lastRun() (r Run, err error) {
	err = query(db.conn, "SELECT id, started, ended, boot, session, session_seq, covered, outage FROM run_rows ORDER BY id DESC LIMIT 1", func(s *sqlite.Stmt) {
		r.ID, r.Started, r.Ended = s.ColumnInt64(0), s.ColumnInt64(1), s.ColumnInt64(2)
		s.ColumnBytes(3, r.Boot[:])
		r.Session, r.SessionSeq = s.ColumnText(4), uint64(s.ColumnInt64(5))
		r.Covered, r.Outage = s.ColumnInt64(6), s.ColumnText(7)
	})
	return r, err
}

// reached is where what a run on boot does not see starts. The clock may have been
// set since then, back too: what counts is the boot clock, and that nothing of a
// boot was seen before it began.
func (db *DB) reached(boot event.BootID, covered int64) (at int64, err error) {
	for kind, table := range kindTables {
		if table != "" {
			at = max(at, db.keys[kind].max)
		}
	}
	for _, g := range db.gaps { // up to its end somebody was there to tell it
		at = max(at, g.until)
	}
	at = max(at, covered)
	if db.bootTime == 0 || at == 0 {
		return at, nil
	}
	const last = "SELECT reached, boot FROM run_rows WHERE reached IS NOT NULL ORDER BY id DESC LIMIT 1"
	err = query(db.conn, last, func(s *sqlite.Stmt) {
		var on event.BootID
		if s.ColumnBytes(1, on[:]); on == boot {
			at = db.bootTime + s.ColumnInt64(0)
		} else {
			at = min(at, db.bootTime)
		}
	})
	return at, err
}

// reach records that the run has seen what happened until a time, Unix ns.
func (db *DB) reach(until int64) error {
	if db.run == 0 || db.bootTime == 0 || until == 0 {
		return nil
	}
	s := db.st.reach
	s.BindInt64(1, min(until, time.Now().UnixNano())-db.bootTime)
	s.BindInt64(2, db.run)
	return step(s)
}

// Position is up to where the collector's stream is stored: the last session
// and number that AppendFrom recorded, in this run or an earlier one. Both are
// zero when there is none.
func (db *DB) Position(ctx context.Context) (session string, seq uint64, err error) {
	if err := ctx.Err(); err != nil {
		return "", 0, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.failed != nil {
		return "", 0, db.failed
	}
	err = query(db.conn, "SELECT session, session_seq FROM run_rows WHERE session IS NOT NULL ORDER BY id DESC LIMIT 1", func(s *sqlite.Stmt) {
		session, seq = s.ColumnText(0), uint64(s.ColumnInt64(1))
	})
	if err != nil {
		return "", 0, fmt.Errorf("read position: %w", err)
	}
	return session, seq, nil
}

// writePosition records a position with this run, which it makes when nobody
// has begun one.
func (db *DB) writePosition(batch []event.Event, session string, seq uint64) error {
	if db.run == 0 {
		var started int64
		if len(batch) > 0 {
			started = batch[0].Time
		}
		err := query(db.conn, "INSERT INTO run_rows(started) VALUES (?) RETURNING id", func(s *sqlite.Stmt) { db.run = s.ColumnInt64(0) }, started)
		if err != nil {
			return err
		}
	}
	s := db.st.position
	s.BindText(1, session)
	s.BindInt64(2, int64(seq))
	s.BindInt64(3, db.run)
	return step(s)
}

// Cursor is how far a reader has come, 0 when it never said.
func (db *DB) Cursor(ctx context.Context, name string) (seq int64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.failed != nil {
		return 0, db.failed
	}
	if seq, ok := db.cursors[name]; ok {
		return seq, nil
	}
	err = query(db.conn, "SELECT seq FROM cursors WHERE name = ?", func(s *sqlite.Stmt) { seq = s.ColumnInt64(0) }, name)
	if err != nil {
		return 0, fmt.Errorf("read cursor %s: %w", name, err)
	}
	return seq, nil
}

// SetCursor remembers how far a reader has come. It is written with the next
// transaction or by Close, since it alone is not worth one: a reader that is
// set back by a crash reads something twice.
func (db *DB) SetCursor(name string, seq int64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.cursors[name] = seq
}
