package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Setup is what all scenarios with one backend have in common.
type Setup struct {
	Bin, Helpers string // directories of the programs under test and of the helpers
	Backend      string
	Patience     time.Duration // how long anything is waited for
}

// Service is an agent and its data directory. It may be started again.
type Service struct {
	setup Setup
	dir   string // its own
	flags []string
	under []string

	cmd   *exec.Cmd // nil = it does not run
	ended chan struct{}
	log   tail
	marks int
}

// NewService makes an agent with a directory of its own, which it does not start.
// flags are of `sentineld run`; config, if there is one, is its configuration.
func NewService(s Setup, dir, config string, flags, under []string) (*Service, error) {
	// An agent without privileges keeps its data in here, too.
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return nil, err
	}
	a := &Service{setup: s, dir: dir, flags: flags, under: under}
	return a, os.WriteFile(a.config(), []byte(config), 0o644)
}

func (a *Service) config() string { return filepath.Join(a.dir, "config.yaml") }
func (a *Service) data() string   { return filepath.Join(a.dir, "data") }

// errUsage is an agent that does not know what it was told.
var errUsage = errors.New("the agent refuses its flags or configuration")

// Start starts the agent and waits until it records.
func (a *Service) Start() error {
	if a.cmd != nil {
		return errors.New("start the agent: it runs")
	}
	argv := append(slices.Clone(a.under), filepath.Join(a.setup.Bin, "sentineld"), "run", "--config", a.config(),
		"--data-dir", a.data(), "--socket", filepath.Join(a.dir, "none.sock"), "--alert-output", "none")
	if !slices.ContainsFunc(a.flags, func(f string) bool { return strings.HasPrefix(f, "--source") }) {
		argv = append(argv, "--source", a.setup.Backend)
	}
	argv = append(argv, a.flags...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &a.log, &a.log
	cmd.WaitDelay = time.Second
	dieWithUs(cmd)
	// Short, so that scenarios need not wait; a file of the scenario has no say in these.
	cmd.Env = append(os.Environ(), "HOME="+a.dir, "SENTINELD_COLLECTOR_POLL_INTERVAL=50ms", "SENTINELD_STORE_BATCH_DELAY=20ms")
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	a.cmd, a.ended = cmd, make(chan struct{})
	go func() {
		_ = cmd.Wait() // its ProcessState says all
		close(a.ended)
	}()
	if err := a.Mark(); err != nil {
		if a.cmd == nil && cmd.ProcessState.ExitCode() == 2 {
			err = errUsage
		}
		return fmt.Errorf("start the agent: %w\n%s", err, a.Log())
	}
	return nil
}

// Stop ends the agent in order.
func (a *Service) Stop() error {
	if a.cmd == nil {
		return errors.New("stop the agent: it does not run")
	}
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the agent: %w", err)
	}
	select {
	case <-a.ended:
	case <-time.After(a.setup.Patience):
		return fmt.Errorf("stop the agent: it runs on after %v\n%s", a.setup.Patience, a.Log())
	}
	state := a.cmd.ProcessState
	a.cmd = nil
	if !state.Success() {
		return fmt.Errorf("stop the agent: %v\n%s", outcomeOf(state), a.Log())
	}
	return nil
}

// Kill ends both programs with SIGKILL.
func (a *Service) Kill() error {
	if a.cmd == nil {
		return errors.New("kill the agent: it does not run")
	}
	children, err := childrenOf(a.cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("kill the agent: %w", err)
	}
	for _, pid := range append([]int{a.cmd.Process.Pid}, children...) {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill() // procmond ends with the agent
		}
	}
	<-a.ended
	a.cmd = nil
	return nil
}

// Close ends the agent if it runs.
func (a *Service) Close() {
	if a.cmd != nil {
		_ = a.Kill() // it may have ended
	}
}

// Log is what the agent has written.
func (a *Service) Log() string { return a.log.String() }

