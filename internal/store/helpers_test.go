package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentineld/sentineld/internal/event"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

var testBoot = event.BootID{0xab, 0xcd, 0xef, 0x01, 5: 7}

const (
	bootNS = int64(1_760_000_000_000_000_000)
	second = int64(1_000_000_000)
)

func open(t testing.TB, dir string) *DB {
	t.Helper()
	db, err := Open(t.Context(), Options{Dir: dir, BootTime: func() int64 { return bootNS }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// oldStore makes a store of an earlier schema version with rows in it, and returns its
// directory.
func oldStore(t *testing.T, version int, rows string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	conn, err := sqlite.OpenConn(filepath.Join(dir, FileName), sqlite.OpenReadWrite, sqlite.OpenCreate)
	if err != nil {
		t.Fatal(err)
	}
	if err := registerFunctions(conn); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("PRAGMA application_id = %d; %s; PRAGMA user_version = %d; %s",
		applicationID, strings.Join(migrations()[:version], ";\n"), version, rows)
	if err := errors.Join(sqlitex.ExecuteScript(conn, script, nil), conn.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func key(pid uint32) event.ProcessKey {
	return event.ProcessKey{Boot: testBoot, PID: pid, Start: uint64(pid) * 10}
}

// at is a time in seconds after boot.
func at(s int64) int64 { return bootNS + s*second }

func argv(args ...string) string {
	if len(args) == 0 {
		return ""
	}
	return strings.Join(args, "\x00") + "\x00"
}

const knownAll = 1<<26 - 1

func execEvent(pid, ppid uint32, ts int64, exe string, args ...string) event.Event {
	a := argv(args...)
	return event.Event{
		Kind: event.KindExec, Source: event.SourceEBPF, Time: ts, Process: key(pid), Parent: key(ppid),
		StartNS: uint64(pid)*10*event.TickNS + 5,
		Known:   knownAll &^ (event.KnownSHA256 | event.KnownCode | event.KnownLost),
		Exec: &event.Exec{
			UID: 1000, GID: 1000, EUID: 1000, EGID: 1000, AUID: 1000, SID: ppid, TTY: 136<<8 | 3, Argc: uint32(len(args)),
			Exe: exe, Invoked: exe, Cwd: "/home/ann", Comm: exe[strings.LastIndexByte(exe, '/')+1:], Cgroup: "/user.slice",
			Args: a, ArgsLen: uint64(len(a)), PIDNS: 4026531836, MntNS: 4026531840, NSPID: pid,
			Dev: 2050, Inode: 131099, Nlink: 1, User: "ann",
		},
	}
}

func forkEvent(pid, ppid uint32, ts int64) event.Event {
	return event.Event{
		Kind: event.KindFork, Source: event.SourceEBPF, Time: ts, Process: key(pid), Parent: key(ppid),
		Known: event.KnownTime | event.KnownParent | event.KnownStart, StartNS: uint64(pid) * 10 * event.TickNS,
	}
}

func exitEvent(pid uint32, ts int64, code, signal uint8) event.Event {
	return event.Event{
		Kind: event.KindExit, Source: event.SourceEBPF, Time: ts, Process: key(pid),
		Known: event.KnownTime | event.KnownCode, Exit: &event.Exit{Code: code, Signal: signal},
	}
}

func snapshot(e event.Event) event.Event {
	e.Source = event.SourceSnapshot
	e.Known &^= event.KnownTime
	return e
}

func appendAll(t testing.TB, db *DB, events ...event.Event) Appended {
	t.Helper()
	a, err := db.Append(context.Background(), events)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func session(t testing.TB, dir string) *Session {
	t.Helper()
	s, err := OpenSession(t.Context(), dir, SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// rows runs a user's query in a session of its own and returns its rows,
// columns joined by " | ", NULL as <null>.
func rows(t testing.TB, db *DB, sql string) []string {
	t.Helper()
	s, err := OpenSession(t.Context(), db.o.Dir, SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := sessionRows(s, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return out
}

func sessionRows(s *Session, sql string) ([]string, error) {
	stmt, _, err := s.Prepare(sql)
	if err != nil {
		return nil, err
	}
	defer stmt.Finalize()
	var out []string
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return out, err
		}
		out = append(out, rowText(stmt))
	}
}

func rowText(stmt *sqlite.Stmt) string {
	cols := make([]string, stmt.ColumnCount())
	for i := range cols {
		if cols[i] = stmt.ColumnText(i); stmt.ColumnIsNull(i) {
			cols[i] = "<null>"
		}
	}
	return strings.Join(cols, " | ")
}

func want(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}
