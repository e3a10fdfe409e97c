package procconn

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
)

// world is a /proc of regular files, for what a real one cannot be made to show
// at will: pids that are reused and threads that race.
type world struct {
	t  *testing.T
	fs procfs.FS
	tr *tracker

	places map[int]int // where programs are, by pid; not there = not shown
}

// second is the time on all clocks in most tests; a tick is a hundredth of it.
const second = int64(1_000_000_000)

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, fs: procfs.FS{Root: t.TempDir()}}
	w.tr = &tracker{fs: w.fs, argsMax: 1 << 10, procs: map[uint32]proc{}, execs: map[uint32]look{}, ends: map[uint32]ending{}}
	return w
}

// put makes or changes a process: its state, number of threads, start in ticks
// and arguments.
func (w *world) put(pid, ppid int, state string, threads, start int, args ...string) {
	w.t.Helper()
	dir := filepath.Join(w.fs.Root, fmt.Sprint(pid))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	stat := fmt.Sprintf("%d (p) %s %d 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 %d 0 %d 0 0 0", pid, state, ppid, threads, start)
	if code := w.places[pid]; code != 0 {
		stat += fmt.Sprintf(" %d %d %d", code, code+1, code+2)
	}
	cmdline := ""
	if len(args) > 0 {
		cmdline = strings.Join(args, "\x00") + "\x00"
	}
	for name, text := range map[string]string{"stat": stat, "cmdline": cmdline, "status": "Uid:\t7\t7\t7\t7\nGid:\t7\t7\t7\t7\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			w.t.Fatal(err)
		}
	}
}

// task makes or changes a thread: its state.
func (w *world) task(pid, tid int, state string) {
	w.t.Helper()
	dir := filepath.Join(w.fs.Root, fmt.Sprint(pid), "task", fmt.Sprint(tid))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	stat := fmt.Sprintf("%d (p) %s 0 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 2 0 500 0 0 0", tid, state)
	if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(stat), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// place says where in memory the program of a process is, from its next put on.
func (w *world) place(pid, code int) {
	if w.places == nil {
		w.places = map[int]int{}
	}
	w.places[pid] = code
}

// file makes a process execute one of several files.
func (w *world) file(pid, n int) {
	w.t.Helper()
	exe := filepath.Join(w.fs.Root, fmt.Sprint(pid), "exe")
	file := filepath.Join(w.fs.Root, fmt.Sprint("file", n))
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		w.t.Fatal(err)
	}
	os.Remove(exe)
	if err := os.Symlink(file, exe); err != nil {
		w.t.Fatal(err)
	}
}

// hide makes a process that the test may not read.
func (w *world) hide(pid int) {
	w.t.Helper()
	w.put(pid, 1, "S", 1, 1000)
	if err := os.Chmod(filepath.Join(w.fs.Root, fmt.Sprint(pid), "stat"), 0); err != nil {
		w.t.Fatal(err)
	}
	for dir := w.fs.Root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		_ = os.Chmod(dir, 0o755) // the way there
	}
	if os.Geteuid() == 0 { // root may read it all the same
		for _, dir := range []string{w.fs.Root, filepath.Join(w.fs.Root, fmt.Sprint(pid))} {
			if err := os.Chown(dir, 65534, 65534); err != nil {
				w.t.Fatal(err)
			}
		}
		runtime.LockOSThread()
		if err := unix.Setfsuid(65534); err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() {
			_ = unix.Setfsuid(0) // root may
			runtime.UnlockOSThread()
		})
	}
}

func (w *world) remove(pid int) {
	w.t.Helper()
	if err := os.RemoveAll(filepath.Join(w.fs.Root, fmt.Sprint(pid))); err != nil {
		w.t.Fatal(err)
	}
}

// apply gives messages to the tracker on clocks that all agree.
func (w *world) apply(messages ...message) {
	w.t.Helper()
	w.tr.apply(messages, true)
}

