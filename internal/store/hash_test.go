package store

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/sentineld/sentineld/internal/event"
	"zombiezen.com/go/sqlite"
)

func sha(c string) string { return strings.Repeat(c, 32) }

// hexSHA is how sha(c) is shown.
func hexSHA(c string) string { return fmt.Sprintf("%x", sha(c)) }

// hashed gives an exec its hash.
func hashed(e event.Event, hash string) event.Event {
	x := *e.Exec
	x.SHA256, x.Size, x.MTime, x.CTime = hash, 100, at(0), at(0)
	e.Exec, e.Known = &x, e.Known|event.KnownSHA256|event.KnownFileTimes
	return e
}

// late is the hash of an exec that came without.
func late(e event.Event, hash string) event.Event {
	return event.Event{
		Kind: event.KindHash, Source: e.Source, Known: event.KnownTime, Time: e.Time + 5*second, Process: e.Process,
		Hash: &event.Hash{ExecTime: e.Time, SHA256: hash, Exe: e.Exec.Exe, Dev: e.Exec.Dev, Inode: e.Exec.Inode, Size: 100, MTime: at(0)},
	}
}

const binariesSQL = "SELECT exe, substr(sha256, 1, 2), execs, (first_seen - 1760000000000000000) / 1000000000, (last_seen - 1760000000000000000) / 1000000000, substr(previous, 1, 2), size, inode FROM binaries ORDER BY exe, first_seen"

