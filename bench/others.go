//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// others are the rows of other tools, as Debian has them.
var others = []row{
	{"execsnoop (exec only)", func(b *bench) (*running, error) {
		b.mountTracefs()
		return startOther(b, "", "libbpf-tools", "execsnoop")
	}, true},
	{"bpftrace exec/fork/exit", func(b *bench) (*running, error) {
		b.mountTracefs()
		return startOther(b, "ready", "bpftrace", "bpftrace", "-e", bpftraceProgram)
	}, true},
	{"forkstat fork,exec,exit", func(b *bench) (*running, error) {
		return startOther(b, "Event", "forkstat", "forkstat", "-e", "fork,exec,exit", "-l")
	}, true},
	{"auditd, execve rules", startAuditd, true},
}

const bpftraceProgram = `BEGIN { printf("ready\n"); }
tracepoint:sched:sched_process_fork { printf("fork %d %d\n", args->parent_pid, args->child_pid); }
tracepoint:syscalls:sys_enter_execve { printf("exec %d ", pid); join(args->argv); }
tracepoint:sched:sched_process_exit { printf("exit %d\n", pid); }`

// mountTracefs is for tools that need it. It fails where tracefs is mounted
// already, and where there is none the tool says so.
func (b *bench) mountTracefs() {
	const dir = "/sys/kernel/tracing"
	if syscall.Mount("tracefs", dir, "tracefs", 0, "") == nil {
		b.later(func() error {
			_ = syscall.Unmount(dir, 0) // a tool that is just being killed may still use it
			return nil
		})
	}
}

// find looks for a tool of a Debian package.
func find(name, pkg string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("%s is not installed (apt-get install %s)", name, pkg)
	}
	return path, nil
}

// startOther starts another tool. Its execs are counted by the load's mark.
func startOther(b *bench, ready, pkg, name string, args ...string) (*running, error) {
	path, err := find(name, pkg)
	if err != nil {
		return nil, err
	}
	a, err := b.startCommand(exec.Command(path, args...), ready)
	if err != nil {
		return nil, err
	}
	if ready == "" { // it does not say when it is ready
		select {
		case err := <-a.ended:
			return nil, fmt.Errorf("%s ended at once: %v: %s", name, err, strings.TrimSpace(a.output()))
		case <-time.After(5 * time.Second):
		}
	}
	a.end = syscall.SIGINT // at which they write what they still hold
	a.count = func(r *result) error {
		r.events, r.lost = 0, b.total()
		for line := range strings.Lines(a.output()) {
			r.events++
			if strings.Contains(line, b.mark) && !strings.Contains(line, " exit ") { // forkstat's has them once more
				r.lost--
			}
		}
		return nil
	}
	return a, nil
}

// auditdConfig is Debian's, but that the log is ours and grows.
const auditdConfig = `local_events = yes
write_logs = yes
log_file = %s
log_format = ENRICHED
flush = INCREMENTAL_ASYNC
freq = 50
priority_boost = 4
max_log_file_action = IGNORE
space_left = 75
space_left_action = IGNORE
admin_space_left = 50
admin_space_left_action = SUSPEND
disk_full_action = SUSPEND
disk_error_action = SUSPEND
q_depth = 2000
`

var (
	// auditRule is what a host that wants every exec has.
	auditRule = []string{"always,exit", "-F", "arch=b64", "-S", "execve,execveat", "-k", "bench"}

	// auditNone keeps the rows after that of auditd as they were before it. Once
	// audit was enabled every new process is made ready for it until the next boot,
	// and its system calls take a slower path (kernel: audit_alloc), unless a rule
	// says that it will not be audited.
	auditNone = []string{"never,task"}
)