func show(events []event.Event) string {
	var list []string
	for _, e := range events {
		s := fmt.Sprintf("%s %d-%d", e.Kind, e.Process.PID, e.Process.Start)
		if e.Known.Has(event.KnownParent) {
			s += fmt.Sprintf(" of %d", e.Parent.PID)
		}
		if e.Known.Has(event.KnownArgs) {
			s += " " + e.Exec.Cmdline()
		}
		if e.Known.Has(event.KnownCode) {
			s += fmt.Sprintf(" code %d", e.Exit.Code)
		}
		list = append(list, s)
	}
	return strings.Join(list, "; ")
}

func (w *world) want(want string) {
	w.t.Helper()
	if got := show(w.tr.out); got != want {
		w.t.Errorf("got  %s\nwant %s", got, want)
	}
	w.tr.ready(mono() + second)
}

func fork(at int64, parent, pid uint32) message {
	return message{what: evFork, time: at, parentTGID: parent, pid: pid, tgid: pid}
}
func thread(at int64, pid, tid uint32) message {
	return message{what: evFork, time: at, pid: tid, tgid: pid}
}
func execOf(at int64, pid uint32) message {
	return message{what: evExec, time: at, pid: pid, tgid: pid}
}
func exit(at int64, pid, tid, status uint32) message {
	return message{what: evExit, time: at, pid: tid, tgid: pid, status: status}
}

