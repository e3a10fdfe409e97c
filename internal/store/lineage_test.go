package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/sentineld/sentineld/internal/event"
)

// TestLineageOutlivesMemory: what is above a process that did not execute anything
// itself is what was above it when it was forked, however it is known.
func TestLineageOutlivesMemory(t *testing.T) {
	for name, c := range map[string]struct {
		after  []event.Event // of the fork of 40 by 30
		forget func(t *testing.T, db *DB, o Options) *DB
	}{
		"the parent is forgotten": {
			after:  append([]event.Event{exitEvent(30, at(5), 0, 0)}, strangers(100, 110)...),
			forget: reopen,
		},
		"the parent executes something else": {
			after:  []event.Event{execEvent(30, 20, at(5), "/usr/sbin/nginx", "nginx")},
			forget: reopen,
		},
		"a transaction is tried again": {
			after: []event.Event{execEvent(30, 20, at(5), "/usr/sbin/nginx", "nginx")},
			forget: func(t *testing.T, db *DB, _ Options) *DB {
				failed := errors.New("no space")
				if err := db.locked(t.Context(), func() error { return failed }); !errors.Is(err, ErrRetry) {
					t.Fatal(err)
				}
				return db
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Dir: t.TempDir(), BootTime: func() int64 { return bootNS }, MaxExited: 4}
			db, err := Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			appendAll(t, db,
				execEvent(1, 0, at(1), "/sbin/init", "init"),
				forkEvent(20, 1, at(2)), execEvent(20, 1, at(2), "/bin/bash", "bash"),
				forkEvent(30, 20, at(3)), execEvent(30, 20, at(3), "/tmp/payload", "payload"),
				forkEvent(40, 30, at(4)), // daemon(3): the child goes on
			)
			appendAll(t, db, c.after...)
			db = c.forget(t, db, o)
			defer db.Close()
			appendAll(t, db, forkEvent(200, 40, at(20)), execEvent(200, 40, at(20), "/usr/bin/id", "id"))
			want(t, "ancestors", rows(t, db, "SELECT ancestors FROM execs WHERE pid = 200"),
				`["/tmp/payload","/tmp/payload","/bin/bash","/sbin/init"]`)
		})
	}
}

func strangers(from, to uint32) (list []event.Event) {
	for pid := from; pid < to; pid++ {
		list = append(list, forkEvent(pid, 20, at(10)), exitEvent(pid, at(11), 0, 0))
	}
	return list
}

