package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"
)

// SessionOptions say how much a query may take. The zero value suits people's
// own queries.
type SessionOptions struct {
	// MaxValueBytes bounds a value that is read or made (SQLITE_LIMIT_LENGTH),
	// and with it the one operation that no deadline can stop: instr and
	// replace take time with the square of it. Default 1 MiB; a row that is
	// longer cannot be read at all.
	MaxValueBytes int
	// MaxSQLBytes bounds a statement. Default 16 KiB.
	MaxSQLBytes int
	// MaxDepth bounds how deep an expression is, and how many tables may stand before a
	// CTE, those behind the columns of views included (SQLite 3.54,
	// resolveFromTermToCte). Default 100; at most 1,000, which is SQLite's own.
	MaxDepth int
	// CacheKiB is SQLite's page cache. Default 8,000.
	CacheKiB int
	// BusyTimeout is how long to wait for a lock. Default 5 s; a reader of a
	// WAL waits only while the writer recovers or resets it.
	BusyTimeout time.Duration
}

func (o *SessionOptions) fillDefaults() {
	if o.MaxValueBytes == 0 {
		o.MaxValueBytes = 1 << 20
	}
	if o.MaxSQLBytes == 0 {
		o.MaxSQLBytes = 16 << 10
	}
	if o.MaxDepth == 0 {
		o.MaxDepth = 100
	}
	if o.CacheKiB == 0 {
		o.CacheKiB = 8000
	}
	if o.BusyTimeout == 0 {
		o.BusyTimeout = 5 * time.Second
	}
}

// Read is a column of a view that a statement reads. Column is "" where the
// rows are read but none of their columns, as in count(*). Both are in lower
// case.
type Read struct{ Table, Column string }

// Session is a read-only connection to a store for rules and queries. It
// works while the store is being written and when nobody writes it. Not safe
// for concurrent use.
//
// A statement that has returned a row and was not reset holds a read
// transaction, and while one is open the writer can neither reset its log nor
// reuse a page: read what is needed (two seconds at most), then Reset or
// Finalize.
type Session struct {
	conn     *sqlite.Conn
	auth     *authorizer
	deadline deadline
	narrowed bool // see Within

	// frozen: the store lies where nothing can be written, not even the shared
	// memory of the log, and was opened as a file that does not change.
	frozen bool
}

