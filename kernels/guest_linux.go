package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guest is this program as the first process of a guest. It starts itself
// thrice: as what the kernel starts, which moves everything from the initramfs
// to a root file system that can be left and mounted over as any other; there,
// as the init that waits for whom nobody else waits for; and as its one child,
// which does the work. It does not return.
func guest() {
	arg := ""
	if len(os.Args) > 1 {
		arg = os.Args[1]
	}
	var err error
	switch arg {
	case "park": // the process that a probe watches
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	case "work":
		err = work()
	case "reap":
		err = reap()
	default:
		err = enter()
	}
	if err != nil {
		tell(record{Problem: err.Error()})
	}
	if os.Getpid() != 1 {
		os.Exit(0)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		os.Exit(1) // the kernel panics, which ends the guest too
	}
	select {}
}

// tell reports to the host. What cannot be written cannot be reported either.
func tell(r record) {
	b, err := json.Marshal(r)
	if err != nil {
		b = []byte(err.Error())
	}
	fmt.Printf("%s%s\n", mark, b)
}

func fact(name, format string, args ...any) {
	tell(record{Fact: name, Value: fmt.Sprintf(format, args...)})
}

// enter leaves the initramfs, as switch_root(8) does.
func enter() error {
	const to = "/newroot"
	if err := unix.Mount("root", to, "tmpfs", 0, "mode=755,size=90%"); err != nil {
		return fmt.Errorf("mount %s: %w", to, err)
	}
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if "/"+e.Name() == to {
			continue
		}
		if out, err := exec.Command("/usr/bin/busybox", "cp", "-a", "/"+e.Name(), to).CombinedOutput(); err != nil {
			return fmt.Errorf("copy /%s: %w: %s", e.Name(), err, out)
		}
	}
	if err := os.RemoveAll("/opt"); err != nil { // most of the memory that the initramfs holds
		return err
	}
	if err := errors.Join(os.Chdir(to), unix.Mount(to, "/", "", unix.MS_MOVE, ""), unix.Chroot("."), os.Chdir("/")); err != nil {
		return fmt.Errorf("enter %s: %w", to, err)
	}
	return syscall.Exec("/init", []string{"/init", "reap"}, os.Environ())
}

// reap runs the work and waits for every process that ends, since those whose
// parents are gone are init's.
func reap() error {
	worker, err := os.StartProcess("/init", []string{"/init", "work"}, &os.ProcAttr{
		Env: []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME=/root", "USER=root", "TMPDIR=/tmp", "LANG=C.UTF-8",
			"CI=true",          // a test that is skipped for want of root or BPF fails
			"SCENARIO_CLOCK=1", // the guest's clock is nobody else's
		},
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return fmt.Errorf("wait: %w", err)
		case pid == worker.Pid && (status.Signaled() || status.ExitStatus() != 0):
			return fmt.Errorf("the work ended with signal %d, exit code %d", status.Signal(), status.ExitStatus())
		case pid == worker.Pid:
			tell(record{End: true})
			return nil
		}
	}
}

// work sets the system up and does what the host asked for on the kernel's
// command line.
func work() error {
	if err := mountAll(); err != nil {
		return err
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	asked := map[string]string{}
	for word := range strings.FieldsSeq(string(cmdline)) {
		if name, value, ok := strings.Cut(word, "="); ok {
			asked[name] = value
		}
	}
	b, err := bootNamed(strings.ReplaceAll(asked["guest.boot"], "_", " "))
	if err != nil {
		return err
	}
	if err := setUp(b, asked["guest.time"]); err != nil {
		return err
	}
	known, err := kernelLog()
	if err != nil {
		return err
	}
	if b.name == suite {
		err = runSuite(choice{tests: asked["guest.tests"], backends: asked["guest.backends"], scenarios: asked["guest.scenarios"]})
	} else {
		err = probe(b)
	}
	after, logErr := kernelLog()
	for line := range strings.Lines(strings.TrimPrefix(after, known)) {
		if complaint.MatchString(line) {
			err = errors.Join(err, fmt.Errorf("the kernel complained: %s", strings.TrimSpace(line)))
		}
	}
	return errors.Join(err, logErr)
}

// complaint is what the kernel logs when something of its own broke.
var complaint = regexp.MustCompile(`WARNING: |BUG: |Oops|general protection fault|Unable to handle kernel|refcount_t: `)

func kernelLog() (string, error) {
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_SIZE_BUFFER, nil)
	if err != nil {
		return "", fmt.Errorf("read kernel log: %w", err)
	}
	b := make([]byte, n)
	if n, err = unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, b); err != nil {
		return "", fmt.Errorf("read kernel log: %w", err)
	}
	return string(b[:n]), nil
}

func mountAt(path, kind, data string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(kind, path, kind, 0, data); err != nil {
		return fmt.Errorf("mount %s on %s: %w", kind, path, err)
	}
	return nil
}