func reopen(t *testing.T, db *DB, o Options) *DB {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// TestUpgradeKeepsLineages of processes that live.
func TestUpgradeKeepsLineages(t *testing.T) {
	dir := oldStore(t, 6, `
		INSERT INTO boots VALUES (1, x'abcdef01000000000000000000000000', 'abcdef01');
		INSERT INTO strings VALUES (1, '/bin/sh'), (2, '["/sbin/init"]');
		INSERT INTO procs(id, boot, pid, start, first_ts, image, execs) VALUES (1, 1, 5, 50, 7, 7, 1);
		INSERT INTO exec_rows(ts, seq, proc, exec_no, source, known, exe, ancestors, flags) VALUES (7, 1, 1, 1, 1, 0x7fffffff, 1, 2, 0);
		INSERT INTO procs(id, boot, pid, start, first_ts, image, execs, parent, ppid) VALUES (2, 1, 6, 60, 8, 7, 0, 1, 5), (3, 1, 7, 70, 8, 7, 0, 2, 6);
		INSERT INTO procs(id, boot, pid, start, first_ts, execs, parent, ppid) VALUES (4, 1, 8, 80, 8, 0, 99, 2);
	`)
	db := open(t, dir)
	defer db.Close()
	for pid, ancestors := range map[uint32]string{
		5: `["/bin/sh","/sbin/init"]`, 6: `["/bin/sh","/bin/sh","/sbin/init"]`, 7: `["/bin/sh","/bin/sh","/bin/sh","/sbin/init"]`, 8: "<null>",
	} {
		child := execEvent(100+pid, pid, at(9), "/bin/id", "id")
		child.Process.Boot = event.BootID{0xab, 0xcd, 0xef, 0x01}
		child.Parent = event.ProcessKey{Boot: child.Process.Boot, PID: pid, Start: uint64(10 * pid)}
		appendAll(t, db, child)
		want(t, fmt.Sprint("ancestors below ", pid), rows(t, db, fmt.Sprint("SELECT ancestors FROM execs WHERE pid = ", 100+pid)), ancestors)
	}
}

// TestFailureSaysWhatIsAbove at that moment, as an exec does.
func TestFailureSaysWhatIsAbove(t *testing.T) {
	db := open(t, t.TempDir())
	defer db.Close()
	failed := execEvent(30, 1, at(6), "", "x")
	failed.Kind, failed.Exec.Errno = event.KindExecFailed, 2
	appendAll(t, db,
		execEvent(1, 0, at(1), "/sbin/init", "init"),
		execEvent(20, 1, at(2), "/bin/bash", "bash"),
		execEvent(30, 20, at(3), "/tmp/d", "d"),
		exitEvent(20, at(5), 0, 0),
		failed,
		execEvent(30, 1, at(7), "/bin/x", "x"),
	)
	want(t, "failure", rows(t, db, "SELECT ppid, parent_exe, ancestors FROM exec_failures"), `1 | /sbin/init | ["/sbin/init"]`)
	want(t, "exec", rows(t, db, "SELECT ppid, parent_exe, ancestors FROM execs WHERE exe = '/bin/x'"), `1 | /sbin/init | ["/sbin/init"]`)
}

// TestPresumedEndIsTakenBack by what is seen later.
func TestPresumedEndIsTakenBack(t *testing.T) {
	a, b := snapshot(execEvent(10, 1, at(1), "/bin/a", "a")), snapshot(execEvent(11, 1, at(1), "/bin/b", "b"))
	failed := execEvent(11, 1, at(3), "/none", "none")
	failed.Kind, failed.Exec.Errno = event.KindExecFailed, 2
	for name, c := range map[string]struct {
		then      []event.Event
		list      bool // of both, at 4
		processes string
		exits     []string
		execs     string
	}{
		"nothing more":       {nil, false, fmt.Sprint("/bin/b | ", at(2), " | <null> | 1"), []string{fmt.Sprint(at(2), " | <null> | 1")}, "1"},
		"its end":            {[]event.Event{exitEvent(11, at(1)+5, 3, 0)}, false, fmt.Sprint("/bin/b | ", at(1)+5, " | 3 | 0"), []string{fmt.Sprint(at(1)+5, " | 3 | 0")}, "1"},
		"a second end":       {[]event.Event{exitEvent(11, at(3), 3, 0), exitEvent(11, at(4), 4, 0)}, false, fmt.Sprint("/bin/b | ", at(3), " | 3 | 0"), []string{fmt.Sprint(at(3), " | 3 | 0")}, "1"},
		"an exec":            {[]event.Event{execEvent(11, 1, at(3), "/bin/evil", "evil")}, false, "/bin/evil | <null> | <null> | <null>", nil, "2"},
		"an exec before it":  {[]event.Event{execEvent(11, 1, at(1)+5, "/bin/evil", "evil")}, false, fmt.Sprint("/bin/evil | ", at(2), " | <null> | 1"), []string{fmt.Sprint(at(2), " | <null> | 1")}, "2"},
		"an exec that fails": {[]event.Event{failed}, false, "/bin/b | <null> | <null> | <null>", nil, "1"},
		"a fork by it":       {[]event.Event{forkEvent(50, 11, at(3))}, false, "/bin/b | <null> | <null> | <null>", nil, "1"},
		"another list":       {nil, true, "/bin/b | <null> | <null> | <null>", nil, "1"},
		"a list, and its end": {[]event.Event{execEvent(11, 1, at(3), "/bin/evil", "evil"), exitEvent(11, at(9), 0, 9)}, false,
			fmt.Sprint("/bin/evil | ", at(9), " | 0 | 0"), []string{fmt.Sprint(at(9), " | 0 | 0")}, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			db := open(t, dir)
			list := func(now int64, live ...event.Event) {
				t.Helper()
				if _, err := db.Reconcile(t.Context(), live, now); err != nil {
					t.Fatal(err)
				}
			}
			list(at(1), a, b)
			list(at(2), a)
			appendAll(t, db, c.then...)
			if c.list {
				list(at(4), a, b)
				list(at(5), a, b)
			}
			for _, when := range []string{"", " after a restart"} {
				want(t, "process"+when, rows(t, db, "SELECT exe, ended, code, presumed FROM processes WHERE pid = 11"), c.processes)
				want(t, "exits"+when, rows(t, db, "SELECT ts, code, presumed FROM exits WHERE pid = 11"), c.exits...)
				want(t, "execs"+when, rows(t, db, "SELECT max(exec_no) FROM execs WHERE pid = 11"), c.execs)
				if live := db.Stats().Live; live != len(rows(t, db, "SELECT 1 FROM processes WHERE ended IS NULL")) {
					t.Errorf("%d live in memory%s", live, when)
				}
				db.Close()
				db = open(t, dir)
			}
			db.Close()
		})
	}
}

// TestReconcileAfterTheClockWasSet: who was seen before the list is told by the boot
// clock.
func TestReconcileAfterTheClockWasSet(t *testing.T) {
	for _, set := range []int64{-3600, 3600} {
		boot := bootNS
		db, err := Open(t.Context(), Options{Dir: t.TempDir(), BootTime: func() int64 { return boot }})
		if err != nil {
			t.Fatal(err)
		}
		appendAll(t, db, execEvent(10, 1, at(10_000), "/bin/sleep", "sleep"), execEvent(11, 1, at(10_000), "/bin/cat", "cat"))
		boot += set * second
		late := execEvent(12, 1, at(10_200+set), "/bin/late", "late") // behind the list
		appendAll(t, db, late)
		live := snapshot(execEvent(11, 1, at(10_100+set), "/bin/cat", "cat"))
		if _, err := db.Reconcile(t.Context(), []event.Event{live}, at(10_100+set)); err != nil {
			t.Fatal(err)
		}
		want(t, fmt.Sprint("ended, set by ", set), rows(t, db, "SELECT pid, ended FROM processes WHERE presumed AND pid > 1"), fmt.Sprint("10 | ", at(10_100+set)))
		db.Close()
	}
}
