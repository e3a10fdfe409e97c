package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/sentineld/sentineld/internal/event"
)

func TestEventsOfOneMomentKeepTheirOrder(t *testing.T) {
	db := open(t, t.TempDir())
	for range 2 { // the second time into taken keys
		var batch []event.Event
		for pid := uint32(10); pid < 15; pid++ {
			x := execEvent(pid, 1, at(1), "/bin/x", "x")
			batch = append(batch, x)
		}
		appendAll(t, db, batch...)
	}
	var wanted []string
	for i := range 10 {
		wanted = append(wanted, fmt.Sprintf("%d | %d | %d", i+1, at(1)+int64(i), 10+i%5))
	}
	want(t, "rows", rows(t, db, "SELECT seq, ts, pid FROM execs ORDER BY ts"), wanted...)
	a := appendAll(t, db, execEvent(20, 1, at(9), "/bin/y"), execEvent(20, 1, at(0), "/bin/z"), execEvent(20, 1, at(1)+4, "/bin/z"))
	if a.FirstTS != at(0) {
		t.Errorf("first ts %d", a.FirstTS)
	}
	want(t, "late", rows(t, db, "SELECT seq, ts, exec_no FROM execs WHERE pid = 20 ORDER BY seq"),
		fmt.Sprint("11 | ", at(9), " | 1"), fmt.Sprint("12 | ", at(0), " | 2"), fmt.Sprint("13 | ", at(1)+10, " | 3"))
}

// The same events give the same rows whether the store was reopened between
// them or not.
func TestReopeningChangesNothing(t *testing.T) {
	batches := [][]event.Event{
		{execEvent(1, 0, at(1), "/sbin/init"), forkEvent(2, 1, at(2)), execEvent(2, 1, at(3), "/usr/sbin/sshd", "sshd", "-D")},
		{forkEvent(3, 2, at(4))},
		{forkEvent(4, 3, at(5)), execEvent(4, 3, at(6), "/bin/bash", "bash", "a b"), forkEvent(5, 4, at(7))},
		{forkEvent(6, 5, at(8)), exitEvent(5, at(9), 0, 0), exitEvent(9, at(9), 0, 0)},
		{execEvent(6, 5, at(10), "/bin/ls", "ls"), forkEvent(6, 5, at(8)), exitEvent(5, at(11), 1, 0), exitEvent(6, at(12), 2, 0)},
		{snapshot(execEvent(4, 3, at(13), "/bin/bash", "bash", "a b")), snapshot(execEvent(2, 1, at(13), "/usr/sbin/sshd", "sshd: listener"))},
		{execEvent(7, 4, at(14), "/bin/ps", "ps"), execEvent(7, 4, at(15), "/bin/ps", "ps")},
	}
	for _, b := range batches { // init's parent is nobody
		for i := range b {
			if b[i].Process.PID == 1 {
				b[i].Parent = event.ProcessKey{}
			}
		}
	}
	dump := func(reopen bool) string {
		dir := t.TempDir()
		db := open(t, dir)
		for _, b := range batches {
			appendAll(t, db, b...)
			if reopen {
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
				db = open(t, dir)
			}
		}
		if s := db.Stats(); !reopen && (s.Duplicates != 2 || s.Unchanged != 1 || s.Live != 5 || s.Rows != [event.NumKinds]int64{0, 7, 5, 3}) {
			t.Errorf("stats %+v", s)
		}
		var out strings.Builder
		for _, view := range Views() {
			fmt.Fprintln(&out, view, strings.Join(rows(t, db, "SELECT * FROM "+view+" ORDER BY ts"), "\n"))
		}
		return out.String()
	}
	once, often := dump(false), dump(true)
	if once != often {
		t.Errorf("kept open:\n%s\nreopened:\n%s", once, often)
	}
	// 3 and 5 forked and did not exec, so that they are their parent's program.
	if !strings.Contains(once, `["/bin/bash","/usr/sbin/sshd","/usr/sbin/sshd","/sbin/init"]`) ||
		!strings.Contains(once, `["/bin/bash","/bin/bash","/usr/sbin/sshd","/usr/sbin/sshd","/sbin/init"]`) {
		t.Errorf("lineage is not in\n%s", once)
	}
}

