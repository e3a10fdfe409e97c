//go:build linux && (amd64 || arm64)

package ebpf

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
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

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
	"github.com/sentineld/sentineld/internal/source"
	"github.com/sentineld/sentineld/internal/testenv"
)

// recording is an open source whose events are gathered.
type recording struct {
	t    *testing.T
	src  source.Source
	all  []event.Event
	boot event.BootID
}

func start(t *testing.T, o Options) *recording {
	t.Helper()
	testenv.NeedBPF(t)
	boot, err := procfs.FS{}.BootID()
	if err != nil {
		t.Fatal(err)
	}
	o.Boot = boot
	if o.FlushDelay == 0 {
		o.FlushDelay = 5 * time.Millisecond
	}
	src, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = src.Close()
		for range src.Events() {
		}
	})
	return &recording{t: t, src: src, boot: boot}
}

// stop closes the source and reads it to its end: everything that happened
// before is then in all.
func (r *recording) stop() {
	r.t.Helper()
	if err := r.src.Close(); err != nil {
		r.t.Fatal(err)
	}
	for batch := range r.src.Events() {
		r.all = append(r.all, batch...)
	}
	if err := r.src.Err(); err != nil {
		r.t.Fatal(err)
	}
}

// of lists the events of a pid, in order.
func (r *recording) of(pid int) (list []event.Event) {
	for _, e := range r.all {
		if e.Kind != event.KindGap && e.Process.PID == uint32(pid) {
			list = append(list, e)
		}
	}
	return list
}

// recordExec runs a command under the recording and returns its one exec.
func recordExec(t *testing.T, o Options, cmd *exec.Cmd) event.Event {
	t.Helper()
	r := start(t, o)
	var failed *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	r.stop()
	return r.execOf(cmd.Process.Pid)
}

// execOf is the one exec of a pid.
func (r *recording) execOf(pid int) event.Event {
	r.t.Helper()
	var execs []event.Event
	for _, e := range r.of(pid) {
		if e.Kind == event.KindExec {
			execs = append(execs, e)
		}
	}
	if len(execs) != 1 {
		r.t.Fatalf("%d execs of pid %d among %d events", len(execs), pid, len(r.all))
	}
	return execs[0]
}

func TestLifeOfAProcess(t *testing.T) {
	for _, programs := range []ebpf.ProgramType{ebpf.Tracing, ebpf.RawTracepoint} {
		t.Run(programs.String(), func(t *testing.T) {
			testenv.NeedBPF(t)
			boot, err := procfs.FS{}.BootID()
			if err != nil {
				t.Fatal(err)
			}
			o := Options{Options: source.Options{Boot: boot, FlushDelay: time.Millisecond}}
			o.FillDefaults()
			if err := rlimit.RemoveMemlock(); err != nil { // Open's work, which maps before 5.11 need
				t.Log(err)
			}
			l, err := newLoader(o)
			if err != nil {
				t.Fatal(err)
			}
			src, err := open(o, l, programs)
			if err != nil {
				t.Fatal(err)
			}
			go src.run()
			r := &recording{t: t, src: src, boot: boot}
			before := time.Now().UnixNano()
			cmd := exec.Command("/bin/echo", "a", "", "b c", "\xff\n\"")
			cmd.Dir = "/usr"
			self, err := procfs.FS{}.Stat(os.Getpid())
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			after := time.Now().UnixNano()
			r.stop()
			events := r.of(cmd.Process.Pid)
			var kinds []event.Kind
			for _, e := range events {
				kinds = append(kinds, e.Kind)
				if e.Process != events[0].Process {
					t.Errorf("identity changed from %v to %v", events[0].Process, e.Process)
				}
				if e.Time < before || e.Time > after {
					t.Errorf("%s at %d, not in %d..%d", e.Kind, e.Time, before, after)
				}
				if want := (event.ProcessKey{Boot: boot, PID: uint32(os.Getpid()), Start: self.Start}); e.Parent != want && e.Kind != event.KindExit {
					t.Errorf("%s: parent %v, want %v", e.Kind, e.Parent, want)
				}
			}
			if want := []event.Kind{event.KindFork, event.KindExec, event.KindExit}; !slices.Equal(kinds, want) {
				t.Fatalf("kinds %v, want %v", kinds, want)
			}
			x := events[1].Exec
			if want := []string{"/bin/echo", "a", "", "b c", "\xff\n\""}; !slices.Equal(x.Argv(), want) || x.Argc != 5 || x.Truncated {
				t.Errorf("argv %q argc %d truncated %v", x.Argv(), x.Argc, x.Truncated)
			}
			exe, err := filepath.EvalSymlinks("/bin/echo")
			if err != nil {
				t.Fatal(err)
			}
			if x.Exe != exe || x.Invoked != "/bin/echo" || x.Interpreter != "" || x.Cwd != "/usr" || x.Comm != "echo" {
				t.Errorf("exe %q invoked %q interpreter %q cwd %q comm %q", x.Exe, x.Invoked, x.Interpreter, x.Cwd, x.Comm)
			}
			var st unix.Stat_t
			if err := unix.Stat(exe, &st); err != nil {
				t.Fatal(err)
			}
			if x.Dev != st.Dev || x.Inode != st.Ino || x.Nlink != uint32(st.Nlink) || x.Deleted || x.Fileless {
				t.Errorf("dev %d inode %d nlink %d, want %d %d %d", x.Dev, x.Inode, x.Nlink, st.Dev, st.Ino, st.Nlink)
			}
			lived := events[2].Time - events[0].Time // on the wall clock, by two readings of it
			if e := events[2]; !e.Known.Has(event.KnownDuration) || e.Exit.DurationNS < lived-5e6 || e.Exit.DurationNS > lived+int64(time.Second) {
				t.Errorf("lived %v, told %v after its fork", time.Duration(e.Exit.DurationNS), time.Duration(lived))
			}
			events[2].Exit.DurationNS = 0
			if e := events[2].Exit; *e != (event.Exit{}) {
				t.Errorf("exit %+v", e)
			}
		})
	}
}

