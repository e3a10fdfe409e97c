package procconn

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
	"github.com/sentineld/sentineld/internal/source"
	"github.com/sentineld/sentineld/internal/testenv"
)

func TestLifeOfAProcess(t *testing.T) {
	r := start(t, source.Options{})
	me := key(t, r.boot, os.Getpid())
	before := time.Now().UnixNano()
	cmd := exec.Command("/bin/cat", "-", "", "/dev/null", "\xff\n\"")
	cmd.Dir = "/usr"
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	r.until("exec", func() bool { return r.first(pid, event.KindExec) != nil })
	seen := key(t, r.boot, pid)
	in.Close()
	_ = cmd.Wait() // 1: there is no file of the last name
	r.untilExit(pid)
	after := time.Now().UnixNano()
	r.stop()
	r.noGaps()
	events := r.of(pid)
	if !slices.Equal(kinds(events), forkExecExit) {
		t.Fatalf("kinds %v, want %v", kinds(events), forkExecExit)
	}
	for _, e := range events {
		if e.Process != seen || e.Source != event.SourceProcconn {
			t.Errorf("%s of %v by %v, want %v", e.Kind, e.Process, e.Source, seen)
		}
		if !e.Known.Has(event.KnownTime|event.KnownParent) || e.Known.Has(event.KnownStart) || e.Parent != me {
			t.Errorf("%s: parent %v, want %v, known %v", e.Kind, e.Parent, me, e.Known.Names())
		}
		if e.Time < before || e.Time > after {
			t.Errorf("%s at %d, not in %d..%d", e.Kind, e.Time, before, after)
		}
	}
	x := events[1].Exec
	if !slices.Equal(x.Argv(), cmd.Args) || x.Argc != 5 || x.Truncated || x.Cwd != "/usr" || x.Comm != "cat" {
		t.Errorf("argv %q argc %d truncated %v cwd %q comm %q", x.Argv(), x.Argc, x.Truncated, x.Cwd, x.Comm)
	}
	exe, err := filepath.EvalSymlinks("/bin/cat")
	if err != nil {
		t.Fatal(err)
	}
	if k := events[1].Known; x.Exe != exe || k&(event.KnownInvoked|event.KnownInterpreter) != 0 || !k.Has(event.KnownUID|event.KnownFile|event.KnownNS) {
		t.Errorf("exe %q, known %v", x.Exe, k.Names())
	}
	lived := events[2].Time - events[0].Time // with the offset to the wall clock read twice
	if d := events[2].Exit.DurationNS; d < lived-clockJitter || d > lived+clockJitter || !events[2].Known.Has(event.KnownDuration) {
		t.Errorf("lived %v, told %v after its fork", time.Duration(d), time.Duration(lived))
	}
	if e := events[2]; howEnded(e) != (event.Exit{Code: 1}) || !e.Known.Has(event.KnownCode) {
		t.Errorf("exit %+v, known %v", e.Exit, e.Known.Names())
	}
}

// howEnded is how a process ended, apart from how long it lived.
func howEnded(e event.Event) event.Exit {
	x := *e.Exit
	x.DurationNS = 0
	return x
}

// TestExitStatus wants what waitpid(2) told whoever waited, once.
func TestExitStatus(t *testing.T) {
	r := start(t, source.Options{})
	scripts := []string{"exit 0", "exit 1", "exit 42", "exit 255"}
	for _, s := range []int{1, 2, 6, 9, 11, 13, 14, 15} {
		scripts = append(scripts, fmt.Sprintf("ulimit -c 0; kill -%d $$", s))
	}
	scripts = append(scripts, "ulimit -c unlimited; kill -11 $$")
	dir := t.TempDir() // for the core, if it comes as a file
	var ended []*os.ProcessState
	for _, s := range scripts {
		cmd := exec.Command("/bin/sh", "-c", s)
		cmd.Dir = dir
		_ = cmd.Run() // how it ends is what is tested
		ended = append(ended, cmd.ProcessState)
	}
	for _, p := range ended {
		r.untilExit(p.Pid())
	}
	r.stop()
	r.noGaps()
	signals := 0
	for i, p := range ended {
		events := r.of(p.Pid())
		if !slices.Equal(kinds(events), forkExecExit) {
			t.Fatalf("%s: kinds %v", scripts[i], kinds(events))
		}
		status := p.Sys().(syscall.WaitStatus)
		want := event.Exit{Core: status.CoreDump()}
		if status.Signaled() {
			want.Signal = uint8(status.Signal())
			signals++
		} else {
			want.Code = uint8(status.ExitStatus())
		}
		if e := events[2]; howEnded(e) != want || !e.Known.Has(event.KnownCode) {
			t.Errorf("%s: %+v, known %v, want %+v", scripts[i], *e.Exit, e.Known.Names(), want)
		}
	}
	if signals < 8 { // under nohup(1) SIGHUP is ignored
		t.Errorf("only %d processes were killed by a signal", signals)
	}
	if !ended[len(ended)-1].Sys().(syscall.WaitStatus).CoreDump() {
		t.Log("no core was dumped: kernel.core_pattern does not let it")
	}
}