// Query runs `sentineld query` and gives its rows. Gaps in the record, which it
// tells with status 3, are no error.
func (a *Service) Query(sql string) ([]string, error) {
	out, err := a.command([]int{0, 3}, "query", "-o", "json", sql)
	if err != nil {
		return nil, err
	}
	var rows []string
	for line := range bytes.Lines(out) {
		rows = append(rows, strings.TrimSuffix(string(line), "\n"))
	}
	return rows, nil
}

// command runs one of sentineld's commands on the data, and wants one of the
// statuses.
func (a *Service) command(statuses []int, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), a.setup.Patience)
	defer cancel()
	args = append([]string{"--config", a.config(), "--data-dir", a.data()}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(a.setup.Bin, "sentineld"), args...)
	var stderr tail
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if cmd.ProcessState == nil {
		return nil, err
	}
	if code := cmd.ProcessState.ExitCode(); !slices.Contains(statuses, code) {
		return nil, fmt.Errorf("sentineld %s: %v%s", args[4], outcomeOf(cmd.ProcessState), stderr.show())
	}
	return out, nil
}

// pause is how long to wait before asking again, and pauseMost how long at most.
const (
	pause     = 25 * time.Millisecond
	pauseMost = time.Second
)

// until asks ok again and again, which is all that somebody outside of the agent
// can do, with growing pauses: each question is a process that the record has to
// take in as well. The error is the last one.
func (a *Service) until(ok func() error) error {
	deadline := time.Now().Add(a.setup.Patience)
	for wait := pause; ; wait = min(2*wait, pauseMost) {
		err := ok()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		if a.cmd == nil {
			return err
		}
		select {
		case <-a.ended:
			a.cmd = nil
			return errors.New("the agent has ended")
		case <-time.After(wait):
		}
	}
}

// Mark waits until everything that has happened so far is recorded: it starts a
// program, and what comes into the record after that, comes after what was before.
func (a *Service) Mark() error {
	a.marks++
	p, err := launch([]string{filepath.Join(a.setup.Helpers, "hold"), fmt.Sprintf("mark-%d", a.marks)}, a.dir, nil, true)
	if err != nil {
		return fmt.Errorf("start mark: %w", err)
	}
	err = a.until(func() error {
		rows, err := a.Query(fmt.Sprintf("SELECT 1 FROM execs WHERE process = '%s'", p.process))
		if err == nil && len(rows) == 0 {
			err = fmt.Errorf("process %s was not recorded within %v", p.process, a.setup.Patience)
		}
		return err
	})
	p.closeInput()
	if err != nil {
		p.kill()
	}
	<-p.ended
	return err
}

