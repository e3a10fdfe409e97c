//go:build linux && (amd64 || arm64)

package ebpf

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
	"github.com/sentineld/sentineld/internal/testenv"
)

// privileged copies a program that ends at once and gives the copy what its exec
// shall grant.
func privileged(t *testing.T, mode os.FileMode, caps []byte) string {
	t.Helper()
	testenv.NeedRoot(t)
	dir, err := os.MkdirTemp("", "gain") // t.TempDir is not open to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := testenv.TinyProgram(t, dir)
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	if caps != nil {
		if err := unix.Setxattr(path, "security.capability", caps, 0); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// rawCaps is security.capability (linux/capability.h, revision 2) with
// CAP_NET_RAW permitted and effective.
var rawCaps = []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// Every way that the kernel has to see what an exec gives must tell the same.
func TestPrivilegesGained(t *testing.T) {
	seen := false
	for _, way := range prepareWays {
		t.Run(way[0], func(t *testing.T) {
			if privilegesGained(t, way) {
				seen = true
				return
			}
			if _, err := os.Stat("/sys/bus/event_source/devices/kprobe"); err == nil && way[0] == "prepare_kprobe" {
				t.Fatal("the kernel has kprobes, and this one does not attach")
			}
			t.Skip("SKIPPED: the kernel has no such programs")
		})
	}
	if !seen {
		t.Error("not one of the ways attaches")
	}
}

// privilegesGained is false when the kernel does not have the way. Then only that
// nothing was gained may be told.
func privilegesGained(t *testing.T, way []string) bool {
	t.Helper()
	root, user := &syscall.Credential{}, &syscall.Credential{Uid: 65534, Gid: 65534}
	tests := []struct {
		name string
		path string
		as   *syscall.Credential
		want event.Gained
		cmd  *exec.Cmd
	}{
		{name: "setuid by a user", path: privileged(t, 0o755|os.ModeSetuid, nil), as: user, want: event.GainedSetuid},
		{name: "setgid by a user", path: privileged(t, 0o755|os.ModeSetgid, nil), as: user, want: event.GainedSetgid},
		{name: "both by a user", path: privileged(t, 0o755|os.ModeSetuid|os.ModeSetgid, nil), as: user, want: event.GainedSetuid | event.GainedSetgid},
		{name: "capabilities by a user", path: privileged(t, 0o755, rawCaps), as: user, want: event.GainedCaps},
		{name: "nothing by a user", path: privileged(t, 0o755, nil), as: user},
		{name: "setuid by root", path: privileged(t, 0o755|os.ModeSetuid|os.ModeSetgid, nil), as: root},
		{name: "capabilities by root", path: privileged(t, 0o755, rawCaps), as: root},
	}
	r := start(t, Options{prepare: [][]string{way}})
	seen := !strings.Contains(r.src.(*ring).Detail(), "privileges gained not always seen")
	for i := range tests {
		cmd := exec.Command(tests[i].path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: tests[i].as}
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		tests[i].cmd = cmd
	}
	if err := r.src.(*ring).check(nil); err != nil {
		t.Errorf("taken for lost: %v", err)
	}
	r.stop()
	for _, tt := range tests {
		e := r.execOf(tt.cmd.Process.Pid)
		want, known := tt.want, true
		if !seen && want != 0 { // that there was nothing to gain is known all the same
			want, known = 0, false
		}
		if e.Known.Has(event.KnownGained) != known || e.Exec.Gained != want {
			t.Errorf("%s: gained %v (known %v), want %v (%v)", tt.name, e.Exec.Gained.Names(), e.Known.Has(event.KnownGained), want.Names(), known)
		}
	}
	return seen
}

// Of an exec whose begin was not seen nobody knows what it gave.
func TestPrivilegesGainedUnseen(t *testing.T) {
	path, plain := privileged(t, 0o755|os.ModeSetuid, nil), privileged(t, 0o755, nil)
	r := start(t, Options{})
	s := r.src.(*ring)
	if strings.Contains(s.Detail(), "privileges gained not always seen") {
		t.Skip("SKIPPED: the kernel has no programs that see the begin of an exec")
	}
	if err := s.links[0].Close(); err != nil { // as if the kernel had left it out
		t.Fatal(err)
	}
	cmds := []*exec.Cmd{exec.Command(path), exec.Command(plain)}
	for _, cmd := range cmds {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Close() // the closed link says so
	for batch := range s.Events() {
		r.all = append(r.all, batch...)
	}
	if e := r.execOf(cmds[0].Process.Pid); e.Known.Has(event.KnownGained) {
		t.Errorf("told as known: gained %v", e.Exec.Gained.Names())
	}
	if e := r.execOf(cmds[1].Process.Pid); !e.Known.Has(event.KnownGained) || e.Exec.Gained != 0 {
		t.Errorf("of a plain program: gained %v, known %v", e.Exec.Gained.Names(), e.Known.Names())
	}
}

// A program that was given an effective id passes it on: the next exec, secure as
// the first one, gives nothing.
func TestPrivilegesPassedOn(t *testing.T) {
	if path := os.Getenv("SENTINELD_TEST_PASS_ON"); path != "" { // the child
		_ = syscall.Exec(path, []string{path}, nil)
		os.Exit(1)
	}
	plain := privileged(t, 0o755, nil)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	first := filepath.Join(filepath.Dir(plain), "first")
	if err := os.WriteFile(first, self, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(first, 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	r := start(t, Options{})
	cmd := exec.Command(first, "-test.run=^TestPrivilegesPassedOn$")
	cmd.Env = append(os.Environ(), "SENTINELD_TEST_PASS_ON="+plain)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	seen := !strings.Contains(r.src.(*ring).Detail(), "privileges gained not always seen")
	r.stop()
	var got []string
	for _, e := range r.of(cmd.Process.Pid) {
		if e.Kind == event.KindExec {
			got = append(got, fmt.Sprintf("%s %v %v", e.Exec.Name(), e.Exec.Gained.Names(), e.Known.Has(event.KnownGained)))
		}
	}
	want := []string{"first [setuid] true", filepath.Base(plain) + " [] true"}
	if !seen {
		want = []string{"first [] false", filepath.Base(plain) + " [] false"}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The thread that executes takes the place of the first one, with its name and start.
func TestPrivilegesGainedByAThread(t *testing.T) {
	if path := os.Getenv("SENTINELD_TEST_EXEC"); path != "" { // the child
		for {
			go func() {
				if runtime.LockOSThread(); unix.Gettid() != os.Getpid() {
					_ = syscall.Exec(path, []string{path}, nil)
					os.Exit(1)
				}
				select {} // this is the first thread
			}()
			runtime.Gosched()
		}
	}
	path := privileged(t, 0o755|os.ModeSetuid, nil)
	r := start(t, Options{})
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestPrivilegesGainedByAThread$")
	cmd.Env = append(os.Environ(), "SENTINELD_TEST_EXEC="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	r.stop()
	var got []event.Gained
	for _, e := range r.of(cmd.Process.Pid) {
		if e.Kind == event.KindExec && e.Exec.Invoked == path {
			got = append(got, e.Exec.Gained)
		}
	}
	if !slices.Equal(got, []event.Gained{event.GainedSetuid}) {
		t.Errorf("gained %v", got)
	}
}

// The pid that a failed exec shows inside of its namespace is the process's, whoever
// of its threads tried.
func TestFailedExecOfAThread(t *testing.T) {
	tried := make(chan error)
	failed := failedExecs(t, func() {
		for range 2 {
			go func() {
				runtime.LockOSThread()
				tried <- syscall.Exec("/none", []string{"x"}, nil)
				runtime.UnlockOSThread()
			}()
			if err := <-tried; err != syscall.ENOENT {
				t.Fatal(err)
			}
		}
	})
	if len(failed) != 2 {
		t.Fatalf("%d failed execs", len(failed))
	}
	for _, e := range failed {
		if e.Process.PID != uint32(os.Getpid()) || e.Exec.NSPID != uint32(os.Getpid()) {
			t.Errorf("pid %d, in its namespace %d", e.Process.PID, e.Exec.NSPID)
		}
	}
}

func TestFileTimes(t *testing.T) {
	path := testenv.TinyProgram(t, t.TempDir())
	if err := os.Chtimes(path, time.Time{}, time.Unix(1_234_567_890, 123_456_789)); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	e := recordExec(t, Options{}, exec.Command(path))
	x := e.Exec
	if !e.Known.Has(event.KnownFileTimes) || x.Size != uint64(st.Size) || x.MTime != st.Mtim.Nano() || x.CTime != st.Ctim.Nano() {
		t.Errorf("size %d, mtime %d, ctime %d; want %d, %d, %d", x.Size, x.MTime, x.CTime, st.Size, st.Mtim.Nano(), st.Ctim.Nano())
	}
}

func TestEnvironment(t *testing.T) {
	run := func(o source.Options, env ...string) event.Event {
		cmd := exec.Command(testenv.TinyProgram(t, t.TempDir()), "an argument")
		cmd.Env = append([]string{}, env...) // nil would be this process's
		return recordExec(t, Options{Options: o}, cmd)
	}
	env := []string{"SECRET=hidden", "LD_PRELOAD=/x.so", "LANG=\xff\n", "LANGUAGE=x", "EMPTY="}
	e := run(source.Options{Env: []string{"LANG", "LD_*", "EMPTY"}}, env...)
	if !e.Known.Has(event.KnownEnv) || e.Exec.Env != "LD_PRELOAD=/x.so\x00LANG=\xff\n\x00EMPTY=\x00" {
		t.Errorf("kept %q", e.Exec.Env)
	}
	if !strings.HasSuffix(e.Exec.Args, "/tiny\x00an argument\x00") || e.Exec.Truncated || e.Exec.Argc != 2 {
		t.Errorf("args %q beside an environment", e.Exec.Args)
	}
	if e = run(source.Options{}, env...); e.Known.Has(event.KnownEnv) || e.Exec.Env != "" {
		t.Errorf("not asked for, and told: %q", e.Exec.Env)
	}
	// What was not read may hold a variable, or not.
	big := "BIG=" + strings.Repeat("x", envMax)
	if e = run(source.Options{Env: []string{"LANG", "LC_*"}}, "LANG=C", big, "LC_ALL=C"); !e.Known.Has(event.KnownEnv) || e.Exec.Env != "LANG=C\x00" {
		t.Errorf("of a longer environment: known %v, %q", e.Known.Has(event.KnownEnv), e.Exec.Env)
	}
	if e = run(source.Options{Env: []string{"LC_*"}}, "LANG=C", big, "LC_ALL=C"); e.Known.Has(event.KnownEnv) || e.Exec.Env != "" {
		t.Errorf("behind what was read: known %v, %q", e.Known.Has(event.KnownEnv), e.Exec.Env)
	}
	if e = run(source.Options{Env: []string{"BIG"}}, "LANG=C", big); !e.Known.Has(event.KnownEnv) || e.Exec.Env != big[:envMax-7]+"\x00" {
		t.Errorf("of a longer variable: known %v, %d bytes", e.Known.Has(event.KnownEnv), len(e.Exec.Env))
	}
	for _, argsMax := range []int{6, 100} { // the program's name alone is longer, or not
		e = run(source.Options{Env: []string{"LANG"}, ArgsMax: argsMax}, "LANG=C", "A=1")
		if !e.Known.Has(event.KnownEnv|event.KnownArgs) || e.Exec.Env != "LANG=C\x00" || len(e.Exec.Args) != min(argsMax, int(e.Exec.ArgsLen)) || e.Exec.Args[0] != '/' {
			t.Errorf("behind %d bytes of arguments: known %v, %q, arguments %q", argsMax, e.Known.Names(), e.Exec.Env, e.Exec.Args)
		}
	}
	most := exec.Command(testenv.TinyProgram(t, t.TempDir()), strings.Repeat("x", 100<<10), strings.Repeat("y", 64<<10))
	most.Env = []string{"LANG=C", big}
	e = recordExec(t, Options{Options: source.Options{Env: []string{"LANG"}, ArgsMax: 128 << 10}}, most)
	if !e.Known.Has(event.KnownEnv) || e.Exec.Env != "LANG=C\x00" || len(e.Exec.Args) != 128<<10 || !strings.HasPrefix(e.Exec.Args, most.Path+"\x00xxx") || !strings.HasSuffix(e.Exec.Args, "yyy") {
		t.Errorf("behind the most arguments: %q, %d bytes of arguments", e.Exec.Env, len(e.Exec.Args))
	}
	if e = run(source.Options{Env: []string{"LANG"}}); !e.Known.Has(event.KnownEnv) || e.Exec.Env != "" {
		t.Errorf("of an empty environment: known %v, %q", e.Known.Has(event.KnownEnv), e.Exec.Env)
	}
}

// failedExecs records the failed execs of calls, which this process makes itself.
func failedExecs(t *testing.T, calls func()) []event.Event {
	t.Helper()
	r := start(t, Options{Options: source.Options{ExecFailures: true}})
	if d := r.src.(*ring).Detail(); strings.Contains(d, "not seen") {
		t.Fatal(d)
	}
	calls()
	r.stop()
	var failed []event.Event
	for _, e := range r.of(os.Getpid()) {
		if e.Kind == event.KindExecFailed {
			failed = append(failed, e)
		}
	}
	return failed
}

func TestFailedExecs(t *testing.T) {
	testenv.NeedBPF(t)
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	plain := filepath.Join(dir, "plain")
	for path, mode := range map[string]os.FileMode{script: 0o755, plain: 0o644} {
		if err := os.WriteFile(path, []byte("no header\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	many := make([]string, 2000)
	for i := range many {
		many[i] = fmt.Sprint("argument ", i)
	}
	long := strings.Repeat("x", 5000)
	exact := strings.Repeat("y", 255) // with its NUL just one piece
	tests := []struct {
		path string
		argv []string
		want syscall.Errno
		cut  bool
	}{
		{filepath.Join(dir, "missing"), []string{"missing", "a b", "", "\xff\n"}, syscall.ENOENT, false},
		{script, []string{script}, syscall.ENOEXEC, false},
		{plain, []string{"plain"}, syscall.EACCES, false},
		{"/", []string{"x", long, exact, exact + "z", exact[1:], ""}, syscall.EACCES, false},
		{"/", many, syscall.EACCES, true},
		{"", []string{"empty path"}, syscall.ENOENT, false},
	}
	failed := failedExecs(t, func() {
		for _, tt := range tests {
			if err := syscall.Exec(tt.path, tt.argv, nil); err != tt.want {
				t.Fatalf("exec %s: %v", tt.path, err)
			}
		}
	})
	if len(failed) != len(tests) {
		t.Fatalf("%d failed execs of %d", len(failed), len(tests))
	}
	for i, tt := range tests {
		e := failed[i]
		if e.Exec.Errno != int32(tt.want) || e.Exec.Invoked != tt.path || e.Exec.Truncated != tt.cut {
			t.Errorf("%q: errno %d, truncated %v", e.Exec.Invoked, e.Exec.Errno, e.Exec.Truncated)
		}
		argv := e.Exec.Argv()
		if counted := e.Exec.Counted(); counted == tt.cut || counted && (int(e.Exec.Argc) != len(tt.argv) || int(e.Exec.ArgsLen) != len(strings.Join(tt.argv, "\x00"))+1) {
			t.Errorf("%q: %d arguments of %d bytes, counted %v", tt.path, e.Exec.Argc, e.Exec.ArgsLen, counted)
		}
		if tt.cut && (len(argv) < 100 || !slices.Equal(argv, many[:len(argv)])) || !tt.cut && !slices.Equal(argv, tt.argv) {
			t.Errorf("%q: argv %.200q of %d", tt.path, argv, len(argv))
		}
		if !e.Known.Has(event.KnownUID|event.KnownCwd|event.KnownCgroup|event.KnownArgs) || e.Known.Has(event.KnownExe) {
			t.Errorf("%q: known %v", tt.path, e.Known.Names())
		}
	}
}

// Arguments that are cut leave room for what was tried, and where.
func TestFailedExecOfLongArguments(t *testing.T) {
	testenv.NeedBPF(t)
	path := "/" + strings.Repeat("none/", 600) + "x"
	sizes := []int{500, 700, 1000, 1 << 12, 15000, 16 << 10, 17 << 10, 20 << 10, 24 << 10, 28 << 10, 60 << 10, 100 << 10}
	failed := failedExecs(t, func() {
		for _, size := range sizes {
			if err := syscall.Exec(path, []string{"sh", "-c", strings.Repeat("x", size)}, nil); err != syscall.ENOENT {
				t.Fatal(err)
			}
		}
	})
	if len(failed) != len(sizes) {
		t.Fatalf("%d failed execs of %d", len(failed), len(sizes))
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for i, size := range sizes {
		e := failed[i]
		want := "sh\x00-c\x00" + strings.Repeat("x", size) + "\x00"
		if cut := size > 16<<10; e.Exec.Truncated != cut || !strings.HasPrefix(want, e.Exec.Args) || len(e.Exec.Args) < min(len(want), 16<<10) {
			t.Errorf("%d: %d bytes of arguments, truncated %v", size, len(e.Exec.Args), e.Exec.Truncated)
		}
		if e.Exec.Invoked != path || e.Exec.Cwd != dir || !e.Known.Has(event.KnownCgroup|event.KnownArgs) {
			t.Errorf("%d: invoked %.20q, cwd %q, known %v", size, e.Exec.Invoked, e.Exec.Cwd, e.Known.Names())
		}
	}
}

// What a program passes may be no memory at all.
func TestFailedExecOfNothing(t *testing.T) {
	path := append([]byte("/none"), 0)
	var pinned runtime.Pinner // the addresses are numbers here
	pinned.Pin(&path[0])
	defer pinned.Unpin()
	none, empty := uintptr(ptr(path)), uintptr(ptr(path[5:]))
	tests := []struct {
		call     [4]uintptr // number and what it gets first
		invoked  string
		readable [2]bool // what is invoked and the arguments
	}{
		{[4]uintptr{unix.SYS_EXECVE, none, 0}, "/none", [2]bool{true, true}},
		{[4]uintptr{unix.SYS_EXECVE, none, 8}, "/none", [2]bool{true, false}},
		{[4]uintptr{unix.SYS_EXECVE, none, ^uintptr(0) - 4095}, "/none", [2]bool{true, false}},
		{[4]uintptr{unix.SYS_EXECVE, 8, 0}, "", [2]bool{false, true}},
		{[4]uintptr{unix.SYS_EXECVEAT, ^uintptr(0), empty, 0}, "/dev/fd/-1", [2]bool{true, true}},
		{[4]uintptr{unix.SYS_EXECVEAT, ^uintptr(0), 8, 0}, "", [2]bool{false, true}},
	}
	errnos := make([]syscall.Errno, len(tests)) // kernels differ in what they look at first
	failed := failedExecs(t, func() {
		for i, tt := range tests {
			at := uintptr(0)
			if tt.call[0] == unix.SYS_EXECVEAT {
				at = unix.AT_EMPTY_PATH
			}
			_, _, errnos[i] = syscall.RawSyscall6(tt.call[0], tt.call[1], tt.call[2], tt.call[3], 0, at, 0)
		}
	})
	if len(failed) != len(tests) {
		t.Fatalf("%d failed execs of %d", len(failed), len(tests))
	}
	for i, tt := range tests {
		e := failed[i]
		readable := [2]bool{e.Known.Has(event.KnownInvoked), e.Known.Has(event.KnownArgs)}
		if e.Exec.Invoked != tt.invoked || readable != tt.readable || errnos[i] == 0 || e.Exec.Errno != int32(errnos[i]) {
			t.Errorf("%d: %q, readable %v, errno %d; want %q, %v, %d", i, e.Exec.Invoked, readable, e.Exec.Errno, tt.invoked, tt.readable, errnos[i])
		}
	}
}

// Who asks whether a file may be executed executes nothing, whatever the answer is.
func TestDeniedCheckIsNoFailedExec(t *testing.T) {
	const check = 0x10000 // AT_EXECVE_CHECK of linux/fcntl.h, since 6.14
	path := append([]byte("/none"), 0)
	failed := failedExecs(t, func() {
		for _, at := range []uintptr{check, check | unix.AT_SYMLINK_NOFOLLOW, unix.AT_SYMLINK_NOFOLLOW} {
			if _, _, errno := syscall.Syscall6(unix.SYS_EXECVEAT, ^uintptr(0), uintptr(ptr(path)), 0, 0, at, 0); errno == 0 {
				t.Fatal("it worked")
			}
		}
	})
	if len(failed) != 1 {
		t.Errorf("%d failed execs, want the last", len(failed))
	}
}

func TestNoFailedExecsUnlessWanted(t *testing.T) {
	r := start(t, Options{})
	if err := syscall.Exec("/none", []string{"x"}, nil); err != syscall.ENOENT {
		t.Fatal(err)
	}
	r.stop()
	for _, e := range r.of(os.Getpid()) {
		t.Errorf("%v", e.Kind)
	}
}

func ptr(b []byte) unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(b)) }