// TestFirstThreadGoesFirst: the process ends when the last one does, whether its
// start was seen or not.
func TestFirstThreadGoesFirst(t *testing.T) {
	for _, c := range []struct {
		mode string
		want event.Exit
		code bool
	}{
		{"exit 0", event.Exit{}, true},
		{"exit 7", event.Exit{}, false},
		{"kill", event.Exit{Signal: 9}, true},
		{"exec", event.Exit{Code: 5}, true},
	} {
		for _, seeded := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, seeded %v", c.mode, seeded), func(t *testing.T) {
				var r *recording
				if !seeded {
					r = start(t, source.Options{})
				}
				cmd, in := leaderless(t, c.mode)
				pid := cmd.Process.Pid
				want := key(t, func() event.BootID { b, _ := procfs.FS{}.BootID(); return b }(), pid)
				if seeded {
					r = start(t, source.Options{})
				}
				at := time.Now().UnixNano()
				fmt.Fprintln(in)
				_ = cmd.Wait()
				r.untilExit(pid)
				r.stop()
				r.noGaps()
				wantKinds := []event.Kind{event.KindFork, event.KindExec, event.KindExec, event.KindExit}
				if seeded {
					wantKinds = wantKinds[2:]
				}
				if c.mode != "exec" {
					wantKinds = slices.Delete(wantKinds, len(wantKinds)-2, len(wantKinds)-1)
				}
				events := r.of(pid)
				if !slices.Equal(kinds(events), wantKinds) {
					t.Fatalf("kinds %v, want %v", kinds(events), wantKinds)
				}
				e := events[len(events)-1]
				known := e.Known.Has(event.KnownCode)
				if seeded && c.mode == "exit 0" { // the first thread was not seen to end
					c.code = false
				}
				if howEnded(e) != c.want || known != c.code || e.Process != want || e.Time < at {
					t.Errorf("exit %+v, code known %v, of %v; want %+v, %v, %v", *e.Exit, known, e.Process, c.want, c.code, want)
				}
			})
		}
	}
}

// TestExitOfSeeded: what is known only from /proc ends under its own name, even
// if it is reaped before anybody could look.
func TestExitOfSeeded(t *testing.T) {
	cmd := exec.Command("/bin/sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := start(t, source.Options{})
	want := key(t, r.boot, cmd.Process.Pid)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	r.untilExit(cmd.Process.Pid)
	r.stop()
	r.noGaps()
	e := r.first(cmd.Process.Pid, event.KindExit)
	if e.Process != want || howEnded(*e) != (event.Exit{Signal: 9}) || !e.Known.Has(event.KnownCode) {
		t.Errorf("%v ended %+v, want %v", e.Process, *e.Exit, want)
	}
	if _, ok := r.src.tracker.procs[uint32(cmd.Process.Pid)]; ok {
		t.Error("it is still remembered")
	}
}

// TestExitOfTraced: the threads of a process that ended are there until its tracer waits
// for them, however long that takes.
func TestExitOfTraced(t *testing.T) {
	testenv.NeedNetAdmin(t)
	cmd, _ := leaderless(t, "wait")
	pid := cmd.Process.Pid
	tids, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread() // it is the tracer
	var traced []int
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		for _, tid := range traced {
			_, _ = unix.Wait4(tid, nil, unix.WALL, nil)
		}
		_ = cmd.Wait()
		runtime.UnlockOSThread()
	})
	for _, d := range tids {
		tid, err := strconv.Atoi(d.Name())
		if err != nil {
			t.Fatal(err)
		}
		if tid != pid && unix.PtraceSeize(tid) == nil { // the first one has ended
			traced = append(traced, tid)
		}
	}
	if len(traced) == 0 {
		t.Fatal("no thread can be traced")
	}
	r := start(t, source.Options{})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	r.untilExit(pid)
	if st, err := (procfs.FS{}).Stat(pid); err != nil || st.Ended() {
		t.Errorf("nobody waited, and its threads are gone: %+v, %v", st, err)
	}
	if e := r.first(pid, event.KindExit); howEnded(*e) != (event.Exit{Signal: 9}) {
		t.Errorf("%+v", *e.Exit)
	}
	r.stop()
	r.noGaps()
}