// What the snapshot reads of a process is what its exec event said.
func TestEqualsSnapshot(t *testing.T) {
	r := start(t, Options{})
	cmd := exec.Command("/bin/sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var seen event.Event
	for !seen.Known.Has(event.KnownArgs) { // Start returns while the exec is still under way
		var err error
		if seen, err = (procfs.FS{}).Process(r.boot, cmd.Process.Pid, 64<<10); err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	live := r.execOf(cmd.Process.Pid)
	if live.Process != seen.Process || live.Parent != seen.Parent {
		t.Errorf("process %v, parent %v; snapshot %v, %v", live.Process, live.Parent, seen.Process, seen.Parent)
	}
	if want := live.Known &^ (event.KnownTime | event.KnownStart | event.KnownInvoked | event.KnownInterpreter | event.KnownGained); seen.Known != want {
		t.Errorf("live knows %v\nsnapshot %v", want.Names(), seen.Known.Names())
	}
	a, b := *live.Exec, *seen.Exec
	a.Invoked, b.Invoked = "", ""
	if a != b || a.Layout == 0 {
		t.Errorf("live %+v\nsnapshot %+v", a, b)
	}
}

func TestArgvOfEverySize(t *testing.T) {
	sizes := []int{1, 300, 384, 385, 700, 900, 1500, 3000, 5000, 9000, 15000, 20000, 40000, 65000, 65536, 66000, 100_000, 131_000}
	for _, limit := range []int{64 << 10, 128 << 10} {
		r := start(t, Options{Options: source.Options{ArgsMax: limit}})
		var pids []int
		for _, size := range sizes {
			cmd := exec.Command("/bin/true", strings.Repeat("x", size-1)+"y")
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			pids = append(pids, cmd.Process.Pid)
		}
		r.stop()
		for i, size := range sizes {
			e := r.execOf(pids[i])
			total := len("/bin/true") + 1 + size + 1
			if e.Exec.ArgsLen != uint64(total) || e.Exec.Truncated != (total > limit) {
				t.Errorf("%d of %d: length %d truncated %v, want %d %v", size, limit, e.Exec.ArgsLen, e.Exec.Truncated, total, total > limit)
			}
			want := "/bin/true\x00" + strings.Repeat("x", size-1) + "y\x00"
			if e.Exec.Args != want[:min(total, limit)] {
				t.Errorf("%d of %d: %d bytes of args, want %d", size, limit, len(e.Exec.Args), min(total, limit))
			}
			if e.Exec.Cwd == "" || e.Exec.Exe == "" || !e.Known.Has(event.KnownExe|event.KnownCwd|event.KnownInvoked|event.KnownCgroup) {
				t.Errorf("%d of %d: known only %v", size, limit, e.Known.Names())
			}
		}
	}
}

func TestManyArguments(t *testing.T) {
	args := make([]string, 2000)
	for i := range args {
		args[i] = strconv.Itoa(i)
	}
	args[1999] = ""
	e := recordExec(t, Options{}, exec.Command("/bin/true", args...))
	if got := e.Exec.Argv(); e.Exec.Argc != 2001 || !slices.Equal(got[1:], args) {
		t.Errorf("argc %d, %d arguments", e.Exec.Argc, len(got))
	}
}

func TestDeepPath(t *testing.T) {
	dir := t.TempDir()
	deep := dir
	for i := range 14 {
		deep = filepath.Join(deep, strings.Repeat(string(rune('a'+i)), 254))
	}
	// Deeper than PATH_MAX cannot be named, so go there step by step.
	if len(deep) > 4000 {
		t.Fatalf("test directory %s is too deep", dir)
	}
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(deep, "p")
	data, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Dir = deep
	e := recordExec(t, Options{}, cmd)
	if e.Exec.Exe != program || e.Exec.Cwd != deep || e.Exec.Invoked != program {
		t.Errorf("exe of %d bytes, cwd of %d, invoked of %d, want %d; known %v", len(e.Exec.Exe), len(e.Exec.Cwd), len(e.Exec.Invoked), len(program), e.Known.Names())
	}
}

func TestMoreNamesThanAreWalked(t *testing.T) {
	dir := t.TempDir() + strings.Repeat("/d", 96)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/true")
	cmd.Dir = dir
	e := recordExec(t, Options{}, cmd)
	if want := "(too deep)" + strings.Repeat("/d", 96); e.Exec.Cwd != want || !e.Known.Has(event.KnownCwd|event.KnownExe|event.KnownArgs) {
		t.Errorf("a cwd of %d names is told as %q, known %v", strings.Count(dir, "/"), e.Exec.Cwd, e.Known.Names())
	}
}

func TestScript(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh -e\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	e := recordExec(t, Options{}, exec.Command(script, "x"))
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	x := e.Exec
	if x.Invoked != script || x.Interpreter != "/bin/sh" || x.Exe != sh || !slices.Equal(x.Argv(), []string{"/bin/sh", "-e", script, "x"}) {
		t.Errorf("invoked %q interpreter %q exe %q argv %q", x.Invoked, x.Interpreter, x.Exe, x.Argv())
	}
}

func TestFilelessAndDeleted(t *testing.T) {
	data, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("memfd", func(t *testing.T) {
		fd, err := unix.MemfdCreate("secret", 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "memfd")
		defer f.Close()
		if _, err := f.Write(data); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/proc/self/fd/3")
		cmd.ExtraFiles = []*os.File{f}
		x := recordExec(t, Options{}, cmd).Exec
		if x.Exe != "memfd:secret" || !x.Fileless || !x.Deleted || x.Nlink != 0 {
			t.Errorf("exe %q fileless %v deleted %v nlink %d", x.Exe, x.Fileless, x.Deleted, x.Nlink)
		}
	})
	t.Run("unlinked", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "gone")
		if err := os.WriteFile(path, data, 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("/proc/self/fd/3")
		cmd.ExtraFiles = []*os.File{f}
		x := recordExec(t, Options{}, cmd).Exec
		if x.Exe != path || !x.Deleted || x.Nlink != 0 {
			t.Errorf("exe %q deleted %v nlink %d", x.Exe, x.Deleted, x.Nlink)
		}
	})
}

// TestExitStatus wants what waitpid(2) told whoever waited, once.
func TestExitStatus(t *testing.T) {
	r := start(t, Options{})
	scripts := []string{"exit 0", "exit 1", "exit 42", "exit 255"}
	for _, s := range []int{1, 2, 6, 9, 13, 14, 15} {
		scripts = append(scripts, fmt.Sprintf("ulimit -c 0; kill -%d $$", s))
	}
	var ended []*os.ProcessState
	for _, s := range scripts {
		cmd := exec.Command("/bin/sh", "-c", s)
		_ = cmd.Run() // how it ends is what is tested
		ended = append(ended, cmd.ProcessState)
	}
	r.stop()
	signals := 0
	for i, p := range ended {
		var exits []event.Exit
		for _, e := range r.of(p.Pid()) {
			if e.Kind == event.KindExit {
				exit := *e.Exit
				exit.DurationNS = 0
				exits = append(exits, exit)
			}
		}
		status := p.Sys().(syscall.WaitStatus)
		want := event.Exit{}
		if status.Signaled() {
			want.Signal = uint8(status.Signal())
			signals++
		} else {
			want.Code = uint8(status.ExitStatus())
		}
		if !slices.Equal(exits, []event.Exit{want}) {
			t.Errorf("%s: %+v, want one %+v", scripts[i], exits, want)
		}
	}
	if signals < 6 { // under nohup(1) SIGHUP is ignored
		t.Errorf("only %d processes were killed by a signal", signals)
	}
}

// Threads are not processes: neither their beginning nor their end is told.
func TestThreads(t *testing.T) {
	if err := exec.Command("/bin/true").Run(); err != nil { // package os tries what the kernel has at the first one, with a process
		t.Fatal(err)
	}
	r := start(t, Options{})
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
	s := r.src.(*ring)
	if err := s.check(nil); err != nil { // threads began and ended
		t.Fatal(err)
	}
	r.stop()
	for _, e := range r.of(os.Getpid()) { // whatever a thread is told as has the pid of all of them
		t.Errorf("%s of the test itself: a thread's", e.Kind)
	}
	for _, e := range r.all {
		if e.Kind == event.KindFork && e.Parent.PID == uint32(os.Getpid()) && e.Process.PID != uint32(cmd.Process.Pid) {
			t.Errorf("fork of %v, a process we did not make", e.Process)
		}
	}
}

// Events that find no room are counted, each of them.
func TestTinyRingCountsLoss(t *testing.T) {
	// Its reader sleeps long enough for the ring to overflow.
	r := start(t, Options{Options: source.Options{RingBytes: 4096 * os.Getpagesize() / 4096, FlushDelay: time.Second}})
	const n = 50
	pids := map[uint32]bool{}
	for range n {
		cmd := exec.Command("/bin/true")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		pids[uint32(cmd.Process.Pid)] = true
	}
	r.stop()
	seen, lost := map[event.Kind]uint64{}, map[event.Kind]uint64{}
	for _, e := range r.all {
		if e.Kind == event.KindGap {
			if !e.Known.Has(event.KnownLost) || e.Gap.Until < e.Time || e.Gap.Cause == "" {
				t.Errorf("gap %+v", e.Gap)
			}
			lost[e.Gap.Of] += e.Gap.Lost
		} else if pids[e.Process.PID] {
			seen[e.Kind]++
		}
	}
	for _, k := range []event.Kind{event.KindExec, event.KindFork, event.KindExit} {
		// Others may have lost events too, so that lost can only be more.
		if seen[k]+lost[k] < n {
			t.Errorf("%s: %d seen and %d lost of %d", k, seen[k], lost[k], n)
		}
	}
	if lost[event.KindExec] == 0 {
		t.Error("nothing was lost: the ring is not tiny, the test tests nothing")
	}
}

// An exec may be lost though the ring buffer was empty, if that has no room for what is
// discarded of it and for the rest. The gap does not begin with what came later.
func TestLossFromAnEmptyRing(t *testing.T) {
	testenv.NeedBPF(t)
	dir := t.TempDir()
	for range 6 {
		dir = filepath.Join(dir, strings.Repeat("d", 200))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// The arguments leave less room than the directory takes.
	cmd := exec.Command("/bin/sh", "-c", `read x; exec /bin/sh -c "read y" "$@"`, "sh", strings.Repeat("x", 91_000))
	cmd.Dir = dir
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()

	s := unread(t, Options{Options: source.Options{ArgsMax: 128 << 10, RingBytes: 256 << 10}})
	fmt.Fprintln(in)
	for deadline := time.Now().Add(20 * time.Second); ; {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid))
		if err == nil && strings.HasPrefix(string(b), "/bin/sh\x00-c\x00read y\x00") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it executed nothing: %v", err)
		}
	}
	executed := time.Now().UnixNano()
	<-time.After(300 * time.Millisecond) // more than is allowed for a program that is kept from running
	if err := exec.Command("/bin/true").Run(); err != nil {
		t.Fatal(err)
	}
	lost := false
	for _, batch := range s.read(t) {
		for _, e := range batch {
			if e.Kind != event.KindGap || e.Gap.Of != event.KindExec {
				continue
			}
			lost = true
			if e.Time > executed {
				t.Errorf("the gap begins %v after the exec", time.Duration(e.Time-executed))
			}
		}
	}
	if !lost {
		t.Error("nothing was lost: the test tests nothing")
	}
}