// Table compares the living processes of the record with those of /proc.
func (a *Service) Table() error {
	return a.until(func() error {
		began, err := ticks()
		if err != nil {
			return err
		}
		before, err := living()
		if err != nil {
			return err
		}
		rows, err := a.Query("SELECT process, cmdline FROM processes WHERE ended IS NULL")
		if err != nil {
			return err
		}
		after, err := living()
		if err != nil {
			return err
		}
		ended, err := ticks()
		if err != nil {
			return err
		}
		recorded := map[string]bool{}
		var wrong []string
		for _, row := range rows {
			var r struct{ Process, Cmdline string }
			if err := json.Unmarshal([]byte(row), &r); err != nil {
				return fmt.Errorf("%s: %w", row, err)
			}
			key := r.Process
			if recorded[key] {
				wrong = append(wrong, key+" is in the record twice")
			}
			recorded[key] = true
			// One that came and went meanwhile may be in the record, such as a query
			// that takes so long that it sees itself.
			if start := startOf(key); before[key] == "" && after[key] == "" && (start < began || start > ended) {
				wrong = append(wrong, fmt.Sprintf("%s %q is recorded as alive and is not", key, r.Cmdline))
			}
		}
		for key, state := range before {
			// A zombie has ended, unless only its first thread has.
			if !recorded[key] && after[key] != "" && !strings.ContainsAny(state+after[key], "ZX") {
				wrong = append(wrong, key+" lives and is not in the record")
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("the record differs from /proc in %d of %d processes: %s", len(wrong), len(before),
				strings.Join(wrong[:min(len(wrong), 5)], "; "))
		}
		return nil
	})
}

// ticks is the boot clock in the ticks of identities, 10 ms each.
func ticks() (uint64, error) {
	b, err := os.ReadFile("/proc/uptime") // proc_uptime(5): in hundredths of a second
	if err != nil {
		return 0, err
	}
	seconds, _, _ := strings.Cut(string(b), " ")
	n, err := strconv.ParseUint(strings.Replace(seconds, ".", "", 1), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/uptime: %w", err)
	}
	return n, nil
}

// startOf is the last part of an identity; 0 = it has none.
func startOf(process string) uint64 {
	n, err := strconv.ParseUint(process[strings.LastIndexByte(process, '-')+1:], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// living are the processes of /proc with their states, by identity.
func living() (map[string]string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, err
	}
	pids, err := allPIDs()
	if err != nil {
		return nil, err
	}
	m := map[string]string{}
	for _, pid := range pids {
		if start, state, err := processStat(pid); err == nil { // else it ended
			m[fmt.Sprintf("%.8s-%d-%s", boot, pid, start)] = state
		}
	}
	return m, nil
}

func allPIDs() ([]int, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func childrenOf(parent int) ([]int, error) {
	pids, err := allPIDs()
	if err != nil {
		return nil, err
	}
	var children []int
	for _, pid := range pids {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			continue // it ended
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			children = append(children, pid)
		}
	}
	return children, nil
}

// Nowhere looks for a text in all that the agent has written.
func (a *Service) Nowhere(text string) error {
	if strings.Contains(a.Log(), text) {
		return fmt.Errorf("the agent's output has %q", text)
	}
	return filepath.WalkDir(a.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && bytes.Contains(b, []byte(text)) {
			err = fmt.Errorf("%s has %q", path, text)
		}
		return err
	})
}

// Memory wants the agent's programs to have had at most so many bytes resident,
// together, by the peak of each since it was started.
func (a *Service) Memory(most int64) error {
	if a.cmd == nil {
		return errors.New("measure the agent: it does not run")
	}
	children, err := childrenOf(a.cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("measure the agent: %w", err)
	}
	if len(children) == 0 {
		return errors.New("measure the agent: it has no procmond")
	}
	var sum int64
	var each []string
	for _, pid := range append([]int{a.cmd.Process.Pid}, children...) {
		name, peak, err := peakOf(pid)
		if err != nil {
			return fmt.Errorf("measure the agent: %w", err)
		}
		sum += peak
		each = append(each, fmt.Sprintf("%s %.1f", name, float64(peak)/1e6))
	}
	if sum > most {
		return fmt.Errorf("the agent had %.1f MB resident, more than %.1f: %s", float64(sum)/1e6, float64(most)/1e6, strings.Join(each, ", "))
	}
	return nil
}

// peakOf is the name of a process and the most bytes that it had resident
// (proc_pid_status(5)).
func peakOf(pid int) (name string, peak int64, err error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return "", 0, err
	}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); key {
		case "Name":
			name = value
		case "VmHWM":
			peak, err = strconv.ParseInt(strings.TrimSuffix(value, " kB"), 10, 64)
			return name, peak << 10, err
		}
	}
	return name, 0, fmt.Errorf("process %d (%s) has no memory", pid, name)
}

// contains waits until a text is in what get gives.
func (a *Service) contains(what, text string, get func() (string, error)) error {
	return a.until(func() error {
		s, err := get()
		if err == nil && !strings.Contains(s, text) {
			err = fmt.Errorf("%s has no %q:\n%s", what, text, s)
		}
		return err
	})
}