func TestTracker(t *testing.T) {
	const at = 10 * second // tick 1000
	for name, steps := range map[string]func(w *world){
		"gone before its start was read": func(w *world) {
			w.apply(fork(at, 0, 5), execOf(at+1, 5), exit(at+2, 5, 5, 0x300))
			w.want("fork 5-1000 of 0; exec 5-1000 of 0; exit 5-1000 of 0 code 3")
		},
		"its pid belongs to another by now": func(w *world) {
			w.put(5, 1, "S", 1, 1200)
			w.apply(fork(at, 0, 5), execOf(at+1, 5))
			w.want("fork 5-1000 of 0; exec 5-1000 of 0")
		},
		"start is a tick before the message": func(w *world) {
			w.put(5, 0, "S", 1, 999, "a", "b")
			w.apply(fork(at, 0, 5), execOf(at+1, 5))
			w.want("fork 5-999 of 0; exec 5-999 of 0 a b")
		},
		"hidden at its fork": func(w *world) {
			w.hide(5)
			w.apply(fork(at, 0, 5), execOf(at, 5), exit(at, 5, 5, 0x300))
			w.want("fork 5-1000 of 0; exec 5-1000 of 0; exit 5-1000 of 0 code 3")
		},
		"hidden, and seeded anew": func(w *world) {
			w.hide(5)
			w.apply(fork(at, 0, 5))
			w.want("fork 5-1000 of 0")
			w.tr.unsure = true
			w.seed()
			w.tr.forgetGone()
			w.apply(execOf(at, 5))
			w.remove(5)
			w.apply(exit(at, 5, 5, 0x300))
			w.want("exec 5-1000 of 0; exit 5-1000 of 0 code 3")
		},
		"idle task": func(w *world) {
			w.apply(fork(at, 0, 0))
			w.want("")
		},
		"unreadable at its fork": func(w *world) {
			w.put(5, 1, "nonsense", 1, 1000)
			w.apply(fork(at, 0, 5), execOf(at, 5), exit(at, 5, 5, 0), exit(at, 5, 6, 0))
			w.want("")
			var got []string
			for _, g := range w.tr.takeUnnamed(at) {
				got = append(got, fmt.Sprintf("%s %d %s", g.Gap.Of, g.Gap.Lost, g.Gap.Cause))
				if !g.Known.Has(event.KnownLost) {
					w.t.Errorf("the number is not known: %+v", g.Gap)
				}
			}
			if want := []string{"exec 1 " + causeUnnamed, "fork 1 " + causeUnnamed, "exit 1 " + causeUnnamed}; !slices.Equal(got, want) {
				w.t.Errorf("gaps %q, want %q", got, want)
			}
			if len(w.tr.takeUnnamed(at)) != 0 {
				w.t.Error("told twice")
			}
		},
		"never seen before": func(w *world) {
			w.put(4, 0, "S", 1, 10)
			w.put(5, 4, "S", 1, 500, "x")
			w.apply(execOf(at, 5))
			w.want("exec 5-500 of 4 x")
			w.put(7, 4, "Z", 1, 500)
			w.apply(exit(at, 7, 7, 0x200))
			w.want("exit 7-500 code 2")
		},
		"never seen, and its pid belongs to another": func(w *world) {
			w.put(5, 4, "S", 1, 1500, "x")
			w.apply(execOf(at, 5), exit(at, 5, 5, 0))
			w.want("")
		},
		"only the last exec of several has details": func(w *world) {
			w.put(5, 0, "S", 1, 1000, "last")
			w.apply(fork(at, 0, 5), execOf(at+1, 5), execOf(at+2, 5), execOf(at+3, 5))
			w.want("fork 5-1000 of 0; exec 5-1000 of 0; exec 5-1000 of 0; exec 5-1000 of 0 last")
		},
		"the pid is free before the exit is told": func(w *world) {
			w.put(5, 1, "S", 1, 900)
			w.apply(fork(at-second, 0, 5))
			w.want("fork 5-900 of 0")
			w.put(5, 1, "S", 1, 1000)
			w.apply(fork(at, 0, 5), exit(at+1, 5, 5, 0), exit(at+2, 5, 5, 0x100))
			w.want("fork 5-1000 of 0; exit 5-900; exit 5-1000 of 0 code 1")
		},
		"threads are counted": func(w *world) {
			w.apply(fork(at, 0, 5), thread(at, 5, 6), thread(at, 5, 7), exit(at, 5, 6, 0x100), exit(at, 5, 5, 0x100))
			w.want("fork 5-1000 of 0")
			w.apply(exit(at+9, 5, 7, 0x100))
			w.want("exit 5-1000 of 0 code 1")
			if len(w.tr.procs) != 0 {
				w.t.Errorf("remembered: %v", w.tr.procs)
			}
		},
		"two threads end at once": func(w *world) {
			w.apply(fork(at, 0, 5), thread(at, 5, 6), exit(at+1, 5, 6, 0), exit(at+1, 5, 5, 0x700))
			w.want("fork 5-1000 of 0; exit 5-1000 of 0")
		},
		"exec by another thread, the first one told before": func(w *world) {
			w.apply(fork(at, 0, 5), thread(at, 5, 6), exit(at, 5, 5, 0), execOf(at, 5), exit(at, 5, 5, 0x400))
			w.want("fork 5-1000 of 0; exec 5-1000 of 0; exit 5-1000 of 0 code 4")
		},
		"exec by another thread, the first one told after under its id": func(w *world) {
			w.apply(fork(at, 0, 5), thread(at, 5, 6), thread(at, 5, 7), exit(at, 5, 7, 0), execOf(at, 5))
			w.apply(exit(at, 5, 6, 0))
			w.want("fork 5-1000 of 0; exec 5-1000 of 0")
			w.apply(exit(at, 5, 5, 0x400))
			w.want("exit 5-1000 of 0 code 4")
		},
		"a thread of the last program is told after the exit": func(w *world) {
			w.apply(fork(at, 0, 5), thread(at, 5, 6), execOf(at, 5), exit(at, 5, 5, 0x400))
			w.want("fork 5-1000 of 0; exec 5-1000 of 0")
			w.apply(exit(at, 5, 6, 0))
			w.want("exit 5-1000 of 0 code 4")
		},
		"seeded, the first thread makes way for an exec": func(w *world) {
			w.put(5, 0, "S", 2, 500)
			w.seed()
			w.apply(exit(at, 5, 5, 0))
			w.put(5, 0, "Z", 2, 500)
			w.apply(exit(at, 5, 5, 0))
			w.put(5, 0, "S", 1, 500, "new")
			w.apply(execOf(at, 5))
			w.want("exec 5-500 of 0 new")
			w.put(5, 0, "Z", 1, 500)
			w.apply(exit(at, 5, 5, 0x500))
			w.want("exit 5-500 of 0 code 5")
		},
		"seeded, and has executed and ended by the time that it is looked at": func(w *world) {
			w.put(5, 0, "Z", 2, 500)
			w.seed()
			w.put(5, 0, "Z", 1, 500)
			w.apply(exit(at, 5, 6, 0))
			w.apply(execOf(at+1, 5), exit(at+2, 5, 5, 0x500))
			if e := w.tr.out[len(w.tr.out)-1]; e.Time != at+2 {
				w.t.Errorf("%s at %d", show(w.tr.out), e.Time)
			}
			w.want("exec 5-500 of 0; exit 5-500 of 0 code 5")
		},
		"seeded, and threads of the last program are told after the exec and the exit": func(w *world) {
			w.put(5, 0, "Z", 4, 500)
			w.seed()
			w.put(5, 0, "Z", 1, 500)
			w.apply(execOf(at, 5), exit(at+1, 5, 6, 0), exit(at+2, 5, 5, 0x500), exit(at+3, 5, 7, 0))
			w.want("exec 5-500 of 0; exit 5-500 of 0 code 5")
		},
		"seeded, and threads of the new program end": func(w *world) {
			w.put(5, 0, "S", 1, 500)
			w.seed()
			w.put(5, 0, "Z", 1, 500)
			w.apply(execOf(at, 5), thread(at+1, 5, 8), exit(at+2, 5, 8, 0), exit(at+3, 5, 5, 0x500))
			w.want("exec 5-500 of 0; exit 5-500 of 0")
		},
		"seeded, and after the exec messages are lost": func(w *world) {
			w.put(5, 0, "S", 1, 500)
			w.seed()
			w.put(5, 0, "Z", 1, 500)
			w.apply(execOf(at, 5))
			w.tr.unsure = true // the birth of 8
			w.apply(exit(at+2, 5, 8, 0), exit(at+3, 5, 5, 0x500))
			w.want("exec 5-500 of 0; exit 5-500 of 0")
		},
		"seeded, and it is seen to end before the last of its threads is told to": func(w *world) {
			w.put(5, 0, "Z", 3, 500)
			w.seed()
			w.apply(fork(at, 5, 6))
			w.want("fork 6-1000 of 5")
			w.put(5, 0, "Z", 1, 500)
			w.apply(exit(at, 5, 7, 9))
			w.apply(execOf(at+1, 6)) // nobody knows what 5 is
			w.apply(exit(at+2, 5, 8, 9))
			w.want("exec 6-1000; exit 5-500 of 0 code 0")
		},
		"seeded, and its pid is another's by the time that it is looked at": func(w *world) {
			w.put(5, 0, "S", 1, 500)
			w.seed()
			w.put(5, 0, "S", 1, 1000)
			w.apply(exit(at, 5, 5, 0))
			w.apply(fork(at+1, 0, 5), exit(at+2, 5, 5, 0x300))
			w.want("exit 5-500 of 0 code 0; fork 5-1000 of 0; exit 5-1000 of 0 code 3")
		},
		"seeded, and its pid is used again in one batch": func(w *world) {
			w.put(5, 0, "S", 1, 500)
			w.seed()
			w.put(5, 0, "S", 1, 1000)
			w.apply(exit(at, 5, 5, 0), fork(at+1, 0, 5), exit(at+2, 5, 5, 0x300))
			w.want("exit 5-500 of 0 code 0; fork 5-1000 of 0; exit 5-1000 of 0 code 3")
		},
		"seeded, and a thread is born before the last end": func(w *world) {
			w.put(5, 0, "Z", 2, 500)
			w.seed()
			w.put(5, 0, "Z", 1, 500)
			w.apply(exit(at, 5, 6, 9), thread(at+1, 5, 7), exit(at+2, 5, 7, 9))
			if e := w.tr.out[0]; len(w.tr.out) != 1 || e.Time != at+2 {
				w.t.Errorf("%s at %d", show(w.tr.out), e.Time)
			}
		},
		"ended before the source was opened": func(w *world) {
			w.put(5, 0, "Z", 1, 500)
			w.seed()
			w.apply(exit(at, 5, 5, 0))
			w.tr.begin()
			w.want("")
			if len(w.tr.procs)+len(w.tr.ends) != 0 {
				w.t.Errorf("remembers %v, %v", w.tr.procs, w.tr.ends)
			}
		},
		"seeded, all threads end at once": func(w *world) {
			w.put(5, 0, "S", 2, 500)
			w.seed()
			w.remove(5)
			w.apply(exit(at, 5, 5, 11), exit(at+1, 5, 6, 0x8b))
			if e := w.tr.out[0]; len(w.tr.out) != 1 || howEnded(e) != (event.Exit{Signal: 11, Core: true}) || e.Time != at+1 {
				w.t.Errorf("%s, %+v at %d", show(w.tr.out), e.Exit, e.Time)
			}
		},
		"seeded while its first thread is shown as dead": func(w *world) { // before 4.14
			w.put(5, 0, "x", 2, 500)
			w.seed()
			w.remove(5)
			w.apply(exit(at, 5, 6, 9))
			w.want("exit 5-500 of 0 code 0")
		},
		"seeded, and a tracer has not waited for its threads": func(w *world) {
			w.put(5, 0, "S", 3, 500)
			w.seed()
			w.put(5, 0, "Z", 3, 500)
			w.task(5, 5, "Z")
			w.task(5, 6, "Z")
			w.task(5, 7, "R") // on its way out: its message is to come
			w.apply(exit(at, 5, 5, 9), exit(at+1, 5, 6, 9))
			w.want("")
			w.task(5, 7, "Z")
			w.apply(exit(at+2, 5, 7, 9))
			w.want("exit 5-500 of 0 code 0")
			if len(w.tr.procs)+len(w.tr.ends) != 0 {
				w.t.Errorf("remembers %v, %v", w.tr.procs, w.tr.ends)
			}
		},
		"seeded when it has ended, and a tracer has not waited for its threads": func(w *world) {
			for pid := range 3 {
				w.put(5+pid, 0, "Z", 2, 500)
				w.task(5+pid, 5+pid, "Z")
			}
			w.put(8, 0, "S", 1, 500)
			w.task(5, 15, "Z")
			w.task(6, 16, "S")
			w.task(7, 17, "nonsense") // nobody knows
			w.seed()
			w.tr.forgetGone()
			if _, ok := w.tr.procs[5]; ok || len(w.tr.procs) != 3 {
				w.t.Errorf("remembers %v", w.tr.procs)
			}
			// After a loss, its end may be told yet.
			w.put(8, 0, "Z", 2, 500)
			w.task(8, 8, "Z")
			w.task(8, 18, "Z")
			w.tr.unsure = true
			w.seed()
			w.apply(exit(at, 8, 8, 9), exit(at+1, 8, 18, 9))
			w.want("exit 8-500 of 0 code 0")
			w.tr.forgetGone()
			if _, ok := w.tr.procs[8]; ok {
				w.t.Errorf("remembers %v", w.tr.procs)
			}
		},
		"seeded, and all threads are zombies before the last is told": func(w *world) {
			w.put(5, 0, "Z", 2, 500)
			w.seed()
			w.task(5, 5, "Z")
			w.task(5, 6, "Z")
			w.apply(exit(at, 5, 5, 9))
			w.apply(exit(at+1, 5, 6, 9))
			if e := w.tr.out[0]; len(w.tr.out) != 1 || e.Time != at+1 {
				w.t.Errorf("%s at %d", show(w.tr.out), e.Time)
			}
			w.want("exit 5-500 of 0 code 0")
		},
		"seeded, and cannot be read at its end": func(w *world) {
			w.put(5, 0, "S", 1, 500)
			w.seed()
			w.put(5, 0, "nonsense", 1, 500)
			w.apply(exit(at, 5, 5, 0))
			w.want("")
		},
		"seeded anew": func(w *world) {
			w.put(1, 0, "S", 1, 1)
			w.put(5, 1, "S", 1, 500)
			w.put(6, 1, "S", 1, 600)
			w.put(8, 1, "Z", 1, 600)
			w.seed()
			w.remove(5)
			w.remove(6)
			w.put(7, 1, "S", 1, 700)
			w.tr.unsure = true
			w.seed()
			// The end of 5 waited in the socket; that of 6 was lost.
			w.apply(exit(at, 5, 5, 0x100))
			w.want("exit 5-500 of 1 code 1")
			w.tr.forgetGone()
			if len(w.tr.procs) != 2 || w.tr.procs[7].start != 700 || w.tr.unsure || w.tr.gone != nil {
				w.t.Errorf("remembered: %+v", w.tr.procs)
			}
		},
		"threads are not counted after a loss": func(w *world) {
			w.put(5, 0, "S", 1, 1000)
			w.apply(fork(at, 0, 5))
			w.put(5, 0, "Z", 2, 1000) // the birth of its second thread was lost
			w.tr.unsure = true
			w.apply(exit(at, 5, 5, 0))
			w.want("fork 5-1000 of 0")
			w.remove(5)
			w.apply(exit(at, 5, 6, 0))
			w.want("exit 5-1000 of 0 code 0")
		},
		"the parent ended": func(w *world) {
			w.put(4, 0, "S", 1, 100)
			w.put(5, 9, "S", 1, 1000, "x")
			w.put(9, 0, "S", 1, 50)
			w.seed()
			w.apply(fork(at, 4, 5))
			w.remove(4)
			w.apply(exit(at, 4, 4, 0), execOf(at, 5))
			w.want("fork 5-1000 of 4; exit 4-100 of 0 code 0; exec 5-1000 of 9 x")
		},
		"the parent's pid belongs to a younger one": func(w *world) {
			w.put(4, 0, "S", 1, 1100)
			w.apply(fork(at, 4, 5))
			w.want("fork 5-1000")
		},
		"the exit tells the parent": func(w *world) {
			w.put(4, 0, "S", 1, 100)
			w.put(9, 0, "S", 1, 50)
			w.seed()
			m := exit(at, 5, 5, 0)
			m.parentTGID = 9
			w.apply(fork(at, 4, 5), m)
			w.want("fork 5-1000 of 4; exit 5-1000 of 9 code 0")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.t = t
			steps(w)
		})
	}
}