// filled is an open source that nobody reads, whose ring buffer n execs with
// arguments of 100 KB went into, one from each pid.
func filled(t *testing.T, n int) (s *ring, pids []int) {
	t.Helper()
	s = unread(t, Options{Options: source.Options{ArgsMax: 128 << 10}})
	long := strings.Repeat("x", 100_000)
	for range n {
		cmd := exec.Command("/bin/true", long)
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, cmd.Process.Pid)
	}
	return s, pids
}

// unread is an open source that nobody reads.
func unread(t *testing.T, o Options) *ring {
	t.Helper()
	testenv.NeedBPF(t)
	if err := rlimit.RemoveMemlock(); err != nil { // Open's work, which maps before 5.11 need
		t.Log(err)
	}
	o.FillDefaults()
	l, err := newLoader(o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(o, l, ebpf.RawTracepoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.release)
	return s
}

// read lets a source read its ring buffer once, and hands out the batches.
func (s *ring) read(t *testing.T) (batches [][]event.Event) {
	t.Helper()
	go func() {
		defer close(s.events)
		if !s.drain(&ringbuf.Record{}) {
			t.Error(s.err)
		}
	}()
	for batch := range s.events {
		batches = append(batches, batch)
	}
	return batches
}

// A batch is bounded in bytes, too: four of them may be in memory.
func TestBatchesAreBounded(t *testing.T) {
	s, pids := filled(t, 40)
	most, execs := 0, 0
	for _, batch := range s.read(t) {
		size := 0
		for _, e := range batch {
			if e.Kind == event.KindExec && slices.Contains(pids, int(e.Process.PID)) {
				size += len(e.Exec.Args)
				execs++
			}
		}
		most = max(most, size)
	}
	if most > 1<<20 {
		t.Errorf("a batch has %d bytes of arguments", most)
	}
	if execs != len(pids) {
		t.Errorf("%d execs of %d", execs, len(pids))
	}
}

// TestHeldUntilGiven: a record is in the buffer, held or given, at each moment.
func TestHeldUntilGiven(t *testing.T) {
	s, pids := filled(t, 25)
	go func() {
		defer close(s.events)
		if !s.drain(&ringbuf.Record{}) {
			t.Error(s.err)
		}
	}()
	defer func() {
		for range s.events {
		}
	}()
	taken := uint64(0)
	for seen := 0; seen < len(pids); {
		if waiting, _ := s.Backlog(); waiting == 0 && s.Held() == 0 && s.Given() == taken {
			t.Fatalf("nothing is on its way after %d execs of %d", seen, len(pids))
		}
		select {
		case batch := <-s.events:
			taken++
			for _, e := range batch {
				if e.Kind == event.KindExec && slices.Contains(pids, int(e.Process.PID)) {
					seen++
				}
			}
		default:
			runtime.Gosched()
		}
	}
}

// What was lost is told with the first batch, not when the ring buffer is empty:
// under load that may take as long as the load.
func TestLossIsToldEarly(t *testing.T) {
	s, pids := filled(t, 80)
	batches := s.read(t)
	var told []uint64
	seen := 0
	for _, batch := range batches {
		var lost uint64
		for _, e := range batch {
			if e.Kind == event.KindGap && e.Gap.Of == event.KindExec {
				lost += e.Gap.Lost
			}
			if e.Kind == event.KindExec && slices.Contains(pids, int(e.Process.PID)) {
				seen++
			}
		}
		told = append(told, lost)
	}
	if len(told) < 3 || told[0] < uint64(len(pids)-seen) || seen == len(pids) {
		t.Errorf("%d execs of %d, lost ones told in batches: %d", seen, len(pids), told)
	}
}

// A loss cannot be older than what fills the ring buffer, however long it was empty
// before. Its range follows the wall clock of the events beside it, whatever that was
// when the buffer was read the last time.
func TestRangeOfLoss(t *testing.T) {
	began := time.Now()
	s, _ := filled(t, 80)
	s.looked = source.ClockNow(unix.CLOCK_BOOTTIME) - int64(time.Hour)
	n := 0
	for _, batch := range s.read(t) {
		for _, e := range batch {
			if e.Kind != event.KindGap {
				continue
			}
			n++
			if from := time.Unix(0, e.Time); from.Before(began.Add(-time.Second)) || e.Gap.Until < e.Time || time.Unix(0, e.Gap.Until).After(time.Now()) {
				t.Errorf("lost from %v to %v, the test began at %v", from, time.Unix(0, e.Gap.Until), began)
			}
		}
	}
	if n == 0 {
		t.Error("nothing was lost")
	}
	// The clock is set back by an hour between two reads.
	s.decoder.wallOffset -= int64(time.Hour)
	s.lost[kindExec]--
	for _, e := range s.appendLost(nil) {
		if now := time.Now().Add(-time.Hour); e.Gap.Until < e.Time || time.Unix(0, e.Gap.Until).After(now) {
			t.Errorf("lost from %v to %v, at %v", time.Unix(0, e.Time), time.Unix(0, e.Gap.Until), now)
		}
	}
	if s.lost[kindExec]--; len(s.appendLost(nil)) == 0 {
		t.Error("a loss was not told")
	}
}

// TestFilling: what was lost when the ring buffer filled is not older than the first
// record in it, where the time of that is known to be of when it had its place.
func TestFilling(t *testing.T) {
	const at = int64(time.Hour)
	for name, c := range map[string]struct {
		ring, spares int
		kind         uint32
		want         int64
	}{
		"a fork": {8 << 20, 0, kindFork, at - int64(100*time.Millisecond)},
		"an exec by a program that can be preempted":      {8 << 20, numSpares, kindExec, 0},
		"a failed exec, by one that can be, too":          {8 << 20, 0, kindExecFailed, 0},
		"in a buffer that is too small for other records": {4 << 10, 0, kindFork, 0},
	} {
		s := &ring{Options: Options{Options: source.Options{RingBytes: c.ring}, spares: c.spares}, filling: 5}
		raw := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(c.kind)), uint64(at))
		if s.setFilling(raw); s.filling != c.want {
			t.Errorf("%s: %v, want %v", name, time.Duration(s.filling), time.Duration(c.want))
		}
	}
}