// TestCloneParent: the child of a CLONE_PARENT is its maker's sibling.
func TestCloneParent(t *testing.T) {
	r := start(t, source.Options{})
	me := key(t, r.boot, os.Getpid())
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_PARENT}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	_ = cmd.Wait() // ECHILD: it is not ours
	r.until("fork", func() bool { return r.first(pid, event.KindFork) != nil })
	r.stop()
	st, err := procfs.FS{}.Stat(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	e := r.first(pid, event.KindFork)
	if want := key(t, r.boot, st.PPID); e.Parent != want || !e.Known.Has(event.KnownParent) {
		t.Errorf("parent %v, want %v, not %v", e.Parent, want, me)
	}
}

func TestThreadsAreNoProcesses(t *testing.T) {
	r := start(t, source.Options{})
	done := make(chan struct{})
	for range 20 {
		go func() {
			runtime.LockOSThread() // ends the thread with the goroutine
			done <- struct{}{}
		}()
	}
	for range 20 {
		<-done
	}
	cmd := exec.Command("/bin/true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	r.untilExit(cmd.Process.Pid)
	r.stop()
	for _, e := range r.all {
		if e.Kind == event.KindFork && e.Parent.PID == uint32(os.Getpid()) && e.Process.PID != uint32(cmd.Process.Pid) {
			t.Errorf("fork of %v: a thread, or a process we did not make", e.Process)
		}
		if e.Kind == event.KindExit && e.Process.PID == uint32(os.Getpid()) {
			t.Error("exit of the test itself: a thread's")
		}
	}
}

// TestShortLived: every process is told whole, under one name, and forgotten.
func TestShortLived(t *testing.T) {
	tiny := testenv.TinyProgram(t, t.TempDir())
	r := start(t, source.Options{FlushDelay: 50 * time.Millisecond})
	const n = 200
	var pids []int
	for range n {
		cmd := exec.Command(tiny, "x")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, cmd.Process.Pid)
	}
	r.untilExit(pids[n-1])
	r.stop()
	r.noGaps()
	details := 0
	for _, pid := range pids {
		events := r.of(pid)
		if !slices.Equal(kinds(events), forkExecExit) {
			t.Fatalf("pid %d: kinds %v", pid, kinds(events))
		}
		if events[0].Process != events[1].Process || events[0].Process != events[2].Process {
			t.Errorf("pid %d: names %v, %v, %v", pid, events[0].Process, events[1].Process, events[2].Process)
		}
		x, k := events[1].Exec, events[1].Known
		if k.Has(event.KnownArgs) {
			details++
		}
		if k.Has(event.KnownArgs) && !slices.Equal(x.Argv(), []string{tiny, "x"}) || k.Has(event.KnownExe) && x.Exe != tiny {
			t.Errorf("pid %d: exe %q, argv %q", pid, x.Exe, x.Argv())
		}
		if _, ok := r.src.tracker.procs[uint32(pid)]; ok {
			t.Errorf("pid %d is still remembered", pid)
		}
	}
	t.Logf("%d of %d were read while they lived", details, n)
}