// TestDuration: from the fork, not from the tick that it was in; without one
// nobody knows.
func TestDuration(t *testing.T) {
	const forked = 10*second + 7_000_000
	for name, c := range map[string]struct {
		want  int64 // -1 = not known
		steps func(w *world)
	}{
		"gone at once": {2_000_000, func(w *world) {
			w.apply(fork(forked, 0, 5), exit(forked+2_000_000, 5, 5, 0))
		}},
		"seen, suspended for an hour and listed anew": {3600*second + 3, func(w *world) {
			w.put(5, 0, "S", 1, 1000)
			w.apply(fork(forked, 0, 5))
			w.tr.clocks.boot = 3600 * second
			w.seed()
			w.remove(5)
			w.apply(exit(forked+3, 5, 5, 0))
		}},
		"known from /proc alone": {-1, func(w *world) {
			w.put(5, 0, "S", 1, 1000)
			w.seed()
			w.remove(5)
			w.apply(exit(forked, 5, 5, 0))
		}},
		"forked before a suspend that was noticed later": {-1, func(w *world) {
			w.put(5, 0, "S", 1, 1000)
			w.tr.clocks.moved = true
			w.apply(fork(forked, 0, 5))
			w.tr.clocks.moved = false
			w.apply(exit(forked+1, 5, 5, 0))
		}},
		"its pid was free before": {-1, func(w *world) {
			w.put(5, 0, "S", 1, 900)
			w.seed()
			w.put(5, 0, "S", 1, 1000)
			w.apply(fork(forked, 0, 5), exit(forked+1, 5, 5, 0))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.steps(w)
			e := w.tr.out[len(w.tr.out)-1]
			if e.Kind != event.KindExit || e.Known.Has(event.KnownDuration) != (c.want >= 0) || e.Exit.DurationNS != max(0, c.want) {
				t.Errorf("%s: %+v, known %v, want %d", e.Kind, e.Exit, e.Known.Names(), c.want)
			}
		})
	}
}

