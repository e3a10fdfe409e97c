package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/testenv"
)

// withoutBPF is this test's binary as a program that executes another one under a
// seccomp filter which answers bpf(2) with the errno of its first argument.
func withoutBPF() {
	runtime.LockOSThread()
	errno := map[string]uint32{"EPERM": uint32(unix.EPERM), "ENOSYS": uint32(unix.ENOSYS)}[os.Args[1]]
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_BPF, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x00050000 | errno}, // SECCOMP_RET_ERRNO
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},         // SECCOMP_RET_ALLOW
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
	}
	var path string
	if err == nil {
		path, err = exec.LookPath(os.Args[2])
	}
	if err == nil {
		err = syscall.Exec(path, os.Args[2:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(99)
}

// TestEBPFIsLost takes the programs away from a procmond that runs: the next
// source goes on, and the record says since when nothing was seen.
func TestEBPFIsLost(t *testing.T) {
	testenv.NeedBPF(t)
	null, err := os.OpenFile(os.DevNull, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, log syncBuffer
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"run", "--output=json", "--poll-interval=50ms"}, strings.NewReader(""), &out, &log)
	}()
	wait := func(what string, done func() bool) {
		t.Helper()
		if !until(done) {
			t.Fatalf("waited in vain for %s\n%s", what, log.String())
		}
	}
	wait("collecting", func() bool { return strings.Contains(log.String(), "msg=collecting source=ebpf") })

	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	for _, l := range links {
		var fd int
		if to, _ := os.Readlink(l); !strings.Contains(to, "bpf_link") && !strings.Contains(to, "bpf-link") && !strings.Contains(to, "bpf-raw-tracepoint") {
			continue
		}
		if _, err := fmt.Sscan(filepath.Base(l), &fd); err != nil {
			t.Fatal(err)
		}
		// The number stays in use, so that nobody closes another's file by it.
		if err := unix.Dup3(int(null.Fd()), fd, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		taken++
	}
	if taken < 3 {
		t.Fatalf("%d links found", taken)
	}
	wait("the next source", func() bool { return strings.Contains(log.String(), "another source took over") })
	wait("the gap", func() bool {
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, `"kind":"gap"`) && strings.Contains(line, "ebpf was lost") && strings.Contains(line, "took over") {
				return true
			}
		}
		return false
	})

	sleep := exec.Command("sleep", "4321.75")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	wait("an event of the next source", func() bool { return strings.Contains(out.String(), `"args":["sleep","4321.75"]`) })
	_ = sleep.Process.Kill()
	_ = sleep.Wait()
	cancel()
	<-ended
}

// TestWithoutBTF hides the kernel's types: without them the process connector runs,
// and says why; with a file that holds them eBPF does, as raw_tp.
func TestWithoutBTF(t *testing.T) {
	testenv.NeedBPF(t)
	testenv.NeedNetAdmin(t)
	types, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(sharedDir(t), "vmlinux.btf")
	if err := os.WriteFile(file, types, 0o644); err != nil {
		t.Fatal(err)
	}
	selfCheck := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("unshare", append([]string{
			"-m", "sh", "-c", `mount -t tmpfs none /sys/kernel/btf && exec "$@"`, "sh", program(t), "self-check",
		}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil && cmd.ProcessState.ExitCode() != 3 {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	out := selfCheck()
	if !strings.Contains(out, "procconn would run") ||
		!strings.Contains(out, "ebpf would not: load BPF programs: the kernel has no BTF") || !strings.Contains(out, "--btf FILE") {
		t.Errorf("without BTF:\n%s", out)
	}
	if out := selfCheck("--btf", file); !strings.Contains(out, "ebpf would run (raw_tp") {
		t.Errorf("with a file:\n%s", out)
	}
	if out := selfCheck("--btf", file+".none"); !strings.Contains(out, "ebpf would not") || !strings.Contains(out, file+".none") {
		t.Errorf("with a file that is not there:\n%s", out)
	}
}

// TestBPFForbidden starts procmond where a seccomp filter keeps bpf(2) from it, as
// container runtimes do: the process connector runs.
func TestBPFForbidden(t *testing.T) {
	testenv.NeedRoot(t)
	testenv.NeedNetAdmin(t)
	self := program(t)
	filter := filepath.Join(filepath.Dir(self), "without-bpf")
	if err := os.Symlink(self, filter); err != nil {
		t.Fatal(err)
	}
	for errno, why := range map[string]string{
		"EPERM": "a seccomp filter forbids bpf(2)", "ENOSYS": "a seccomp filter hides it",
	} {
		cmd := exec.Command(filter, errno, self, "self-check")
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != 3 {
			t.Fatalf("%s: %v\n%s", errno, err, out)
		}
		if !strings.Contains(string(out), "procconn would run") || !strings.Contains(string(out), why) {
			t.Errorf("%s:\n%s", errno, out)
		}
	}
}