func TestForkInheritsWhatExecChanges(t *testing.T) {
	db := open(t, t.TempDir())
	appendAll(t, db, execEvent(2, 1, at(1), "/bin/bash", "bash"), forkEvent(3, 2, at(2)))
	want(t, "forked", rows(t, db, "SELECT exe, cmdline, execs FROM processes WHERE pid = 3"), "/bin/bash | bash | 0")
	appendAll(t, db, execEvent(3, 2, at(3), "/bin/ls", "ls"), execEvent(3, 2, at(4), "/bin/id", "id"), execEvent(2, 1, at(5), "/bin/zsh", "zsh"))
	want(t, "execs", rows(t, db, "SELECT exec_no, exe, parent_exe FROM execs WHERE pid = 3"), "1 | /bin/ls | /bin/bash", "2 | /bin/id | /bin/bash")
	appendAll(t, db, execEvent(3, 2, at(6), "/bin/id", "id"))
	want(t, "then", rows(t, db, "SELECT exec_no, parent_exe, ancestors FROM execs WHERE ts = "+fmt.Sprint(at(6))), `3 | /bin/zsh | ["/bin/zsh"]`)
}

func TestDuration(t *testing.T) {
	db := open(t, t.TempDir())
	// Times of the wall clock say nothing of it: it may have been set meanwhile.
	told, late := exitEvent(2, at(1), 0, 0), exitEvent(4, at(5), 0, 0)
	told.Exit.DurationNS, told.Known = 7_000_000_001, told.Known|event.KnownDuration
	late.Known = event.KnownCode
	appendAll(t, db, forkEvent(2, 1, at(2)), told, forkEvent(4, 1, at(2)), late)
	want(t, "duration", rows(t, db, "SELECT pid, duration_ns FROM exits ORDER BY seq"), "2 | 7000000001", "4 | <null>")
}