func (w *world) seed() {
	w.t.Helper()
	if err := w.tr.seed(); err != nil {
		w.t.Fatal(err)
	}
}

// TestDetailsOfTheNextExec: a new program can show before its exec is told.
func TestDetailsOfTheNextExec(t *testing.T) {
	for name, c := range map[string]struct {
		after int64
		want  string
	}{
		"told at once":         {settleTime - 1000, "exec 5-1000 of 0; exec 5-1000 of 0 second"},
		"told some time after": {settleTime + 1000, "exec 5-1000 of 0 first; exec 5-1000 of 0 second"},
	} {
		w := newWorld(t)
		w.put(5, 0, "S", 1, 1000, "first")
		w.tr.procs[5] = proc{start: 1000, hasParent: true, counted: true, threads: 1}
		w.apply(execOf(10*second, 5))
		// Without an executable, as regular files have none, only arguments show.
		read := w.tr.execs[5].done
		w.put(5, 0, "S", 1, 1000, "second")
		w.tr.clocks = clocks{}
		w.tr.apply([]message{execOf(read+c.after, 5)}, true)
		t.Run(name, func(t *testing.T) { w.t = t; w.want(c.want) })
	}
}

// TestWhoseDetails: what was read before the next exec was told is kept only where
// what is read after it shows that it is not the next one's.
func TestWhoseDetails(t *testing.T) {
	const soon, later = settleTime - 1000, settleTime + 1000
	for name, c := range map[string]struct {
		after      int64
		file, code [2]int // what /proc shows before and after
		gone       bool   // nothing, after
		want       string
	}{
		"another file, told at once":       {soon, [2]int{1, 2}, [2]int{10, 20}, false, "exec 5-1000 of 0 a; exec 5-1000 of 0 b"},
		"the same file, told at once":      {soon, [2]int{1, 1}, [2]int{10, 20}, false, "exec 5-1000 of 0; exec 5-1000 of 0 b"},
		"gone, told at once":               {soon, [2]int{1, 1}, [2]int{10, 10}, true, "exec 5-1000 of 0; exec 5-1000 of 0"},
		"the same place, told at once":     {soon, [2]int{1, 1}, [2]int{10, 10}, false, "exec 5-1000 of 0; exec 5-1000 of 0 b"},
		"the same place, told later":       {later, [2]int{1, 1}, [2]int{10, 10}, false, "exec 5-1000 of 0; exec 5-1000 of 0 b"},
		"another place, told later":        {later, [2]int{1, 1}, [2]int{10, 20}, false, "exec 5-1000 of 0 a; exec 5-1000 of 0 b"},
		"it cannot be told, told later":    {later, [2]int{1, 1}, [2]int{0, 0}, false, "exec 5-1000 of 0 a; exec 5-1000 of 0 b"},
		"gone, told some time later":       {later, [2]int{1, 1}, [2]int{10, 10}, true, "exec 5-1000 of 0 a; exec 5-1000 of 0"},
		"another file, not to be seen yet": {soon, [2]int{0, 2}, [2]int{10, 20}, false, "exec 5-1000 of 0; exec 5-1000 of 0 b"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			show := func(i int, arg string) {
				w.place(5, c.code[i])
				w.put(5, 0, "S", 1, 1000, arg)
				if c.file[i] != 0 {
					w.file(5, c.file[i])
				}
			}
			w.tr.procs[5] = proc{start: 1000, hasParent: true, counted: true, threads: 1}
			show(0, "a")
			w.apply(execOf(10*second, 5))
			if c.gone {
				w.remove(5)
			} else {
				show(1, "b")
			}
			w.apply(execOf(w.tr.execs[5].done+c.after, 5))
			w.want(c.want)
		})
	}
}

