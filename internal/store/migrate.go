package store

import (
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// applicationID marks the file as a SentinelD store (file(1) shows it too):
// the letters SntD.
const applicationID = 0x536e7444

//go:embed schema/*.sql
var schemaFiles embed.FS

// migrations are the steps from one schema version to the next: the first
// makes version 1 from nothing.
func migrations() []string {
	names, _ := fs.Glob(schemaFiles, "schema/*.sql") // sorted, and the pattern is valid
	steps := make([]string, len(names))
	for i, name := range names {
		text, _ := schemaFiles.ReadFile(name) // it is in the binary
		steps[i] = string(text)
	}
	return steps
}

// checkHeader refuses a file that is not a SentinelD store, without SQLite, so
// that nothing is made beside it either. A file without content passes: it is
// what remains of a start that was killed. The id is in the file itself and
// never only in the log, since it is the first thing that is written.
func checkHeader(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	foreign := func(what string) error {
		return fmt.Errorf("%w: %s is %s: move it away or choose another --data-dir", ErrForeign, path, what)
	}
	var h [100]byte // sqlite.org/fileformat2.html, 1.3
	switch n, err := io.ReadFull(f, h[:]); {
	case n == 0 && err == io.EOF:
		return nil
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case n < len(h) || string(h[:16]) != "SQLite format 3\x00":
		return foreign("not a SQLite database")
	}
	if id := binary.BigEndian.Uint32(h[68:]); id != applicationID {
		return foreign(fmt.Sprintf("a SQLite database of something else (application id %#x)", id))
	}
	return nil
}

func checkVersion(path string, have int) error {
	if want := len(migrations()); have > want {
		return fmt.Errorf("%w: %s has schema version %d, this sentineld knows up to %d: upgrade sentineld or choose another --data-dir",
			ErrNewer, path, have, want)
	}
	return nil
}

// migrate brings an opened store of an older schema version to the newest,
// each step in one transaction.
func migrate(conn *sqlite.Conn, path string, version int) error {
	for i, step := range migrations() {
		if i < version {
			continue
		}
		script := fmt.Sprintf("%s;\nPRAGMA user_version = %d;", step, i+1)
		if err := sqlitex.ExecScript(conn, script); err != nil { // in a savepoint of its own
			return fmt.Errorf("migrate %s to schema version %d: %w", path, i+1, err)
		}
	}
	return nil
}

func userVersion(conn *sqlite.Conn) (int, error) { return pragmaInt(conn, "user_version") }

func pragmaInt(conn *sqlite.Conn, name string) (n int, err error) {
	err = query(conn, "PRAGMA "+name, func(s *sqlite.Stmt) { n = s.ColumnInt(0) })
	return n, err
}

// execute runs one statement without a result that matters.
func execute(conn *sqlite.Conn, sql string) error { return query(conn, sql, func(*sqlite.Stmt) {}) }

// query runs one statement that is not kept.
func query(conn *sqlite.Conn, sql string, row func(*sqlite.Stmt), args ...any) (err error) {
	stmt, _, err := conn.PrepareTransient(sql)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stmt.Finalize()) }()
	for i, a := range args {
		switch a := a.(type) {
		case int64:
			stmt.BindInt64(i+1, a)
		case string:
			stmt.BindText(i+1, a)
		case []byte:
			stmt.BindBytes(i+1, a)
		default:
			return fmt.Errorf("bind %T", a)
		}
	}
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return err
		}
		row(stmt)
	}
}