func TestFlushDelayBoundsWaiting(t *testing.T) {
	r := start(t, Options{Options: source.Options{FlushDelay: 20 * time.Millisecond}})
	for range 5 {
		if err := exec.Command("/bin/true").Run(); err != nil {
			t.Fatal(err)
		}
		deadline := time.After(5 * time.Second)
		for found := false; !found; {
			select {
			case batch := <-r.src.Events():
				found = slices.ContainsFunc(batch, func(e event.Event) bool { return e.Kind == event.KindExec && e.Exec.Invoked == "/bin/true" })
			case <-deadline:
				t.Fatal("no event without another wake-up")
			}
		}
	}
}

// TestOpenAsUser opens the source without root: what it needs, and nothing less.
func TestOpenAsUser(t *testing.T) {
	if os.Getenv("SENTINELD_TEST_OPEN") != "" { // the child
		src, err := Open(context.Background(), Options{})
		if err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		_ = src.Close()
		for range src.Events() {
		}
		os.Exit(0)
	}
	testenv.NeedBPF(t)
	open := func(caps ...uintptr) (string, int) {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestOpenAsUser$")
		cmd.Env = append(os.Environ(), "SENTINELD_TEST_OPEN=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: caps}
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := open(unix.CAP_BPF, unix.CAP_PERFMON); code != 0 {
		t.Errorf("with CAP_BPF and CAP_PERFMON alone: exit %d\n%s", code, out)
	}
	for name, caps := range map[string][]uintptr{"none": nil, "CAP_BPF": {unix.CAP_BPF}, "CAP_PERFMON": {unix.CAP_PERFMON}} {
		if out, code := open(caps...); code != 3 || !strings.Contains(out, "needs CAP_BPF and CAP_PERFMON") {
			t.Errorf("with %s: exit %d\n%s", name, code, out)
		}
	}
}
