// Package store keeps the events in one SQLite file: it appends batches of
// them, knows which processes are alive, folds and keeps alerts, remembers how
// far its readers have come, and opens read-only sessions in which rules and
// queries see nothing but the views.
//
// One DB writes; any number of Sessions, in this and in other processes, read
// meanwhile. What Append has returned survives the death of the process; since
// the log is not synced with each batch (synchronous=NORMAL), a power failure
// can take the newest batches with it, whole, from the end.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"zombiezen.com/go/sqlite"
)

// FileName is the store's file in the data directory.
const FileName = "events.db"

var (
	// ErrRetry is wrapped by an error after which the store is as before the
	// call, on disk and in memory: the same call may be made again.
	ErrRetry = errors.New("nothing was stored")
	// ErrFatal is wrapped by an error after which memory and disk may differ.
	// Every later call fails with it: close the store and open it again.
	ErrFatal = errors.New("store can no longer be trusted")
	// ErrNewer is wrapped when the store was written by a newer sentineld.
	ErrNewer = errors.New("store is newer than this program")
	// ErrForeign is wrapped when the file is not a SentinelD store. It was not
	// changed.
	ErrForeign = errors.New("not a SentinelD store")
	// ErrForbidden is wrapped when a user's SQL wants what it may not.
	ErrForbidden = errors.New("not allowed")
	// ErrDeadline is wrapped when a statement was stopped.
	ErrDeadline = errors.New("stopped")
)

// minVersion is the first SQLite without the WAL-reset race (fixed in 3.51.3)
// and CVE-2025-6965 that this package was measured with.
const minVersion = 3054001

// Options for Open. Only Dir is needed.
type Options struct {
	Dir string
	Log *slog.Logger // default slog.Default

	// BootTime returns when the machine was booted, in Unix ns, 0 = unknown
	// (the default); it is asked once for each transaction. It turns a start on
	// the boot clock into one that people can read, when a process is first
	// seen; setting the clock later does not change what is stored.
	BootTime func() int64

	Unredacted bool // the caller stores secrets as they are: BeginRun records it

	MaxStringBytes int // of the dictionary's cache; default 4 MiB
	MaxExited      int // exited processes to remember for late children; default 4,096
	MaxProcesses   int // processes to keep in memory, living and exited; default 1,048,576
}

func (o *Options) fillDefaults() {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.BootTime == nil {
		o.BootTime = func() int64 { return 0 }
	}
	if o.MaxStringBytes == 0 {
		o.MaxStringBytes = 4 << 20
	}
	if o.MaxExited == 0 {
		o.MaxExited = 4096
	}
	if o.MaxProcesses == 0 {
		o.MaxProcesses = 1 << 20
	}
}

// DB is the writer. Safe for concurrent use; calls wait for each other.
type DB struct {
	o    Options
	path string

	lastSeq atomic.Int64 // given out and committed

	mu      sync.Mutex // guards all below
	conn    *sqlite.Conn
	st      statements
	failed  error // ErrFatal once memory cannot be trusted
	seq     int64 // last given out
	keys    [event.NumKinds]timeKey
	dict    dictionary
	procs   processTable
	gaps    map[gapKey]gap   // newest of each that may go on
	cursors map[string]int64 // set, and not yet written
	run     int64            // runs.id, 0 = none
	stats   Stats
	seen    sightings // of binaries, in this transaction
	scratch []byte    // reused by one call at a time

	bootTime int64 // what BootTime said when the transaction began
}