func TestReady(t *testing.T) {
	w := newWorld(t)
	for pid := range 3 {
		w.put(5+pid, 0, "S", 1, 1000, fmt.Sprint("p", pid))
	}
	w.apply(fork(10*second, 0, 5), execOf(10*second, 5), fork(10*second, 0, 6))
	done := w.tr.execs[5].done
	w.apply(execOf(10*second, 6), fork(10*second, 0, 7), execOf(10*second, 7))
	if got := show(w.tr.ready(done - 1)); got != "fork 5-1000 of 0" {
		t.Errorf("before the first is final: %s", got)
	}
	if got := show(w.tr.ready(done)); got != "exec 5-1000 of 0 p0; fork 6-1000 of 0" {
		t.Errorf("the first is final: %s", got)
	}
	if len(w.tr.execs) != 2 || w.tr.execs[6].index != 0 || w.tr.execs[7].index != 2 {
		t.Errorf("held: %+v", w.tr.execs)
	}
	// Events were lost: what is not final is void.
	w.tr.voidSince(w.tr.execs[6].done)
	if got := show(w.tr.ready(mono())); got != "exec 6-1000 of 0 p1; fork 7-1000 of 0; exec 7-1000 of 0" || len(w.tr.execs) != 0 {
		t.Errorf("after a loss: %s, %v", got, w.tr.execs)
	}
}