func TestStartIsNotKnownWithoutBootTime(t *testing.T) {
	db, err := Open(t.Context(), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	appendAll(t, db, execEvent(3, 1, at(2), "/bin/x"), exitEvent(3, at(3), 0, 0))
	want(t, "started", rows(t, db, "SELECT started, ts FROM processes WHERE pid = 3"), "<null> | 1760000002000000000")
	want(t, "duration", rows(t, db, "SELECT duration_ns FROM exits"), "<null>")
}

func TestInvalidEventsAreCounted(t *testing.T) {
	db := open(t, t.TempDir())
	a := appendAll(t, db, event.Event{}, event.Event{Kind: event.KindExec, Process: key(2)}, event.Event{Kind: event.KindExit, Process: key(2)},
		event.Event{Kind: event.KindGap}, event.Event{Kind: event.KindFork}, event.Event{Kind: 77})
	if a != (Appended{}) || db.Stats().Invalid != 6 || db.LastSeq() != 0 {
		t.Errorf("appended %+v, stats %+v", a, db.Stats())
	}
	if a := appendAll(t, db); a != (Appended{}) {
		t.Errorf("empty batch: %+v", a)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	db, err := Open(t.Context(), Options{Dir: t.TempDir(), MaxStringBytes: 2000, MaxExited: 10, MaxProcesses: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for i := range uint32(50) {
		var batch []event.Event
		for j := range uint32(10) {
			pid := 100 + i*10 + j
			batch = append(batch, execEvent(pid, 1, at(int64(pid)), fmt.Sprint("/bin/", pid), "x"))
			if j == 0 {
				batch = append(batch, exitEvent(pid, at(int64(pid)), 0, 0))
			}
		}
		appendAll(t, db, batch...)
		if s := db.Stats(); s.Processes > 101 || s.StringBytes > 2000 || s.Live > s.Processes {
			t.Fatalf("stats %+v", s)
		}
	}
	if db.Stats().Forgotten == 0 {
		t.Error("nothing forgotten")
	}
	// What was forgotten is found again, and only once.
	appendAll(t, db, exitEvent(101, at(9999), 3, 0), exitEvent(101, at(9999), 4, 0), execEvent(700, 102, at(9999), "/bin/late", "x"))
	want(t, "exit", rows(t, db, "SELECT p.pid, p.exe, p.code FROM processes p WHERE pid = 101"), "101 | /bin/101 | 3")
	want(t, "child", rows(t, db, "SELECT parent_exe, ancestors FROM execs WHERE pid = 700"), `/bin/102 | ["/bin/102"]`)
	want(t, "one row each", rows(t, db, "SELECT pid FROM processes GROUP BY process HAVING count(*) > 1"), []string{}...)
	want(t, "strings", rows(t, db, "SELECT count(*), count(DISTINCT exe), min(comm) FROM execs WHERE pid < 700"), "500 | 500 | 100")
}

func TestNothingIsWrittenWhenNothingHappens(t *testing.T) {
	db := open(t, t.TempDir())
	appendAll(t, db, execEvent(2, 1, at(1), "/bin/x"))
	state := func() string {
		var out string
		files, _ := filepath.Glob(filepath.Join(db.o.Dir, "*"))
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			out += fmt.Sprintln(f, info.Size(), info.ModTime().UnixNano())
			if info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
				t.Errorf("%s has mode %v", f, info.Mode())
			}
		}
		return out
	}
	before := state()
	db.SetCursor("detect", 5)
	appendAll(t, db)
	if _, err := db.Cursor(t.Context(), "detect"); err != nil {
		t.Fatal(err)
	}
	if after := state(); before != after {
		t.Errorf("before\n%safter\n%s", before, after)
	}
}

func TestReconcile(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	appendAll(t, db, execEvent(2, 1, at(1), "/bin/a", "a"), execEvent(3, 1, at(2), "/bin/b", "b"), execEvent(4, 1, at(3), "/bin/c", "c"),
		execEvent(5, 1, at(60), "/bin/after", "after"))
	live := []event.Event{
		snapshot(execEvent(6, 2, at(50), "/bin/new", "new")), // before its parent in the list
		snapshot(execEvent(2, 1, at(50), "/bin/a", "a")),
		snapshot(execEvent(3, 1, at(50), "/bin/b2", "b")),
		snapshot(execEvent(1, 0, at(50), "/sbin/init", "init")),
	}
	for i := range live {
		if live[i].Process.PID == 1 {
			live[i].Parent = event.ProcessKey{}
		}
	}
	a, err := db.Reconcile(t.Context(), live, at(50))
	if err != nil {
		t.Fatal(err)
	}
	if a.Rows != 4 || a.FirstSeq != 5 || a.LastSeq != 8 {
		t.Errorf("appended %+v", a)
	}
	want(t, "execs", rows(t, db, "SELECT pid, exe, exec_no, source, parent_exe FROM execs WHERE seq > 4 ORDER BY seq"),
		"1 | /sbin/init | 1 | snapshot | <null>", "3 | /bin/b2 | 2 | snapshot | /sbin/init", "6 | /bin/new | 1 | snapshot | /bin/a")
	want(t, "exits", rows(t, db, "SELECT pid, ts, code, signal, presumed, duration_ns, source FROM exits"),
		fmt.Sprint("4 | ", at(50), " | <null> | <null> | 1 | <null> | agent"))
	want(t, "alive", rows(t, db, "SELECT pid FROM processes WHERE ended IS NULL ORDER BY pid"), "1", "2", "3", "5", "6")

	again, err := db.Reconcile(t.Context(), live, at(55))
	if err != nil || again.Rows != 0 {
		t.Errorf("second time: %+v, %v", again, err)
	}
	if _, err := db.Reconcile(t.Context(), nil, at(55)); err == nil {
		t.Error("an empty list was taken")
	}

	// After a reboot what ran before has ended, at the latest at its last event.
	db.Close()
	db = open(t, dir)
	next := snapshot(execEvent(1, 0, at(1000), "/sbin/init", "init"))
	next.Process.Boot, next.Parent = event.BootID{9}, event.ProcessKey{}
	if a, err = db.Reconcile(t.Context(), []event.Event{next}, at(1000)); err != nil || a.Rows != 6 {
		t.Fatalf("%+v, %v", a, err)
	}
	want(t, "old boot", rows(t, db, "SELECT DISTINCT ended, presumed FROM processes WHERE process LIKE 'abcdef01-%' AND pid <> 4"),
		fmt.Sprint(at(60), " | 1"))
	want(t, "alive", rows(t, db, "SELECT process FROM processes WHERE ended IS NULL"), "09000000-1-10")
	if a, err = db.Reconcile(t.Context(), []event.Event{next}, at(1001)); err != nil || a.Rows != 0 {
		t.Errorf("again: %+v, %v", a, err)
	}
}

func TestRunsPositionAndCursors(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	ctx := t.Context()
	if s, n, err := db.Position(ctx); s != "" || n != 0 || err != nil {
		t.Errorf("new store: %q %d %v", s, n, err)
	}
	if r, err := db.BeginRun(ctx, Begin{Boot: testBoot, At: at(1)}); err != nil || r != (Run{}) {
		t.Fatalf("first run after %+v, %v", r, err)
	}
	if _, err := db.AppendFrom(ctx, []event.Event{execEvent(2, 1, at(2), "/bin/x")}, "s1", 7); err != nil {
		t.Fatal(err)
	}
	db.SetCursor("tail", 1)
	if n, err := db.Cursor(ctx, "tail"); n != 1 || err != nil {
		t.Errorf("cursor %d, %v", n, err)
	}
	if _, err := db.AppendFrom(ctx, nil, "s1", 9); err != nil {
		t.Fatal(err)
	}
	db.SetCursor("late", 3) // written by Close
	db.Close()
	db = open(t, dir)
	if s, n, err := db.Position(ctx); s != "s1" || n != 9 || err != nil {
		t.Errorf("position %q %d %v", s, n, err)
	}
	for name, wanted := range map[string]int64{"tail": 1, "late": 3, "none": 0} {
		if n, err := db.Cursor(ctx, name); n != wanted || err != nil {
			t.Errorf("cursor %s: %d, %v", name, n, err)
		}
	}
	r, err := db.BeginRun(ctx, Begin{Boot: testBoot, At: at(10)})
	if wanted := (Run{ID: 1, Started: at(1), Boot: testBoot, Session: "s1", SessionSeq: 9, Reached: at(2)}); err != nil || r != wanted {
		t.Errorf("previous run %+v, %v, want %+v", r, err, wanted)
	}
	if s, n, _ := db.Position(ctx); s != "s1" || n != 9 {
		t.Errorf("position after begin %q %d", s, n)
	}
	if err := db.EndRun(ctx, End{At: at(11), Covered: at(10), Outage: "gone"}); err != nil {
		t.Fatal(err)
	}
	if r, _ = db.BeginRun(ctx, Begin{Boot: testBoot, At: at(12)}); r.Ended != at(11) || r.Covered != at(10) || r.Outage != "gone" || r.ID != 2 {
		t.Errorf("ended run %+v", r)
	}
}

func TestPositionWithoutRun(t *testing.T) {
	db := open(t, t.TempDir())
	if _, err := db.AppendFrom(t.Context(), []event.Event{execEvent(2, 1, at(2), "/bin/x")}, "s", 1<<63+1); err != nil {
		t.Fatal(err)
	}
	if s, n, err := db.Position(t.Context()); s != "s" || n != 1<<63+1 || err != nil {
		t.Errorf("%q %d %v", s, n, err)
	}
}

func TestClosedStore(t *testing.T) {
	db := open(t, t.TempDir())
	if err := errors.Join(db.Close(), db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Append(t.Context(), []event.Event{forkEvent(2, 1, 1)}); !errors.Is(err, ErrFatal) {
		t.Errorf("append: %v", err)
	}
	if _, _, err := db.Position(t.Context()); !errors.Is(err, ErrFatal) {
		t.Errorf("position: %v", err)
	}
	if _, err := db.Cursor(t.Context(), "x"); !errors.Is(err, ErrFatal) {
		t.Errorf("cursor: %v", err)
	}
}

// What is found running is an exec only where it cannot be the one that is known,
// before the store is opened again and after: a new title is none, the same program
// once more is, and so is a replaced file, with its own hash.
func TestFoundAgain(t *testing.T) {
	const random, other, fixed = 0x1235, 0x1237, 0x1234
	with := func(pid uint32, layout, inode uint64, args ...string) event.Event {
		e := execEvent(pid, 1, at(int64(pid)), "/bin/x", args...)
		e.Exec.Layout, e.Exec.Inode = layout, inode
		return e
	}
	found := func(pid uint32, layout, inode uint64, args ...string) event.Event {
		e := snapshot(with(pid, layout, inode, args...))
		e.Exec.Dev++ // eBPF names devices in another way
		return hashed(e, sha("f"))
	}
	cases := []struct {
		name         string
		known, found event.Event
		execs        int
	}{
		{"as known", with(10, random, 7, "x"), found(10, random, 7, "x"), 1},
		{"a new title", with(11, random, 7, "x"), found(11, random, 7, "x: idle"), 1},
		{"the same once more", with(12, random, 7, "x"), found(12, other, 7, "x"), 2},
		{"a replaced file", with(13, random, 7, "x"), found(13, other, 8, "x"), 2},
		{"a forged layout", with(14, random, 7, "x"), found(14, random, 8, "x"), 2},
		{"hidden", with(15, random, 7, "x"), found(15, 0, 7, "x"), 1},
		{"hidden, other arguments", with(16, random, 7, "x"), found(16, 0, 7, "y"), 2},
		{"hidden, a replaced file", with(17, random, 7, "x"), found(17, 0, 8, "x"), 2},
		{"never shown", with(18, 0, 7, "x"), found(18, random, 7, "x"), 1},
		{"fixed", with(19, fixed, 7, "x"), found(19, fixed, 7, "x"), 1},
		{"fixed, other arguments", with(20, fixed, 7, "x"), found(20, fixed, 7, "y"), 2},
	}
	for _, reopen := range []bool{false, true} {
		dir := t.TempDir()
		db := open(t, dir)
		for _, c := range cases {
			pid := c.known.Process.PID
			appendAll(t, db, c.known, forkEvent(pid+100, pid, at(100)))
		}
		if reopen {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			db = open(t, dir)
		}
		for _, c := range cases {
			pid, child := c.found.Process.PID, c.found
			child.Process = key(pid + 100)
			appendAll(t, db, c.found, child)
			want(t, fmt.Sprintf("%s, reopened %v", c.name, reopen), rows(t, db, fmt.Sprintf("SELECT execs FROM processes WHERE pid IN (%d, %d) ORDER BY pid", pid, pid+100)),
				fmt.Sprint(c.execs), fmt.Sprint(c.execs-1))
			if a := appendAll(t, db, c.found, child); a.Rows != 0 {
				t.Errorf("%s, reopened %v: it is told again", c.name, reopen)
			}
		}
		want(t, "the hash is of what runs", rows(t, db, "SELECT exec_no, inode, substr(sha256, 1, 2), source FROM execs WHERE pid = 13"),
			"1 | 7 | <null> | ebpf", "2 | 8 | 66 | snapshot")
		want(t, "no number changes", rows(t, db, "SELECT exec_no, cmdline FROM execs WHERE pid IN (11, 111)"), "1 | x")
	}
}