// Open opens the store in o.Dir for writing and creates or migrates it where
// needed. It must be the only writer: the caller holds a lock on the
// directory. Errors wrap ErrNewer or ErrForeign where these are the cause.
func Open(ctx context.Context, o Options) (_ *DB, err error) {
	o.fillDefaults()
	if sqlite.VersionNumber < minVersion {
		return nil, fmt.Errorf("open store: SQLite %s was built in, %d or newer is needed (go.mod: modernc.org/sqlite)", sqlite.Version, minVersion)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	db := &DB{o: o, path: filepath.Join(o.Dir, FileName), cursors: make(map[string]int64)}
	if err := db.create(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if db.conn, err = sqlite.OpenConn(db.path, sqlite.OpenReadWrite); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	defer func() {
		if err != nil {
			db.conn.Close()
		}
	}()
	db.conn.SetBusyTimeout(5 * time.Second)
	if err := db.setUp(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return db, nil
}

// create makes an empty file that only we can read, and checks one that is
// there before anything could change it.
func (db *DB) create() error {
	f, err := os.OpenFile(db.path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return checkHeader(db.path)
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func (db *DB) setUp() error {
	version, err := userVersion(db.conn)
	if err != nil {
		return err
	}
	if err := checkVersion(db.path, version); err != nil {
		return err
	}
	if version == 0 { // before there is a log, see checkHeader
		if err := execute(db.conn, fmt.Sprintf("PRAGMA application_id=%d", applicationID)); err != nil {
			return err
		}
	}
	for _, pragma := range [...]string{
		"journal_mode=WAL",
		"synchronous=NORMAL",
		"wal_autocheckpoint=4000", // pages: 16 MB
		"journal_size_limit=33554432",
		"temp_store=MEMORY",
		"cache_size=-8000",
		"foreign_keys=0",
	} {
		if err := execute(db.conn, "PRAGMA "+pragma); err != nil {
			return fmt.Errorf("set %s: %w", pragma, err)
		}
	}
	if err := registerFunctions(db.conn); err != nil {
		return err
	}
	if err := migrate(db.conn, db.path, version); err != nil {
		return err
	}
	if err := db.st.prepare(db.conn); err != nil {
		return err
	}
	return db.load()
}

// load reads all that is kept in memory from disk.
func (db *DB) load() error {
	db.dict = dictionary{max: db.o.MaxStringBytes}
	db.cursors = make(map[string]int64)
	if err := query(db.conn, "SELECT coalesce(max(id), 0) FROM strings", func(s *sqlite.Stmt) { db.dict.last = s.ColumnInt64(0) }); err != nil {
		return err
	}
	db.seq = 0
	if err := query(db.conn, "SELECT seq FROM cursors WHERE name = '#seq'", func(s *sqlite.Stmt) { db.seq = s.ColumnInt64(0) }); err != nil {
		return err
	}
	for kind, table := range kindTables {
		db.keys[kind] = timeKey{}
		if table == "" {
			continue
		}
		if err := query(db.conn, "SELECT max(ts) FROM "+table, func(s *sqlite.Stmt) { db.keys[kind].max = s.ColumnInt64(0) }); err != nil {
			return err
		}
	}
	db.lastSeq.Store(db.seq)
	if err := db.loadGaps(); err != nil {
		return err
	}
	return db.loadProcesses()
}

// kindTables names the table of each kind of event.
var kindTables = [event.NumKinds]string{
	event.KindExec: "exec_rows", event.KindFork: "fork_rows", event.KindExit: "exit_rows",
	event.KindExecFailed: "failure_rows", event.KindGap: "gap_rows",
}

// LastSeq is the number of the newest stored event.
func (db *DB) LastSeq() int64 { return db.lastSeq.Load() }

// Path is the store's file.
func (db *DB) Path() string { return db.path }

// Close writes the cursors that were set, brings the log into the file and
// closes it.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.conn == nil {
		return nil
	}
	var errs []error
	if db.failed == nil && len(db.cursors) > 0 {
		errs = append(errs, db.transact(func() error { return nil }))
	}
	db.conn.SetBusyTimeout(time.Second) // a reader may hold the log: it stays then
	errs = append(errs, execute(db.conn, "PRAGMA wal_checkpoint(TRUNCATE)"))
	errs = append(errs, db.conn.Close())
	db.conn = nil
	db.failed = fmt.Errorf("%w: it is closed", ErrFatal)
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}