func TestLateHashFindsItsExec(t *testing.T) {
	db := open(t, t.TempDir())
	// Three execs of one process and one of another at one time, moved on.
	a, b, c := execEvent(2, 1, at(1), "/bin/a", "a"), execEvent(2, 1, at(1), "/bin/b", "b"), execEvent(2, 1, at(2), "/bin/c", "c")
	other := execEvent(3, 1, at(1), "/bin/a", "a")
	appendAll(t, db, other, a, b, c, exitEvent(2, at(3), 0, 0))
	got := appendAll(t, db, late(c, sha("c")), late(a, sha("a")))
	if got != (Appended{FirstSeq: 6, LastSeq: 7, Rows: 2, FirstTS: at(6)}) || db.LastSeq() != 7 {
		t.Errorf("%+v, last %d", got, db.LastSeq())
	}
	want(t, "execs", rows(t, db, "SELECT pid, name, substr(sha256, 1, 2), known LIKE '%sha256%' FROM execs"),
		"3 | a | <null> | 0", "2 | a | 61 | 1", "2 | b | <null> | 0", "2 | c | 63 | 1")
	want(t, "process", rows(t, db, "SELECT sha256 FROM processes WHERE pid = 2"), hexSHA("c"))
	want(t, "binaries", rows(t, db, binariesSQL), "/bin/a | 61 | 1 | 1 | 1 | <null> | 100 | 131099", "/bin/c | 63 | 1 | 2 | 2 | <null> | 100 | 131099")

	// A second hash, one of another file, of an unknown process or of none.
	wrong := late(b, sha("b"))
	wrong.Hash.Inode++
	nowhere := late(execEvent(9, 1, at(1), "/bin/a", "a"), sha("x"))
	elsewhen := late(b, sha("b"))
	elsewhen.Hash.ExecTime = at(100)
	short := late(b, "short")
	if got := appendAll(t, db, late(a, sha("z")), wrong, nowhere, elsewhen, short); got.Rows != 0 {
		t.Errorf("%+v", got)
	}
	if s := db.Stats(); s.Unmatched != 4 || s.Invalid != 1 || s.Rows[event.KindHash] != 2 {
		t.Errorf("%+v", s)
	}
	// What a rule has seen goes; the rest stays for it.
	count := func() int64 {
		var n int64
		db.mu.Lock()
		defer db.mu.Unlock()
		if err := query(db.conn, "SELECT count(*) FROM hash_rows", func(s *sqlite.Stmt) { n = s.ColumnInt64(0) }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if _, err := db.RecordAlerts(t.Context(), 6, nil, 0); err != nil || count() != 1 {
		t.Errorf("%d hash rows, %v", count(), err)
	}
	db.SetCursor("detect", 7)
	appendAll(t, db, forkEvent(20, 1, at(9)))
	if count() != 0 {
		t.Errorf("%d hash rows", count())
	}
}

// TestHashOfUnknownPath: the hash of an executable whose path is not known is as
// good as any, but there is no path at which a binary was seen.
func TestHashOfUnknownPath(t *testing.T) {
	db := open(t, t.TempDir())
	nameless := func(pid uint32, s int64) event.Event {
		e := execEvent(pid, 1, at(s), "")
		e.Known &^= event.KnownExe
		return e
	}
	a, b, c, d := nameless(2, 1), nameless(3, 2), execEvent(4, 1, at(3), "/bin/c", "c"), nameless(5, 4)
	appendAll(t, db, a, b, c, d)
	named, other := late(b, sha("b")), late(c, sha("c"))
	named.Hash.Exe, other.Hash.Exe = "/bin/c", "" // each is of another exec than it says
	if got := appendAll(t, db, late(a, sha("a")), named, other); got.Rows != 1 {
		t.Errorf("%+v", got)
	}
	found := hashed(d, sha("d")) // by a list of live processes
	found.Time = at(100)
	if _, err := db.Reconcile(t.Context(), []event.Event{snapshot(found)}, at(101)); err != nil {
		t.Fatal(err)
	}
	want(t, "execs", rows(t, db, "SELECT pid, exe, substr(sha256, 1, 2), known LIKE '%sha256%' FROM execs"),
		"2 | <null> | 61 | 1", "3 | <null> | <null> | 0", "4 | /bin/c | <null> | 0", "5 | <null> | 64 | 1")
	want(t, "binaries", rows(t, db, "SELECT count(*) FROM binaries"), "0")
	if s := db.Stats(); s.Rows[event.KindHash] != 2 || s.Unmatched != 2 {
		t.Errorf("%+v", s)
	}
}

// TestBinaries: one row for each content of each path of a device, which says what
// was there before, in whatever order the hashes come.
func TestBinaries(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	sh := func(pid uint32, s int64) event.Event { return execEvent(pid, 1, at(s), "/bin/sh", "sh") }
	second, third := sh(11, 20), sh(12, 30)
	second.Exec.Inode = 7 // replaced by rename
	appendAll(t, db, hashed(sh(10, 10), sha("a")), hashed(sh(13, 11), sha("a")), second, third, hashed(execEvent(14, 1, at(31), "/bin/ls", "ls"), sha("a")))
	want(t, "first", rows(t, db, binariesSQL), "/bin/ls | 61 | 1 | 31 | 31 | <null> | 100 | 131099", "/bin/sh | 61 | 2 | 10 | 11 | <null> | 100 | 131099")
	appendAll(t, db, late(third, sha("c"))) // comes before that of the second
	want(t, "third", rows(t, db, binariesSQL+" LIMIT -1 OFFSET 2"), "/bin/sh | 63 | 1 | 30 | 30 | 61 | 100 | 131099")
	appendAll(t, db, late(second, sha("b")))
	want(t, "changed", rows(t, db, "SELECT substr(sha256, 1, 2), substr(previous, 1, 2), inode FROM binaries WHERE previous IS NOT NULL ORDER BY first_seen"),
		"62 | 61 | 7", "63 | 61 | 131099")

	// Changed back: the row says so, and counts on. What runs still is no change.
	running := snapshot(hashed(sh(15, 50), sha("b")))
	appendAll(t, db, hashed(sh(16, 40), sha("a")), running)
	want(t, "back", rows(t, db, binariesSQL+" LIMIT -1 OFFSET 1"),
		"/bin/sh | 61 | 3 | 10 | 40 | 63 | 100 | 131099", "/bin/sh | 62 | 1 | 20 | 50 | 61 | 100 | 131099", "/bin/sh | 63 | 1 | 30 | 30 | 61 | 100 | 131099")

	// The first content comes last of all.
	x, y := execEvent(20, 1, at(60), "/bin/x", "x"), execEvent(21, 1, at(61), "/bin/x", "x")
	appendAll(t, db, x, hashed(y, sha("2")))
	appendAll(t, db, late(x, sha("1")))
	want(t, "late first", rows(t, db, "SELECT substr(sha256, 1, 2), substr(previous, 1, 2) FROM binaries WHERE exe = '/bin/x' ORDER BY first_seen"), "31 | <null>", "32 | 31")

	// Without times and inode, these are not known.
	bare := execEvent(22, 1, at(70), "/bin/bare", "x")
	bare.Exec.SHA256 = sha("3")
	bare.Known = bare.Known&^event.KnownFile | event.KnownSHA256
	appendAll(t, db, bare)
	want(t, "bare", rows(t, db, "SELECT dev, inode, size, mtime FROM binaries WHERE exe = '/bin/bare'"), "<null> | <null> | <null> | <null>")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir)
	appendAll(t, db, hashed(sh(30, 80), sha("a")))
	want(t, "after a restart", rows(t, db, "SELECT execs FROM binaries WHERE exe = '/bin/sh' AND sha256 = '"+hexSHA("a")+"'"), "4")
}

// TestBinariesOfContainers: two images with different contents at one path have not
// changed, whoever runs when; a file that is replaced in one of them has.
func TestBinariesOfContainers(t *testing.T) {
	db := open(t, t.TempDir())
	run := func(pid uint32, dev uint64) event.Event {
		e := execEvent(pid, 1, at(int64(pid)), "/bin/true", "true")
		e.Exec.Dev = dev
		return e
	}
	one, two := run(12, 40), run(13, 41)
	appendAll(t, db, hashed(run(10, 40), sha("a")), hashed(run(11, 41), sha("b")), one, two)
	const all = "SELECT dev, substr(sha256, 1, 2), execs, substr(previous, 1, 2) FROM binaries ORDER BY dev, first_seen"
	appendAll(t, db, late(one, sha("a")), late(two, sha("b")), hashed(run(14, 40), sha("a")))
	want(t, "two images", rows(t, db, all), "40 | 61 | 3 | <null>", "41 | 62 | 2 | <null>")
	three := run(20, 41)
	appendAll(t, db, three, hashed(run(21, 42), sha("c")))
	appendAll(t, db, late(three, sha("a"))) // by now what the other image has
	want(t, "replaced in one", rows(t, db, all), "40 | 61 | 3 | <null>", "41 | 62 | 2 | <null>", "41 | 61 | 1 | 62", "42 | 63 | 1 | <null>")

	// What runs is found by /proc, which may have another name for the device.
	quiet := run(30, 40)
	appendAll(t, db, quiet)
	appendAll(t, db, snapshot(hashed(run(30, 99), sha("d"))))
	want(t, "found running", rows(t, db, all+" LIMIT 2"), "40 | 61 | 3 | <null>", "40 | 64 | 1 | 61")
}

// A store of version 4 knows of each content the device where it was seen last: what
// it calls a change is one only if the content before was seen there, too.
func TestUpgradeOfBinaries(t *testing.T) {
	dir := oldStore(t, 4, `
		INSERT INTO strings VALUES (1, '/bin/true'), (2, 'aa'), (3, 'bb'), (4, 'cc'), (5, 'dd');
		INSERT INTO binary_rows VALUES (1, 2, 40, 7, 100, 1, 10, 20, 3, NULL), (1, 3, 41, 7, 100, 1, 11, 21, 2, 2),
			(1, 4, 41, 8, 100, 2, 12, 22, 1, 3), (1, 5, NULL, NULL, NULL, NULL, 13, 23, 1, 4);`)
	db := open(t, dir)
	want(t, "rows", rows(t, db, "SELECT sha256, exe, dev, inode, size, mtime, first_seen, last_seen, execs, previous FROM binaries ORDER BY first_seen"),
		"aa | /bin/true | 40 | 7 | 100 | 1 | 10 | 20 | 3 | <null>", "bb | /bin/true | 41 | 7 | 100 | 1 | 11 | 21 | 2 | <null>",
		"cc | /bin/true | 41 | 8 | 100 | 2 | 12 | 22 | 1 | bb", "dd | /bin/true | <null> | <null> | <null> | <null> | 13 | 23 | 1 | <null>")
}

// TestHashOfWhatWasFoundRunning: a list of live processes brings hashes that were
// not known, for execs that were stored long before.
func TestHashOfWhatWasFoundRunning(t *testing.T) {
	db := open(t, t.TempDir())
	a, b, c := execEvent(2, 1, at(1), "/bin/a", "a"), execEvent(3, 1, at(2), "/bin/b", "b"), execEvent(4, 1, at(3), "/bin/c", "c")
	appendAll(t, db, a, b, forkEvent(5, 2, at(4)), c)
	again := func(e event.Event) event.Event {
		e.Time = at(100)
		return snapshot(e)
	}
	child := again(execEvent(5, 2, at(4), "/bin/a", "a"))
	other := hashed(again(c), sha("c"))
	other.Exec.Inode++ // runs another file by now
	got, err := db.Reconcile(context.Background(), []event.Event{again(a), hashed(again(b), sha("b")), child, other, again(execEvent(6, 1, at(5), "/bin/d", "d"))}, at(101))
	if err != nil || got.Rows != 3+1 { // a hash, an exec, a process; and process 1 is gone
		t.Errorf("%+v %v", got, err)
	}
	appendAll(t, db, late(child, sha("a")), late(again(execEvent(6, 1, at(5), "/bin/d", "d")), sha("d")))
	want(t, "execs", rows(t, db, "SELECT name, substr(sha256, 1, 2), source FROM execs"), "a | 61 | ebpf", "b | 62 | ebpf", "c | <null> | ebpf", "c | 63 | snapshot", "d | 64 | snapshot")
	want(t, "binaries", rows(t, db, binariesSQL),
		"/bin/a | 61 | 1 | 1 | 1 | <null> | 100 | 131099", "/bin/b | 62 | 1 | 2 | 2 | <null> | 100 | 131099",
		"/bin/c | 63 | 0 | 100 | 100 | <null> | 100 | 131100", "/bin/d | 64 | 0 | 100 | 100 | <null> | 100 | 131099")
}

// TestHashesAreRolledBack: what a failed transaction saw is not counted by the
// next one.
func TestHashesAreRolledBack(t *testing.T) {
	db := open(t, t.TempDir())
	e := execEvent(2, 1, at(1), "/bin/a", "a")
	appendAll(t, db, e)
	db.mu.Lock()
	err := db.transact(func() error {
		var a Appended
		h := late(e, sha("a"))
		x := hashed(execEvent(3, 1, at(2), "/bin/b", "b"), sha("b"))
		if err := db.apply(&h, false, &a); err != nil || a.Rows != 1 {
			t.Errorf("%+v %v", a, err)
		}
		if err := db.apply(&x, false, &a); err != nil {
			t.Error(err)
		}
		return context.DeadlineExceeded
	})
	db.mu.Unlock()
	if err == nil {
		t.Fatal("it was committed")
	}
	want(t, "nothing", rows(t, db, "SELECT count(*), count(sha256) FROM execs"), "1 | 0")
	appendAll(t, db, late(e, sha("a")))
	want(t, "binaries", rows(t, db, binariesSQL), "/bin/a | 61 | 1 | 1 | 1 | <null> | 100 | 131099")
	if s := db.Stats(); s.Rows[event.KindHash] != 1 || s.Unmatched != 0 {
		t.Errorf("%+v", s)
	}
}
