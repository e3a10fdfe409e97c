package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"zombiezen.com/go/sqlite"
)

// writerDir makes the test binary a writer that appends until it is killed.
const writerDir = "STORE_TEST_WRITER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		write(dir)
	}
	os.Exit(m.Run())
}

func write(dir string) {
	fail := func(err error) {
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	db, err := Open(ctx, Options{Dir: dir})
	fail(err)
	for i := int(db.LastSeq()); ; i += 100 {
		_, err := db.AppendFrom(ctx, mix(i, 100), "s", uint64(i+100))
		fail(err)
		fmt.Println(db.LastSeq(), i+100)
	}
}

func TestKilledWriterLosesNothing(t *testing.T) {
	dir := t.TempDir()
	for round := range 5 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), writerDir+"="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		var acked, position int64
		for n := 0; lines.Scan(); n++ {
			seq, pos, _ := strings.Cut(lines.Text(), " ")
			if acked, err = strconv.ParseInt(seq, 10, 64); err != nil {
				t.Fatal(lines.Text())
			}
			position, _ = strconv.ParseInt(pos, 10, 64)
			if n == 10+7*round {
				child.Process.Kill()
			}
		}
		child.Wait()

		// First as a query finds it, then as the next agent does.
		s, err := OpenSession(t.Context(), dir, SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := sessionRows(s, "SELECT (SELECT count(*) FROM execs) + (SELECT count(*) FROM forks) + (SELECT count(*) FROM exits)")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		db := open(t, dir)
		if stored, _ := strconv.ParseInt(got[0], 10, 64); stored < acked || stored != db.LastSeq() {
			t.Errorf("%d acknowledged, %d stored, last %d", acked, stored, db.LastSeq())
		}
		if _, seq, err := db.Position(t.Context()); err != nil || int64(seq) < position {
			t.Errorf("position %d, %v, acknowledged %d", seq, err, position)
		}
		if err := query(db.conn, "PRAGMA integrity_check", func(r *sqlite.Stmt) {
			if r.ColumnText(0) != "ok" {
				t.Errorf("integrity: %s", r.ColumnText(0))
			}
		}); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// mount makes a file system for the test.
func mount(t *testing.T, source, kind, options string, flags uintptr) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount(source, dir, kind, flags, options); err != nil {
		t.Skipf("needs CAP_SYS_ADMIN to mount a file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDisk(t *testing.T) {
	dir := mount(t, "tmpfs", "tmpfs", "size=4m", 0)
	db, err := Open(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	stored := 0
	for i := 0; ; i += 300 {
		a, err := db.Append(t.Context(), mix(i, 300))
		if err == nil {
			stored += a.Rows
			continue
		}
		if !errors.Is(err, ErrRetry) || errors.Is(err, ErrFatal) {
			t.Fatal(err)
		}
		t.Logf("after %d rows: %v", stored, err)
		break
	}
	if stored == 0 || db.LastSeq() != int64(stored) {
		t.Errorf("stored %d, last %d", stored, db.LastSeq())
	}
	// It stays so, and what is there can be read.
	if _, err := db.Append(t.Context(), mix(stored, 300)); !errors.Is(err, ErrRetry) {
		t.Errorf("again: %v", err)
	}
	total := "SELECT (SELECT count(*) FROM execs) + (SELECT count(*) FROM forks) + (SELECT count(*) FROM exits)"
	want(t, "rows", rows(t, db, total), fmt.Sprint(stored))

	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=32m"); err != nil {
		t.Fatal(err)
	}
	a, err := db.Append(t.Context(), mix(stored/3, 300))
	if err != nil || a.FirstSeq != int64(stored)+1 {
		t.Fatalf("with space again: %+v, %v", a, err)
	}
	want(t, "rows", rows(t, db, total), fmt.Sprint(stored+a.Rows))
	if err := query(db.conn, "PRAGMA integrity_check", func(r *sqlite.Stmt) { want(t, "integrity", []string{r.ColumnText(0)}, "ok") }); err != nil {
		t.Error(err)
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	appendAll(t, db, execEvent(2, 1, at(1), "/bin/x"))
	crashed := t.TempDir() // as kill -9 leaves it
	for _, name := range [...]string{FileName, FileName + "-wal", FileName + "-shm"} {
		copyFile(t, filepath.Join(dir, name), filepath.Join(crashed, name))
	}
	noShm := t.TempDir()
	for _, name := range [...]string{FileName, FileName + "-wal"} {
		copyFile(t, filepath.Join(dir, name), filepath.Join(noShm, name))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	readOnly := func(dir string) string {
		target := mount(t, dir, "", "", syscall.MS_BIND)
		if err := syscall.Mount("", target, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			t.Skipf("needs to mount read-only: %v", err)
		}
		return target
	}
	for name, dir := range map[string]string{"closed": dir, "crashed": crashed} {
		s, err := OpenSession(t.Context(), readOnly(dir), SessionOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := sessionRows(s, "SELECT exe FROM execs")
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want(t, name, got, "/bin/x")
		if s.Frozen() != (name == "closed") {
			t.Errorf("%s: frozen %v", name, s.Frozen())
		}
		s.Close()
	}
	if _, err := OpenSession(t.Context(), readOnly(noShm), SessionOptions{}); err == nil || !strings.Contains(err.Error(), "use a copy") {
		t.Errorf("log without shared memory: %v", err)
	}
	if s, err := OpenSession(t.Context(), noShm, SessionOptions{}); err != nil {
		t.Errorf("the same, writable: %v", err)
	} else {
		got, err := sessionRows(s, "SELECT exe FROM execs")
		if err != nil {
			t.Error(err)
		}
		want(t, "log without shared memory", got, "/bin/x")
		s.Close()
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
