package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Nothing in a guest takes longer, unless it hangs.
const patience = 30 * time.Second

const (
	procmond     = "/" + binDir + "/procmond"
	lockdownFile = "/sys/kernel/security/lockdown"
	externalBTF  = "/run/vmlinux.btf"
)

// entry is what procmond prints, an event or a line of its log, as far as the
// probe looks at it.
type entry struct {
	Msg, Source, Detail, Reason string // log

	Kind, Cause, Cgroup string // event
	Container           string `json:"container_id"`
	PID                 int
	Args                []string
}

// probe runs procmond under the conditions of b, executes a program, and reports
// what procmond said of itself and of the program.
func probe(b boot) error {
	var as *syscall.SysProcAttr
	if b.user {
		as = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	var flags []string
	if b.btfFile {
		help, err := exec.Command(procmond, "run", "--help").Output()
		if err != nil {
			return fmt.Errorf("procmond run --help: %w", err)
		}
		if !bytes.Contains(help, []byte("--btf")) {
			tell(record{Skip: "procmond has no flag --btf"})
			return nil
		}
		flags = []string{"--btf", externalBTF}
	}
	if err := factsOfSystem(); err != nil {
		return err
	}
	if err := selfCheck(as, flags); err != nil {
		return err
	}
	p, err := startProcmond(as, flags)
	if err != nil {
		return err
	}
	err = p.watch(b)
	return errors.Join(err, p.stop())
}

// factsOfSystem reports what the conditions are.
func factsOfSystem() error {
	mode, err := lockdown()
	if err != nil {
		return err
	}
	fact("lockdown", "%s", mode)
	return nil
}

// lockdown is the kernel's mode, "absent" where it has none.
func lockdown() (string, error) {
	b, err := os.ReadFile(lockdownFile)
	if errors.Is(err, os.ErrNotExist) {
		return "absent", nil
	}
	_, mode, _ := strings.Cut(string(b), "[")
	mode, _, _ = strings.Cut(mode, "]")
	return mode, err
}

func selfCheck(as *syscall.SysProcAttr, flags []string) error {
	cmd := exec.Command(procmond, append([]string{"self-check"}, flags...)...)
	cmd.SysProcAttr = as
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		return fmt.Errorf("procmond self-check: %w", err)
	}
	fact("self-check", "exit %d: %s", cmd.ProcessState.ExitCode(), strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "; "))
	return nil
}

// running is a procmond that prints events.
type running struct {
	cmd     *exec.Cmd
	entries chan entry // 64 wait, then procmond does
	name    string     // of the source
}

func startProcmond(as *syscall.SysProcAttr, flags []string) (*running, error) {
	args := append([]string{"run", "--log-format=json", "--output=json", "--poll-interval=200ms"}, flags...)
	p := &running{cmd: exec.Command(procmond, args...), entries: make(chan entry, 64)}
	p.cmd.SysProcAttr = as
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	err = p.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("start procmond: %w", err)
	}
	go p.read(r)

	for {
		e, err := p.next(func(e entry) bool { return e.Msg != "" })
		switch {
		case err != nil:
			return nil, errors.Join(fmt.Errorf("wait for procmond to collect: %w", err), p.stop())
		case e.Msg == "better source not usable":
			fact("refused "+e.Source, "%s", e.Reason)
		case e.Msg == "collecting":
			p.name = e.Source
			fact("source", "%s", strings.TrimSpace(e.Source+" "+e.Detail))
			return p, nil
		}
	}
}

// read takes procmond's output apart until it ends.
func (p *running) read(r *os.File) {
	defer r.Close()
	defer close(p.entries)
	s := bufio.NewScanner(r)
	s.Buffer(nil, 4<<20)
	for s.Scan() {
		var e entry
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			tell(record{Problem: fmt.Sprintf("procmond printed what is not JSON: %.500q", s.Text())})
			continue
		}
		p.entries <- e
	}
}

// next is the next entry that f wants; others are dropped.
func (p *running) next(f func(entry) bool) (entry, error) {
	late := time.After(patience)
	for {
		select {
		case e, ok := <-p.entries:
			if !ok {
				return e, io.ErrUnexpectedEOF
			}
			if f(e) {
				return e, nil
			}
		case <-late:
			return entry{}, fmt.Errorf("nothing for %s", patience)
		}
	}
}

// stop ends procmond as a service manager would.
func (p *running) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	for range p.entries {
	}
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("procmond ended with: %w", err)
	}
	return nil
}

// watch executes programs and reports what procmond said of them.
func (p *running) watch(b boot) error {
	e, pid, end, err := p.exec("marker", b.scope)
	if err != nil {
		return err
	}
	fact("exec", "%s %q", e.Source, e.Args)
	if len(b.scope) > 0 {
		err = compareCgroup(e, pid)
	}
	if err := errors.Join(err, end()); err != nil {
		return err
	}
	if !b.lockdown {
		return nil
	}
	if err := os.WriteFile(lockdownFile, []byte("confidentiality"), 0); err != nil {
		return fmt.Errorf("raise lockdown: %w", err)
	}
	if err := factsOfSystem(); err != nil {
		return err
	}
	e, _, end, err = p.exec("locked", nil)
	if err != nil {
		return err
	}
	fact("exec under lockdown", "%s %q", e.Source, e.Args)
	return end()
}

// exec starts a program that waits, in cgroups below the mount, until procmond
// tells of it. end lets it go.
func (p *running) exec(name string, scope []string) (e entry, pid int, end func() error, err error) {
	script := `for d; do mkdir -p "$d" && echo $$ >"$d/cgroup.procs" || exit 1; done; exec /init park ` + name
	cmd := exec.Command("/bin/sh", "-c", script, "sh")
	for _, s := range scope {
		cmd.Args = append(cmd.Args, filepath.Join("/sys/fs/cgroup", s))
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return e, 0, nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return e, 0, nil, err
	}
	end = func() error {
		_ = in.Close() // the program ends all the same, or Wait tells
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("program %s: %w", name, err)
		}
		return nil
	}
	var gaps []string
	e, err = p.next(func(e entry) bool {
		if e.Kind == "gap" {
			gaps = append(gaps, e.Cause)
		}
		return e.Kind == "exec" && e.PID == cmd.Process.Pid && slices.Equal(e.Args, []string{"/init", "park", name})
	})
	if len(gaps) > 0 {
		fact("gaps before "+name, "%s", strings.Join(gaps, "; "))
	}
	if err != nil {
		return e, 0, nil, errors.Join(fmt.Errorf("wait for the exec of %s: %w", name, err), end())
	}
	return e, cmd.Process.Pid, end, nil
}

// compareCgroup reports in which hierarchy the kernel shows the path of an
// event.
func compareCgroup(e entry, pid int) error {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasSuffix(l, ":"+e.Cgroup) && e.Cgroup != "" })
	if i < 0 {
		fact("cgroup", "%q, which is none of %q", e.Cgroup, lines)
	} else {
		fact("cgroup", "%s, that of %s", e.Cgroup, strings.TrimSuffix(lines[i], e.Cgroup))
	}
	fact("container", "%s", e.Container)
	return nil
}
