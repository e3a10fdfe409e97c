package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sentineld/sentineld/internal/event"
	"zombiezen.com/go/sqlite"
)

func TestForeignFilesAreRefusedUntouched(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other.db")
	conn, err := sqlite.OpenConn(other) // in WAL mode
	if err != nil {
		t.Fatal(err)
	}
	if err := execute(conn, "CREATE TABLE x(y)"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	sqliteFile, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"text": []byte("hello\n"), "long text": bytes.Repeat([]byte("x"), 8192), "other database": sqliteFile,
		"cut": []byte("SQLite format 3\x00"),
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, FileName)
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(t.Context(), Options{Dir: dir})
		_, sessionErr := OpenSession(t.Context(), dir, SessionOptions{})
		for _, err := range []error{err, sessionErr} {
			if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "--data-dir") || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, content) {
			t.Errorf("%s: the file was changed", name)
		}
		if files, _ := os.ReadDir(dir); len(files) != 1 {
			t.Errorf("%s: files were made: %v", name, files)
		}
	}
}

func TestNewerStoreIsRefused(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if err := execute(db.conn, "PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	sum := func() [32]byte {
		b, err := os.ReadFile(filepath.Join(dir, FileName))
		if err != nil {
			t.Fatal(err)
		}
		return sha256.Sum256(b)
	}
	before := sum()
	_, err := Open(t.Context(), Options{Dir: dir})
	_, sessionErr := OpenSession(t.Context(), dir, SessionOptions{})
	for _, err := range []error{err, sessionErr} {
		if !errors.Is(err, ErrNewer) {
			t.Fatal(err)
		}
		for _, s := range []string{"version 99", fmt.Sprintf("up to %d", len(migrations())), "upgrade sentineld", "--data-dir"} {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%v does not say %q", err, s)
			}
		}
	}
	if sum() != before {
		t.Error("the file was changed")
	}
}

func TestSchemaIsMarked(t *testing.T) {
	db := open(t, t.TempDir())
	for pragma, wanted := range map[string]int{
		"application_id": applicationID, "user_version": len(migrations()), "synchronous": 1, "wal_autocheckpoint": 4000, "temp_store": 2,
	} {
		if got, err := pragmaInt(db.conn, pragma); got != wanted || err != nil {
			t.Errorf("%s is %d, %v, want %d", pragma, got, err, wanted)
		}
	}
	if info, err := os.Stat(db.Path()); err != nil || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("%v, %v", info, err)
	}
}

// A store of version 1 goes on as it is, with its rows under the new views.
func TestUpgradeFromVersion1(t *testing.T) {
	dir := oldStore(t, 1, `
		INSERT INTO boots VALUES (1, x'abcdef01020304050607080910111213', 'abcdef01');
		INSERT INTO procs(id, boot, pid, start, first_ts, image, execs) VALUES (1, 1, 2, 20, 5, 5, 1);
		INSERT INTO strings VALUES (1, '/bin/old');
		INSERT INTO exec_rows(ts, seq, proc, exec_no, source, known, exe, flags) VALUES (5, 1, 1, 1, 1, 2097408, 1, 24);
		INSERT INTO cursors VALUES ('#seq', 1);`)
	db := open(t, dir)
	appendAll(t, db, execEvent(2, 1, at(1), "/bin/new", "new"))
	want(t, "rows", rows(t, db, "SELECT seq, exe, gained, env, redacted FROM execs"),
		`1 | /bin/old | ["setuid","setgid"] | <null> | 0`, "2 | /bin/new | [] | <null> | 0")
}

// A start that is killed leaves any of these behind, and the next one goes on.
func TestHalfMadeStores(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"empty file": func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"marked only": func(path string) error {
			conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate)
			if err != nil {
				return err
			}
			return errors.Join(execute(conn, fmt.Sprintf("PRAGMA application_id=%d", applicationID)), conn.Close())
		},
	} {
		dir := t.TempDir()
		if err := make(filepath.Join(dir, FileName)); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenSession(t.Context(), dir, SessionOptions{}); err == nil || !strings.Contains(err.Error(), "sentineld run") {
			t.Errorf("%s: session: %v", name, err)
		}
		db := open(t, dir)
		appendAll(t, db, execEvent(2, 1, at(1), "/bin/x"))
	}
}

func TestOpenCreatesThePrivateDirectory(t *testing.T) {
	name := "b c?#%"
	if runtime.GOOS == "windows" {
		name = "b c#%"
	}
	dir := filepath.Join(t.TempDir(), "a", name)
	db := open(t, dir)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 && runtime.GOOS != "windows" {
		t.Errorf("%v, %v", info, err)
	}
	appendAll(t, db, execEvent(2, 1, at(1), "/bin/x"))
	want(t, "rows", rows(t, db, "SELECT exe FROM execs"), "/bin/x")
	if _, err := Open(t.Context(), Options{Dir: filepath.Join(dir, FileName)}); err == nil {
		t.Error("a file was taken for a directory")
	}
}

// What a failed transaction left in memory is gone, and when it cannot be read
// again the store stops.
func TestFailures(t *testing.T) {
	db := open(t, t.TempDir())
	appendAll(t, db, execEvent(2, 1, at(1), "/bin/x"))
	if err := execute(db.conn, "CREATE TEMP TRIGGER fail BEFORE INSERT ON main.exit_rows BEGIN SELECT RAISE(ABORT, 'broken'); END"); err != nil {
		t.Fatal(err)
	}
	before := db.Stats()
	db.SetCursor("c", 1)
	_, err := db.Append(t.Context(), append(mix(0, 10), exitEvent(2, at(3), 0, 0)))
	if !errors.Is(err, ErrRetry) || errors.Is(err, ErrFatal) || !strings.Contains(err.Error(), "broken") {
		t.Fatal(err)
	}
	if after := db.Stats(); after.Rows != before.Rows || after.Live != before.Live || db.LastSeq() != 1 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if n, err := db.Cursor(t.Context(), "c"); n != 1 || err != nil {
		t.Errorf("cursor %d, %v", n, err)
	}
	if err := execute(db.conn, "DROP TRIGGER fail"); err != nil {
		t.Fatal(err)
	}
	if a := appendAll(t, db, mix(0, 10)...); a.FirstSeq != 2 || a.Rows != 30 {
		t.Errorf("appended %+v", a)
	}

	if err := execute(db.conn, "ALTER TABLE strings RENAME TO lost"); err != nil {
		t.Fatal(err)
	}
	if _, err = db.Append(t.Context(), []event.Event{execEvent(9, 1, at(1), "/bin/new")}); !errors.Is(err, ErrFatal) {
		t.Errorf("without a table: %v", err)
	}
	if _, err = db.RecordAlerts(t.Context(), 1, nil, 0); !errors.Is(err, ErrFatal) {
		t.Errorf("afterwards: %v", err)
	}
}