// TestExecAfterExec: no exec is told with what belongs to another.
func TestExecAfterExec(t *testing.T) {
	r := start(t, source.Options{FlushDelay: 50 * time.Millisecond})
	var pids []int
	for range 100 {
		cmd := exec.Command("/bin/sh", "-c", "exec /usr/bin/env A=B /bin/sleep 0.002")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, cmd.Process.Pid)
	}
	r.untilExit(pids[len(pids)-1])
	r.stop()
	r.noGaps()
	details := map[string]int{}
	for _, pid := range pids {
		events := r.of(pid)
		want := []event.Kind{event.KindFork, event.KindExec, event.KindExec, event.KindExec, event.KindExit}
		if !slices.Equal(kinds(events), want) {
			t.Fatalf("pid %d: kinds %v", pid, kinds(events))
		}
		for i, name := range []string{"/bin/sh", "/usr/bin/env", "/bin/sleep"} {
			e := events[i+1]
			if e.Known.Has(event.KnownArgs) {
				details[name]++
			} else if e.Known&^(event.KnownTime|event.KnownParent) != 0 && e.Known.Has(event.KnownExe) {
				t.Errorf("known without arguments: %v", e.Known.Names())
			}
			if e.Known.Has(event.KnownArgs) && e.Exec.Argv()[0] != name {
				t.Errorf("exec of %s is told with argv %q", name, e.Exec.Argv())
			}
		}
	}
	t.Logf("known details: %v", details)
}

// TestOverflow: what finds no room is a gap, and afterwards all is well again.
func TestOverflow(t *testing.T) {
	r := start(t, source.Options{RingBytes: 256 << 10})
	gap := func() bool {
		return slices.ContainsFunc(r.all, func(e event.Event) bool { return e.Kind == event.KindGap && e.Gap.Cause == causeOverflow })
	}
	run := func() int {
		cmd := exec.Command("/bin/true")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		return cmd.Process.Pid
	}
	// Nobody reads: two batches fill the channel, then messages fill the buffer.
	// The sleeper is born when it is full, so that its fork is lost.
	sleeper := exec.Command("/bin/sleep", "1000")
	var pids []int
	for i := range 300 {
		if i == 290 {
			if err := sleeper.Start(); err != nil {
				t.Fatal(err)
			}
		}
		pids = append(pids, run())
	}
	r.until("gap", gap)
	// The storm is over when a process comes through whole.
	for whole := false; !whole; {
		pid := run()
		read := len(r.all)
		r.until("exit or others", func() bool { return r.first(pid, event.KindExit) != nil || len(r.all) > read+50 })
		whole = slices.Equal(kinds(r.of(pid)), forkExecExit)
	}
	want := key(t, r.boot, sleeper.Process.Pid)
	_ = sleeper.Process.Kill()
	_ = sleeper.Wait()
	r.untilExit(sleeper.Process.Pid)
	if e := r.first(sleeper.Process.Pid, event.KindExit); e.Process != want || howEnded(*e) != (event.Exit{Signal: 9}) {
		t.Errorf("%v ended %+v, want %v", e.Process, *e.Exit, want)
	}
	r.stop()
	for _, e := range r.all {
		if e.Kind == event.KindGap && e.Gap.Cause == causeOverflow && (e.Known != event.KnownTime || e.Gap.Of != 0 || e.Gap.Lost != 0 || e.Gap.Until < e.Time) {
			t.Errorf("gap %+v, known %v", *e.Gap, e.Known.Names())
		}
	}
	seen := 0
	for _, pid := range pids {
		if r.first(pid, event.KindExit) != nil {
			seen++
		}
		if _, ok := r.src.tracker.procs[uint32(pid)]; ok {
			t.Errorf("pid %d is still remembered", pid)
		}
	}
	if seen == len(pids) {
		t.Error("nothing was lost: the buffer is too large, the test tests nothing")
	}
}

func pidOf(t *testing.T, r io.Reader) int {
	t.Helper()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// TestParentEnded: an exec after the parent's end names the new parent.
func TestParentEnded(t *testing.T) {
	r := start(t, source.Options{})
	in, gate, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	cmd := exec.Command("/bin/sh", "-c", "(read x; exec /bin/sleep 0.2) <&3 >&- & echo $!")
	cmd.ExtraFiles = []*os.File{in}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	pid := pidOf(t, out)
	_ = cmd.Wait()
	r.untilExit(cmd.Process.Pid)
	st, err := procfs.FS{}.Stat(pid)
	if err != nil {
		t.Fatal(err)
	}
	want := key(t, r.boot, st.PPID)
	fmt.Fprintln(gate)
	r.untilExit(pid)
	r.stop()
	if e := r.first(pid, event.KindFork); e.Parent.PID != uint32(cmd.Process.Pid) {
		t.Errorf("forked by %v, want %d", e.Parent, cmd.Process.Pid)
	}
	if e := r.first(pid, event.KindExec); e.Parent != want || !e.Known.Has(event.KnownParent) {
		t.Errorf("exec: parent %v, want %v, known %v", e.Parent, want, e.Known.Names())
	}
}
