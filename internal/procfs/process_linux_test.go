package procfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/testenv"
)

// Modes of the observed program.
const (
	leaderless = "leaderless" // ends the first thread while another goes on
	large      = "large"      // has much memory
	endless    = "endless"    // lets its arguments end 2 GiB further on
	restless   = "restless"   // looks as if it did one exec after the other
)

// Only while packages are initialised is the first thread sure to be this one.
func init() { //nolint:gochecknoinits // see above
	if os.Getenv("PROCFS_TEST_CHILD") == leaderless {
		runtime.LockOSThread()
	}
}

// TestMain plays the observed program when the environment says so: it says
// that it is there and waits for the end of its input.
func TestMain(m *testing.M) {
	switch os.Getenv("PROCFS_TEST_CHILD") {
	case "":
		os.Exit(m.Run())
	case leaderless:
		go wait()
		unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
	case large:
		const size = 256 << 20
		if _, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_POPULATE); err != nil {
			panic(err)
		}
		wait()
	case endless:
		if err := moveArgs(2 << 30); err != nil {
			fmt.Println(err)
		}
		wait()
	case restless:
		go func() {
			m, err := testenv.OwnMM()
			for ; err == nil; m.StartStack++ {
				err = m.Set()
			}
			fmt.Println(err)
			os.Exit(1)
		}()
		wait()
	default:
		wait()
	}
}

