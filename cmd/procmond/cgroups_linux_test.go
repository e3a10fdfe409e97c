package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/procfs"
	"github.com/sentineld/sentineld/internal/testenv"
	"github.com/sentineld/sentineld/internal/wire"
)

// contained puts procmond into a cgroup namespace of its own, as container runtimes
// do; prepare may be nil.
func contained(prepare func(*exec.Cmd)) func(*exec.Cmd) {
	return func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{}
		if prepare != nil {
			prepare(c)
		}
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWCGROUP
	}
}

func needHostNamespaces(t *testing.T) {
	t.Helper()
	testenv.NeedRoot(t)
	if err := procfs.HostCgroups(); err != nil {
		testenv.Skip(t, err.Error())
	}
	if _, err := os.Readlink(hostCgroups); err != nil {
		testenv.Skip(t, "needs the host's pids and CAP_SYS_PTRACE: "+err.Error())
	}
}

// TestEntersHostCgroups: with the privileges for it procmond begins anew in the
// host's cgroup namespace, and is otherwise what was started.
func TestEntersHostCgroups(t *testing.T) {
	needHostNamespaces(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out syncBuffer
	p := start(t, contained(func(c *exec.Cmd) {
		c.Env = append(c.Env, "LISTEN_FDS=1")
		c.ExtraFiles = []*os.File{w}
		c.Stdout = &out
	}), "run", "--source", "poll", "--output", "json", "--poll-interval", "50ms")
	want, err := w.Stat()
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	p.ready(t)
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(procPath(p, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if ns, err := os.Stat(procPath(p, "ns/cgroup")); err != nil || ns.Sys().(*syscall.Stat_t).Ino != procfs.CgroupInit {
		t.Errorf("cgroup namespace: %v, %v", ns, err)
	}
	// The first is what testscript.Main makes of it.
	if got := read("cmdline"); !strings.HasSuffix(got, "\x00"+strings.Join(p.Args[1:], "\x00")+"\x00") {
		t.Errorf("arguments %q", got)
	}
	if got := read("comm"); got != "procmond\n" {
		t.Errorf("name %q", got)
	}
	if got := read("environ"); !strings.Contains(got, "\x00LISTEN_FDS=1\x00") {
		t.Errorf("environment %q", got)
	}
	if fd, err := os.Stat(procPath(p, "fd/3")); err != nil || !os.SameFile(fd, want) {
		t.Errorf("inherited descriptor: %v, %v", fd, err)
	}
	boot, err := procfs.FS{}.BootID()
	if err != nil {
		t.Fatal(err)
	}
	self, err := procfs.FS{}.Process(boot, os.Getpid(), 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	var seen *seenProcess
	if !until(func() bool { seen = findPID(t, out.String(), os.Getpid()); return seen != nil }) ||
		seen.Cgroup == nil || *seen.Cgroup != self.Exec.Cgroup {
		t.Errorf("this process is in %s, seen %+v", self.Exec.Cgroup, seen)
	}
	if log := p.log.String(); strings.Contains(log, "level=WARN") {
		t.Errorf("log:\n%s", log)
	}
}

func procPath(p *process, name string) string {
	return filepath.Join("/proc", strconv.Itoa(p.Process.Pid), name)
}

// TestUnknownCgroups: where it may not enter it, no source takes for the host's what
// /proc shows in another namespace, and the status says so.
func TestUnknownCgroups(t *testing.T) {
	needHostNamespaces(t)
	testenv.NeedBPF(t)
	for source, caps := range map[string][]uintptr{
		"poll": nil, "procconn": {unix.CAP_NET_ADMIN}, "ebpf": {unix.CAP_BPF, unix.CAP_PERFMON},
	} {
		for _, private := range []bool{false, true} {
			socket := filepath.Join(sharedDir(t), "s")
			prepare := as(caps...)
			if private {
				prepare = contained(prepare)
			}
			p := start(t, prepare, "run", "--source", source, "--socket", socket, "--poll-interval", "50ms")
			p.ready(t)
			c, err := dial(t, socket)
			if err != nil {
				t.Fatal(err)
			}
			find(t, c, source, func(_ wire.Message, e *event.Event) bool {
				if e == nil || e.Kind != event.KindExec || e.Process.PID != uint32(os.Getpid()) {
					return false
				}
				const both = event.KnownCgroup | event.KnownContainer
				if known := e.Known & both; private && (known != 0 || e.Exec.Cgroup != "") || !private && known != both {
					t.Errorf("%s, private %v: known %v, %q", source, private, known.Names(), e.Exec.Cgroup)
				}
				return true
			})
			if err := c.Ask(); err != nil {
				t.Fatal(err)
			}
			find(t, c, "the status", func(m wire.Message, _ *event.Event) bool {
				var s health.Collector
				if m.Type != wire.TypeStatus {
					return false
				}
				if err := json.Unmarshal(m.Status, &s); err != nil || private != strings.Contains(s.Cgroups, "--cgroupns=host") {
					t.Errorf("%s, private %v: %q, %v", source, private, s.Cgroups, err)
				}
				return true
			})
			if private != strings.Contains(p.log.String(), "cgroups and containers are not known from /proc") {
				t.Errorf("%s, private %v: log:\n%s", source, private, p.log)
			}
		}
	}
}

// seenProcess is an exec as it is printed.
type seenProcess struct {
	Kind   string
	PID    int
	Cgroup *string
}

// findPID is the first exec of a process among lines of JSON, nil if there is none.
func findPID(t *testing.T, lines string, pid int) *seenProcess {
	t.Helper()
	for line := range strings.Lines(lines) {
		var e seenProcess
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Kind == "exec" && e.PID == pid {
			return &e
		}
	}
	return nil
}