// startAuditd starts auditd with rules for execs and with Debian's own settings,
// on a log of its own. Where audit is in use it is left alone.
func startAuditd(b *bench) (*running, error) {
	path, err := find("auditd", "auditd")
	if err != nil {
		return nil, err
	}
	before, err := auditStatus()
	if err != nil {
		return nil, err
	}
	if b.audited {
		if err := deleteRule(auditNone); err != nil {
			return nil, err
		}
	}
	rules, err := auditctl("-l")
	switch {
	case err != nil:
		return nil, err
	case before["pid"] != 0 || before["enabled"] == 2 || strings.TrimSpace(rules) != "No rules":
		return nil, errors.New("this host uses audit (auditctl -s, auditctl -l), and that is not touched")
	}
	kauditd, err := kernelThread("kauditd")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "audit-")
	if err != nil {
		return nil, err
	}
	log := filepath.Join(dir, "audit.log")
	if err := os.WriteFile(filepath.Join(dir, "auditd.conf"), fmt.Appendf(nil, auditdConfig, log), 0o640); err != nil {
		return nil, err
	}
	if !b.audited {
		b.audited = true
		b.later(func() error { return deleteRule(auditNone) })
	}
	undo := b.later(func() error { return restoreAudit(before) }) // in front of what kills auditd: runs after it
	a, err := b.startCommand(exec.Command(path, "-n", "-c", dir), "")
	if err != nil {
		return nil, errors.Join(err, undo())
	}
	a.undo = undo
	a.pids = append(a.pids, kauditd)
	a.count = func(r *result) error { return b.countAudit(log, r) }
	for range 100 {
		data, err := os.ReadFile(log)
		if err == nil && bytes.Contains(data, []byte("DAEMON_START")) {
			if err = setAudit(); err == nil {
				return a, nil
			}
			a.kill()
			return nil, err
		}
		select {
		case err := <-a.ended:
			a.kill()
			return nil, fmt.Errorf("auditd ended at once: %v %s", err, a.output())
		case <-time.After(50 * time.Millisecond):
		}
	}
	a.kill()
	return nil, errors.New("auditd did not begin its log within 5 s")
}

func auditctl(args ...string) (string, error) {
	path, err := find("auditctl", "auditd")
	if err != nil {
		return "", err
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("auditctl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// auditStatus reads the numbers of auditctl -s.
func auditStatus() (map[string]int, error) {
	out, err := auditctl("-s")
	if err != nil {
		return nil, err
	}
	m := map[string]int{}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.Atoi(value); err == nil {
			m[name] = n
		}
	}
	return m, nil
}

// setAudit gives the kernel the settings of Debian's audit.rules, and the rule.
func setAudit() error {
	for _, args := range [][]string{{"-b", "8192"}, {"--backlog_wait_time", "60000"}, {"-f", "1"}, append([]string{"-a"}, auditRule...)} {
		if _, err := auditctl(args...); err != nil {
			return err
		}
	}
	return nil
}

// restoreAudit deletes the rule and puts the settings back.
func restoreAudit(before map[string]int) error {
	errs := []error{deleteRule(auditRule)}
	for _, args := range [][]string{
		{"-b", strconv.Itoa(before["backlog_limit"])}, {"--backlog_wait_time", strconv.Itoa(before["backlog_wait_time"])},
		{"-f", strconv.Itoa(before["failure"])}, {"-e", strconv.Itoa(before["enabled"])}, append([]string{"-a"}, auditNone...),
	} {
		_, err := auditctl(args...)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// deleteRule deletes a rule of ours, if it is there.
func deleteRule(rule []string) error {
	rules, err := auditctl("-l")
	if err != nil || !strings.Contains(rules, "-a "+rule[0]) {
		return err
	}
	_, err = auditctl(append([]string{"-d"}, rule...)...)
	return err
}

// countAudit counts the records of execs.
func (b *bench) countAudit(log string, r *result) error {
	data, err := os.ReadFile(log)
	if err != nil {
		return err
	}
	r.events, r.lost, r.bytes = 0, b.total(), int64(len(data))
	for line := range bytes.Lines(data) {
		if bytes.HasPrefix(line, []byte("type=EXECVE ")) {
			r.events++
			if bytes.Contains(line, []byte(b.mark)) {
				r.lost--
			}
		}
	}
	return os.Remove(log)
}

// kernelThread finds a thread of the kernel, whose CPU counts too.
func kernelThread(name string) (int, error) {
	comms, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return 0, err
	}
	for _, path := range comms {
		comm, err := os.ReadFile(path)
		if exe, _ := os.Readlink(filepath.Join(filepath.Dir(path), "exe")); err == nil && exe == "" && strings.TrimSpace(string(comm)) == name {
			return strconv.Atoi(filepath.Base(filepath.Dir(path)))
		}
	}
	return 0, fmt.Errorf("there is no kernel thread %s: the kernel has no audit", name)
}