// moveArgs says that the arguments are in size bytes that were never written.
func moveArgs(size int) error {
	m, err := testenv.OwnMM()
	if err != nil {
		return err
	}
	at, err := unix.MmapPtr(-1, 0, nil, uintptr(size), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	m.ArgStart = uint64(uintptr(at))
	m.ArgEnd = m.ArgStart + uint64(size)
	return m.Set()
}

func wait() {
	fmt.Println("here")
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// start runs cmd as such a program and returns when it is there.
func start(t *testing.T, cmd *exec.Cmd, mode string) (pid int) {
	t.Helper()
	cmd.Env = append(os.Environ(), "PROCFS_TEST_CHILD="+mode)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid
}

func self(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return exe
}

func boot(t *testing.T) event.BootID {
	t.Helper()
	b, err := FS{}.BootID()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func process(t *testing.T, pid int) *event.Exec {
	t.Helper()
	e, err := FS{}.Process(boot(t), pid, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	return e.Exec
}

func TestOwnProcess(t *testing.T) {
	before, _ := bootClock()
	s, err := FS{}.Look(boot(t), os.Getpid(), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	e, x := s.Event, s.Event.Exec
	want := event.KnownParent | event.KnownUID | event.KnownEUID | event.KnownSID | event.KnownTTY | event.KnownExe |
		event.KnownArgs | event.KnownCwd | event.KnownComm | event.KnownCgroup | event.KnownContainer | event.KnownNS |
		event.KnownNSPID | event.KnownFile | event.KnownFileTimes | event.KnownNlink | event.KnownFileless
	if got := e.Known &^ event.KnownAUID; got != want { // a kernel without audit has no loginuid
		t.Errorf("known: %v", e.Known.Names())
	}
	if e.Kind != event.KindExec || e.Source != event.SourceSnapshot || time.Since(time.Unix(0, e.Time)) > time.Minute {
		t.Errorf("event: %+v", e)
	}
	if s.ReadAt < before || event.TicksOf(uint64(s.ReadAt)) < e.Process.Start || e.Process.Start == 0 {
		t.Errorf("read at %d, started %d", s.ReadAt, e.Process.Start)
	}
	parent, err := FS{}.Stat(os.Getppid())
	if err != nil || e.Parent != parent.key(boot(t)) || e.Process.PID != uint32(os.Getpid()) {
		t.Errorf("process %v, parent %v, want %v, %v", e.Process, e.Parent, parent, err)
	}
	exe := self(t)
	var st unix.Stat_t
	if err := unix.Stat(exe, &st); err != nil {
		t.Fatal(err)
	}
	if x.Exe != exe || x.Dev != uint64(st.Dev) || x.Inode != st.Ino || x.Nlink != uint32(st.Nlink) || x.Deleted || x.Fileless {
		t.Errorf("exe: %+v", x)
	}
	if x.Size != uint64(st.Size) || x.MTime != st.Mtim.Nano() || x.CTime != st.Ctim.Nano() {
		t.Errorf("size %d, mtime %d, ctime %d of %+v", x.Size, x.MTime, x.CTime, st)
	}
	if cwd, _ := os.Getwd(); x.Cwd != cwd || strings.Join(x.Argv(), "|") != strings.Join(os.Args, "|") || x.Argc != uint32(len(os.Args)) {
		t.Errorf("cwd %q, args %q", x.Cwd, x.Args)
	}
	if x.UID != uint32(os.Getuid()) || x.GID != uint32(os.Getgid()) || x.EUID != uint32(os.Geteuid()) || x.EGID != uint32(os.Getegid()) {
		t.Errorf("ids: %+v", x)
	}
	if sid, _ := unix.Getsid(0); x.SID != uint32(sid) || x.NSPID == 0 || x.PIDNS == 0 || x.MntNS == 0 || x.Cgroup == "" {
		t.Errorf("place: %+v", x)
	}
}

func TestArguments(t *testing.T) {
	for name, argv := range map[string][]string{
		"odd":  {"na me", "", " ", "\xff\xfe\n", "", ""},
		"one":  {"x"},
		"long": {"x", strings.Repeat("y", 100<<10), "z"},
	} {
		cmd := exec.Command(self(t))
		cmd.Args = argv
		pid := start(t, cmd, "wait")
		want := strings.Join(argv, "\x00") + "\x00"
		for _, limit := range []int{1 << 20, 64 << 10, 3, 0, -1} {
			e, err := FS{}.Process(boot(t), pid, limit)
			if err != nil {
				t.Fatal(err)
			}
			x := e.Exec
			if x.Args != want[:min(len(want), max(limit, 0))] || x.ArgsLen != uint64(len(want)) || x.Argc != uint32(len(argv)) ||
				x.Truncated != (len(x.Args) < len(want)) {
				t.Errorf("%s, at most %d: %d bytes of %d, argc %d, truncated %v", name, limit, len(x.Args), x.ArgsLen, x.Argc, x.Truncated)
			}
		}
	}
}

// TestEndlessArguments: who says that his arguments are as long as his memory
// holds nobody up, and no length is believed.
func TestEndlessArguments(t *testing.T) {
	testenv.NeedMM(t)
	pid := start(t, exec.Command(self(t)), endless)
	for _, limit := range []int{64 << 10, 16 << 20} {
		e, err := FS{}.Process(boot(t), pid, limit)
		if err != nil {
			t.Fatal(err)
		}
		kept := min(limit, argsMost)
		if x := e.Exec; !e.Known.Has(event.KnownArgs) || x.Args != strings.Repeat("\x00", kept) || x.ArgsLen != uint64(kept) || x.Argc != uint32(kept) || !x.Truncated {
			t.Errorf("at most %d: %d bytes of %d, argc %d, truncated %v, known %v", limit, len(x.Args), x.ArgsLen, x.Argc, x.Truncated, e.Known.Names())
		}
	}
}

// TestExecedWhileRead: of a process that is another program at each look there is
// no telling whose arguments were read. What stays the same is known all the same.
func TestExecedWhileRead(t *testing.T) {
	testenv.NeedMM(t)
	cmd := exec.Command(self(t))
	pid := start(t, cmd, restless)
	var s Seen
	for begin := time.Now(); !s.Torn && time.Since(begin) < 20*time.Second; { // now and then it does not run meanwhile
		var err error
		if s, err = (FS{}).Look(boot(t), pid, 1<<10); err != nil {
			t.Fatal(err)
		}
	}
	k, x := s.Event.Known, s.Event.Exec
	if !s.Torn || k.Has(event.KnownArgs) || x.Args != "" || !k.Has(event.KnownExe|event.KnownFile|event.KnownUID|event.KnownEUID) || x.Exe != cmd.Path {
		t.Errorf("torn %v, exe %q, args %q, known %v", s.Torn, x.Exe, x.Args, k.Names())
	}
}

func TestForgetChanged(t *testing.T) {
	pid := start(t, exec.Command(self(t)), "wait")
	const all = event.KnownExe | event.KnownFile | event.KnownUID | event.KnownEUID
	for name, c := range map[string]struct {
		change func(x *event.Exec)
		want   event.Known
	}{
		"nothing":             {func(*event.Exec) {}, all},
		"the path":            {func(x *event.Exec) { x.Exe = "/b" }, event.KnownUID | event.KnownEUID},
		"the file":            {func(x *event.Exec) { x.Inode++ }, event.KnownUID | event.KnownEUID},
		"the effective group": {func(x *event.Exec) { x.EGID++ }, event.KnownExe | event.KnownFile},
	} {
		e, err := FS{}.Process(boot(t), pid, 1<<10)
		if err != nil {
			t.Fatal(err)
		}
		c.change(e.Exec)
		FS{}.forgetChanged(Stat{PID: pid}, &e)
		if e.Known&all != c.want || (e.Exec.Exe == "") == e.Known.Has(event.KnownExe) {
			t.Errorf("%s: %q, known %v", name, e.Exec.Exe, e.Known.Names())
		}
	}
}

func TestZombie(t *testing.T) {
	cmd := exec.Command(self(t))
	pid := start(t, cmd, "wait")
	cmd.Process.Kill()
	if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	s, err := FS{}.Look(boot(t), pid, 1<<10)
	if err != nil || s.Stat.State != 'Z' || !s.Stat.Ended() {
		t.Fatalf("%+v, %v", s, err)
	}
	if k := s.Event.Known; k&(event.KnownExe|event.KnownArgs|event.KnownFile) != 0 || !k.Has(event.KnownComm|event.KnownParent|event.KnownUID) {
		t.Errorf("known: %v", k.Names())
	}
	if listed(t, pid) {
		t.Error("a zombie is listed as alive")
	}
	cmd.Wait()
	if _, err := (FS{}).Process(boot(t), pid, 1<<10); !errors.Is(err, ErrGone) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after its end: %v", err)
	}
	if _, _, err := (FS{}).AppendArgs(nil, Stat{PID: pid}, 10); !errors.Is(err, ErrGone) {
		t.Errorf("arguments after its end: %v", err)
	}
}

// TestLeaderless: a process lives as long as one of its threads.
func TestLeaderless(t *testing.T) {
	pid := start(t, exec.Command(self(t)), leaderless)
	for s, err := (FS{}).Stat(pid); err != nil || s.State != 'Z'; s, err = (FS{}).Stat(pid) {
		if err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	if !listed(t, pid) {
		t.Error("a process with a live thread is not listed")
	}
	e, err := FS{Env: []string{"PROCFS_TEST_CHILD"}}.Process(boot(t), pid, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	own, err := FS{}.Process(boot(t), os.Getpid(), 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	x, y := e.Exec, own.Exec
	if x.Exe != y.Exe || x.Dev != y.Dev || x.Inode != y.Inode || x.Size != y.Size || x.Nlink != y.Nlink || x.Fileless {
		t.Errorf("executable: %+v, want that of %+v", x, y)
	}
	if want := self(t) + "\x00"; x.Args != want || x.Argc != 1 || x.Env != "PROCFS_TEST_CHILD="+leaderless+"\x00" {
		t.Errorf("arguments %q, environment %q", x.Args, x.Env)
	}
	if x.Cwd != y.Cwd || x.Cgroup != y.Cgroup || x.PIDNS != y.PIDNS || x.MntNS != y.MntNS || x.NSPID != uint32(pid) {
		t.Errorf("place: %+v, want that of %+v", x, y)
	}
	if missing := own.Known &^ e.Known; missing != 0 {
		t.Errorf("not known: %v", missing.Names())
	}
	// What tells an exec from the next.
	s, err := FS{}.Living(pid)
	if err != nil || s.Thread == 0 || !s.Layout.Known() {
		t.Errorf("%+v, %v", s, err)
	}
	if dev, inode, err := (FS{}).ExeFile(s); err != nil || dev != y.Dev || inode != y.Inode {
		t.Errorf("%d, %d, %v", dev, inode, err)
	}
}

func listed(t *testing.T, pid int) bool {
	t.Helper()
	pids, err := FS{}.PIDs()
	if err != nil {
		t.Fatal(err)
	}
	all, err := FS{}.Snapshot(context.Background(), boot(t), 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	var inPIDs, inSnapshot bool
	for _, p := range pids {
		inPIDs = inPIDs || p == pid
	}
	for i, s := range all {
		inSnapshot = inSnapshot || s.Stat.PID == pid
		if i > 0 && all[i-1].Stat.Start > s.Stat.Start {
			t.Error("snapshot is not in the order of starts")
		}
	}
	if inPIDs != inSnapshot {
		t.Errorf("process %d: in PIDs %v, in Snapshot %v", pid, inPIDs, inSnapshot)
	}
	return inPIDs
}

// It takes the kernel a while to take a large process apart. Meanwhile it is not a
// zombie.
func TestLargeProcessEnds(t *testing.T) {
	pid := start(t, exec.Command(self(t)), large)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for {
		s, err := FS{}.Stat(pid)
		if err != nil {
			t.Fatal(err)
		}
		if s.Ended() {
			t.Skip("it ended too fast")
		}
		if (FS{}).exiting(s) { // its other threads, too, have seen the signal
			break
		}
	}
	all, err := FS{}.Snapshot(t.Context(), boot(t), 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Stat.PID == pid && !s.Exiting {
			t.Errorf("listed as if it lived: %+v", s.Stat)
		}
	}
}

func TestKernelThread(t *testing.T) {
	s, err := FS{}.Look(boot(t), 2, 1<<10)
	if err != nil || !s.Stat.Kthread() {
		t.Skip("no kernel threads in this pid namespace")
	}
	if k := s.Event.Known; k&(event.KnownExe|event.KnownArgs|event.KnownFile|event.KnownParent) != 0 || !s.Event.Parent.IsZero() {
		t.Errorf("known: %v", k.Names())
	}
}

func BenchmarkStat(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (FS{}).Stat(os.Getpid()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProcess(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (FS{}).Process(event.BootID{}, os.Getpid(), 64<<10); err != nil {
			b.Fatal(err)
		}
	}
}

// The environment that a program was started with is read only where it is asked
// for, and of it only what is asked for.
func TestEnvironmentOfAProcess(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	cmd.Env = []string{"SECRET=hidden", "LANG=C", "LC_ALL=\xff"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for _, tt := range []struct {
		names []string
		want  string
		known bool
	}{{nil, "", false}, {[]string{"LANG", "LC_*"}, "LANG=C\x00LC_ALL=\xff\x00", true}, {[]string{"NONE"}, "", true}} {
		e, err := FS{Env: tt.names}.Process(event.BootID{1}, cmd.Process.Pid, 4096)
		// Start returns while the exec is still under way.
		for try := 0; err == nil && tt.known && !e.Known.Has(event.KnownEnv) && try < 10_000; try++ {
			e, err = FS{Env: tt.names}.Process(event.BootID{1}, cmd.Process.Pid, 4096)
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Exec.Env != tt.want || e.Known.Has(event.KnownEnv) != tt.known {
			t.Errorf("%q: %q, known %v", tt.names, e.Exec.Env, e.Known.Has(event.KnownEnv))
		}
	}
}