// OpenSession opens the store in dir for reading. A missing store gives an
// error that wraps fs.ErrNotExist.
func OpenSession(ctx context.Context, dir string, o SessionOptions) (*Session, error) {
	o.fillDefaults()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, FileName)
	switch err := checkHeader(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("open store: %w (has sentineld run with this --data-dir yet?)", err)
	case err != nil:
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Session{}
	err := s.open(path, o, false)
	// Without its log beside it the file is whole, and can be read where SQLite
	// cannot create the log's shared memory.
	if code := sqlite.ErrCode(err).ToPrimary(); err != nil && (code == sqlite.ResultCantOpen || code == sqlite.ResultReadOnly) {
		if wal, statErr := os.Stat(path + "-wal"); errors.Is(statErr, fs.ErrNotExist) || statErr == nil && wal.Size() == 0 {
			err = s.open(path, o, true)
		} else {
			err = fmt.Errorf("%w (the store was not closed, so that reading it needs write access to %s: use a copy of the directory)", err, dir)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

// open connects and reads the schema's version, which is the first that fails
// where the log cannot be used.
func (s *Session) open(path string, o SessionOptions, frozen bool) (err error) {
	uri := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path)}
	if !strings.HasPrefix(uri.Path, "/") { // C:/..., see sqlite.org/uri.html
		uri.Path = "/" + uri.Path
	}
	if !filepath.IsAbs(path) {
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		return s.open(abs, o, frozen)
	}
	if frozen {
		uri.RawQuery = "immutable=1"
	}
	conn, err := sqlite.OpenConn(uri.String(), sqlite.OpenReadOnly, sqlite.OpenURI)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	conn.SetBusyTimeout(o.BusyTimeout)
	h, err := rawConn(conn)
	if err != nil {
		return err
	}
	if v, err := userVersion(conn); err != nil {
		return err
	} else if err := checkVersion(path, v); err != nil {
		return err
	} else if want := len(migrations()); v < want {
		return fmt.Errorf("%s has schema version %d, this sentineld reads %d: let `sentineld run` migrate it first", path, v, want)
	}
	// A sort or a temporary table must not need a directory that can be written.
	for _, pragma := range [...]string{"temp_store=MEMORY", fmt.Sprintf("cache_size=-%d", o.CacheKiB)} {
		if err := execute(conn, "PRAGMA "+pragma); err != nil {
			return err
		}
	}
	if err := registerFunctions(conn); err != nil {
		return err
	}
	if err := h.setDefensive(); err != nil {
		return err
	}
	for limit, n := range map[sqlite.Limit]int32{
		sqlite.LimitLength: int32(o.MaxValueBytes), sqlite.LimitSQLLength: int32(o.MaxSQLBytes),
		sqlite.LimitColumn: 256, sqlite.LimitExprDepth: int32(o.MaxDepth), sqlite.LimitCompoundSelect: 16,
		sqlite.LimitVDBEOp: 25_000, sqlite.LimitFunctionArg: 32, sqlite.LimitAttached: 0,
		sqlite.LimitLikePatternLength: 1024, sqlite.LimitVariableNumber: 256,
		sqlite.LimitTriggerDepth: 0, sqlite.LimitWorkerThreads: 0,
	} {
		conn.Limit(limit, n)
	}
	s.conn, s.auth, s.frozen = conn, newAuthorizer(), frozen
	s.deadline.install(h)
	return s.auth.install(h)
}

// Conn is the connection below, for statements that Prepare or Trusted made.
// What is prepared on it directly is judged as a user's SQL.
func (s *Session) Conn() *sqlite.Conn { return s.conn }

// Trusted lets the authorizer pass everything while fn runs: it is for our own
// statements (temporary tables and views, and what fills them). A statement
// that was prepared in fn and is prepared anew later, after a change of the
// schema, is then judged as a user's. A temporary view may carry the name of a
// public one and stands in for it.
func (s *Session) Trusted(fn func() error) error {
	was := s.auth.trusted
	s.auth.trusted = true
	defer func() { s.auth.trusted = was }()
	return fn()
}

// Prepare compiles a user's SQL, which must be one statement that only reads:
// SELECT, VALUES or WITH ... SELECT. It also returns which columns of which
// views the statement reads, in the order of first use. Errors of syntax and
// names begin with LINE:COLUMN, a refusal wraps ErrForbidden. The caller
// finalizes the statement.
func (s *Session) Prepare(sql string) (*sqlite.Stmt, []Read, error) {
	if err := checkStatement(sql); err != nil {
		return nil, nil, err
	}
	if s.narrowed {
		if err := checkWhole(sql); err != nil {
			return nil, nil, err
		}
	}
	was := s.auth.trusted
	s.auth.trusted, s.auth.record, s.auth.denied, s.auth.reads = false, true, "", nil
	defer func() { s.auth.trusted, s.auth.record, s.auth.reads = was, false, nil }()
	stmt, tail, err := s.conn.PrepareTransient(sql)
	if err != nil {
		return nil, nil, s.explain(sql, err)
	}
	if rest := skipBlank(sql[len(sql)-tail:], true); rest != "" {
		stmt.Finalize()
		line, col := position(sql, len(sql)-len(rest))
		return nil, nil, fmt.Errorf("%d:%d: %w: more than one statement", line, col, ErrForbidden)
	}
	return stmt, s.auth.reads, nil
}

// PlanStep is one line of a plan; Depth is how far below the others it stands.
type PlanStep struct {
	Depth  int
	Detail string
}

// Plan is how SQLite would run a statement that Prepare accepts (EXPLAIN QUERY
// PLAN). Its text is for people: it names the tables below the views, and changes
// between versions.
func (s *Session) Plan(sql string) (plan []PlanStep, err error) {
	stmt, _, err := s.Prepare(sql)
	if err != nil {
		return nil, err
	}
	if err := stmt.Finalize(); err != nil {
		return nil, err
	}
	depth := map[int64]int{}
	err = s.Trusted(func() error {
		return query(s.conn, "EXPLAIN QUERY PLAN "+skipBlank(sql, true), func(st *sqlite.Stmt) {
			d := 0
			if above, ok := depth[st.ColumnInt64(1)]; ok {
				d = above + 1
			}
			depth[st.ColumnInt64(0)] = d
			plan = append(plan, PlanStep{Depth: d, Detail: st.ColumnText(3)})
		})
	})
	if err != nil {
		return nil, s.explain(sql, err)
	}
	return plan, nil
}

// explain replaces SQLite's "not authorized" by the reason, and says where.
func (s *Session) explain(sql string, err error) error {
	where := ""
	if offset, ok := sqlite.ErrorOffset(err); ok && offset <= len(sql) {
		line, col := position(sql, offset)
		where = fmt.Sprintf("%d:%d: ", line, col)
	}
	if s.auth.denied != "" {
		return fmt.Errorf("%s%w: %s", where, ErrForbidden, s.auth.denied)
	}
	if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultTooBig {
		return fmt.Errorf("%w: the statement is too long (at most %d bytes)", ErrForbidden, s.conn.Limit(sqlite.LimitSQLLength, -1))
	}
	// The driver's text is its own prefixes, then SQLite's message.
	text := err.Error()
	if _, message, ok := strings.Cut(text, "SQL logic error: "); ok {
		text = message
	}
	if text == "incomplete input" {
		line, col := position(sql, len(sql))
		where = fmt.Sprintf("%d:%d: ", line, col)
	}
	return &sqlError{text: where + text, err: err}
}

// sqlError is an error of SQLite without the driver's prefixes.
type sqlError struct {
	text string
	err  error
}

func (e *sqlError) Error() string { return e.text }
func (e *sqlError) Unwrap() error { return e.err }

// WithDeadline runs fn and stops whatever statement of this session runs in
// it after d (0 = never), or when ctx ends: its Step then fails, and if fn
// returns that error, WithDeadline returns one that wraps ErrDeadline. One
// single operation of SQLite is not interrupted; see MaxValueBytes. Calls do
// not nest.
func (s *Session) WithDeadline(ctx context.Context, d time.Duration, fn func() error) error {
	return s.deadline.run(ctx, d, fn)
}

// Frozen reports that the store was opened as a file that nobody changes,
// since it lies in a directory that cannot be written.
func (s *Session) Frozen() bool { return s.frozen }

// Close closes the connection. Statements that were not finalized make it
// fail.
func (s *Session) Close() error {
	if err := s.conn.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}