func mountAll() error {
	for _, m := range []struct{ path, kind, data string }{
		{"/proc", "proc", ""}, {"/sys", "sysfs", ""}, {"/dev", "devtmpfs", ""}, {"/dev/pts", "devpts", ""},
		{"/dev/shm", "tmpfs", "mode=1777"}, {"/tmp", "tmpfs", "mode=1777"}, {"/run", "tmpfs", "mode=755"},
		{"/sys/kernel/security", "securityfs", ""},
	} {
		if err := mountAt(m.path, m.kind, m.data); err != nil {
			return err
		}
	}
	return nil
}

// setUp makes of a booted kernel a host as a distribution would.
func setUp(b boot, seconds string) error {
	// From here on the kernel's messages are read from its log, not mixed into
	// the report. A panic is shown all the same.
	if _, err := unix.Klogctl(unix.SYSLOG_ACTION_CONSOLE_OFF, nil); err != nil {
		return fmt.Errorf("quieten the console: %w", err)
	}
	if out, err := exec.Command("/usr/bin/busybox", "--install", "-s", "/usr/local/bin").CombinedOutput(); err != nil {
		return fmt.Errorf("install busybox: %w: %s", err, out)
	}
	if out, err := exec.Command("/usr/bin/busybox", "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return fmt.Errorf("set lo up: %w: %s", err, out)
	}
	// TOMOYO, which Debian's 5.10 has on, looks a descriptor that is executed up there.
	if err := os.Symlink("/proc/self/fd", "/dev/fd"); err != nil {
		return err
	}
	now, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("guest.time: %w", err)
	}
	if off := time.Until(time.Unix(now, 0)); off > time.Minute || off < -10*time.Minute { // a machine without a clock
		if err := unix.Settimeofday(&unix.Timeval{Sec: now}); err != nil {
			return fmt.Errorf("set the clock: %w", err)
		}
	}
	if b.noBTF {
		if b.btfFile {
			if err := copyFile("/sys/kernel/btf/vmlinux", "/run/vmlinux.btf"); err != nil {
				return err
			}
		}
		if err := mountAt("/sys/kernel/btf", "tmpfs", ""); err != nil {
			return err
		}
	}
	return mountCgroups(b.cgroup)
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o644)
}

// mountCgroups mounts them as systemd does.
func mountCgroups(layout string) error {
	const root = "/sys/fs/cgroup"
	if layout == "" || layout == "v2" {
		return mountAt(root, "cgroup2", "")
	}
	if err := mountAt(root, "tmpfs", "mode=755"); err != nil {
		return err
	}
	b, err := os.ReadFile("/proc/cgroups")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 4 || f[0] == "#subsys_name" || f[3] != "1" {
			continue
		}
		err := mountAt(filepath.Join(root, f[0]), "cgroup", f[0])
		if errors.Is(err, unix.EINVAL) && (f[0] == "cpuset" || f[0] == "memory") {
			continue // Debian's kernels from 6.12 on have these for v2 alone
		}
		if err != nil {
			return err
		}
	}
	if err := mountAt(root+"/systemd", "cgroup", "none,name=systemd"); err != nil {
		return err
	}
	if layout == "hybrid" {
		return mountAt(root+"/unified", "cgroup2", "")
	}
	return nil
}

// runSuite is the boot that every kernel gets.
func runSuite(chosen choice) error {
	tests, err := regexp.Compile(chosen.tests)
	if err != nil {
		return err
	}
	if err := run("self-check", "/", "/"+binDir+"/procmond", "self-check", "--verbose"); err != nil {
		return err
	}
	err = filepath.WalkDir("/"+testsDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != testBinary {
			return err
		}
		dir := filepath.Dir(path)
		name := strings.TrimPrefix(dir, "/"+testsDir+"/")
		if !tests.MatchString(name) {
			return nil
		}
		return run(name, dir, path, "-test.v", "-test.timeout=25m")
	})
	if err != nil {
		return err
	}
	runner := "/" + scenarioGo + "/" + testBinary
	if _, err := os.Stat(runner); err != nil {
		return nil
	}
	// Emulated, the agent takes a minute to get through what waits after a storm.
	return run("scenarios", "/"+scenarioGo, runner, "-test.v", "-test.timeout=40m", "-test.run=TestScenarios//"+chosen.scenarios, "-patience=5m",
		"-backends", chosen.backends, "-bin", "/"+binDir, "-helpers", "/"+helpersDir, "-files", "/"+filesDir)
}

// run reports what a program writes, as it is written, and how it ends.
func run(name, dir, program string, args ...string) error {
	begin := time.Now()
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	w.Close()
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 {
			s := string(bytes.TrimRight(line, "\n"))
			tell(record{Job: name, Line: &s})
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			break
		}
	}
	err = cmd.Wait()
	code := cmd.ProcessState.ExitCode()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		return err
	}
	tell(record{Job: name, End: true, Code: code, Seconds: time.Since(begin).Seconds()})
	return nil
}