// TestSuspend: what was told before a suspend and is read after it has no time,
// and no name if it is gone.
func TestSuspend(t *testing.T) {
	w := newWorld(t)
	w.put(6, 0, "S", 1, 1000)
	w.tr.clocks = clocks{boot: 50 * second, moved: true}
	w.tr.apply([]message{fork(10*second, 0, 5), fork(10*second, 0, 6)}, true)
	if got := show(w.tr.out); got != "fork 6-1000 of 0" || w.tr.out[0].Known.Has(event.KnownTime) || w.tr.unnamed[event.KindFork] != 1 {
		t.Errorf("%s, known %v, %d without a name", got, w.tr.out[0].Known.Names(), w.tr.unnamed[event.KindFork])
	}
	w.tr.out = nil
	w.tr.clocks = clocks{boot: 50 * second, wall: 1000 * second}
	w.tr.apply([]message{fork(10*second, 0, 7)}, true)
	if got := show(w.tr.out); got != "fork 7-6000 of 0" || w.tr.out[0].Time != 1010*second || !w.tr.out[0].Known.Has(event.KnownTime) {
		t.Errorf("afterwards: %s at %d", got, w.tr.out[0].Time)
	}
}

func TestClocks(t *testing.T) {
	var c clocks
	c.read()
	first := c
	if c.moved || c.wall == 0 || !c.set {
		t.Errorf("%+v", c)
	}
	if c.read(); c.boot != first.boot || c.moved {
		t.Errorf("the offset jumps from %d to %d", first.boot, c.boot)
	}
	c.boot -= 3600 * second
	if c.read(); !c.moved || c.boot < first.boot-clockJitter {
		t.Errorf("a suspend is not seen: %+v", c)
	}
	if c.read(); c.moved {
		t.Error("and never over")
	}
}
