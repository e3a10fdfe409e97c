//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
	"github.com/sentineld/sentineld/internal/source/ebpf"
)

// row is one thing that is measured. start is nil for no agent.
type row struct {
	name  string
	start func(*bench) (*running, error)
}

// running is a started agent.
type running struct {
	cmd            *exec.Cmd
	stdout, stderr string // files
	pids           []int  // whose CPU and memory count
	count          func(*result) error
	ended          chan error
	end            syscall.Signal // 0 = SIGTERM
}

// total is how many execs a burst really is.
func (b *bench) total() int64 { return int64(b.execs / 2 * 2) }

func (b *bench) rows() []row {
	rows := []row{
		{"no agent", nil},
		{"hooks only", startHooks},
		{"procmond > /dev/null", startProcmond},
		{"sentineld (whole agent)", startAgent},
	}
	if p, err := exec.LookPath("execsnoop"); err == nil {
		rows = append(rows, row{"execsnoop (exec only)", func(b *bench) (*running, error) { return startOther(b, "", p) }})
	} else {
		fmt.Println("execsnoop is not installed (apt-get install libbpf-tools): no row")
	}
	if p, err := exec.LookPath("bpftrace"); err == nil {
		_ = syscall.Mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, "") // it may be mounted already
		rows = append(rows, row{"bpftrace exec/fork/exit", func(b *bench) (*running, error) { return startOther(b, "ready", p, "-e", bpftraceProgram) }})
	} else {
		fmt.Println("bpftrace is not installed: no row")
	}
	if b.only == "" {
		return rows
	}
	kept := rows[:1]
	for _, r := range rows[1:] {
		if strings.Contains(r.name, b.only) {
			kept = append(kept, r)
		}
	}
	return kept
}

const bpftraceProgram = `BEGIN { printf("ready\n"); }
tracepoint:sched:sched_process_fork { printf("fork %d %d\n", args->parent_pid, args->child_pid); }
tracepoint:syscalls:sys_enter_execve { printf("exec %d ", pid); join(args->argv); }
tracepoint:sched:sched_process_exit { printf("exit %d\n", pid); }`

// startCommand starts a program with its output in files, and waits until ready
// stands in one of them. Nothing of ours reads along, which would cost the load.
func (b *bench) startCommand(cmd *exec.Cmd, ready string) (*running, error) {
	a := &running{cmd: cmd, ended: make(chan error, 1)}
	for _, out := range []struct {
		to   *io.Writer
		path *string
	}{{&cmd.Stdout, &a.stdout}, {&cmd.Stderr, &a.stderr}} {
		if *out.to != nil {
			continue
		}
		f, err := os.CreateTemp(b.dir, "out-")
		if err != nil {
			return nil, err
		}
		defer f.Close()
		*out.to, *out.path = f, f.Name()
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	a.pids = []int{cmd.Process.Pid}
	go func() { a.ended <- cmd.Wait() }()
	for range 300 {
		if strings.Contains(a.output(), ready) {
			return a, nil
		}
		select {
		case err := <-a.ended:
			return nil, fmt.Errorf("%s ended at once: %v\n%s", cmd.Path, err, a.output())
		case <-time.After(100 * time.Millisecond):
		}
	}
	a.kill()
	return nil, fmt.Errorf("%s did not say %q within 30 s:\n%s", cmd.Path, ready, a.output())
}

// output is what the program has written so far.
func (a *running) output() string {
	out, _ := os.ReadFile(a.stdout)
	err, _ := os.ReadFile(a.stderr)
	return string(out) + string(err)
}

// settle waits until the agent does nothing any more.
func (a *running) settle() error {
	last := time.Duration(-1)
	for range 100 {
		time.Sleep(500 * time.Millisecond)
		var now time.Duration
		for _, pid := range a.pids {
			c, err := cpuTime(pid)
			if err != nil {
				return err
			}
			now += c
		}
		if last >= 0 && now-last < 5*time.Millisecond {
			return nil
		}
		last = now
	}
	return fmt.Errorf("the agent is still busy 50 s after the load")
}

func (a *running) stop() error {
	end := syscall.SIGTERM
	if a.end != 0 {
		end = a.end
	}
	_ = a.cmd.Process.Signal(end)
	select {
	case err := <-a.ended:
		if err != nil && !errors.As(err, new(*exec.ExitError)) {
			return err
		}
		return nil // how it says that it was stopped is its own affair
	case <-time.After(20 * time.Second):
		a.kill()
		if a.end != 0 {
			return nil // another's tool: what it wrote until now counts
		}
		return fmt.Errorf("%s does not stop", a.cmd.Path)
	}
}

func (a *running) kill() { _ = a.cmd.Process.Kill() }

func startHooks(b *bench) (*running, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return b.startCommand(exec.Command(self, "hooks-only"), "ready")
}

// hooksOnly is the child of startHooks.
func hooksOnly() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	src, err := ebpf.Open(ctx, ebpf.Options{Options: source.Options{Boot: event.BootID{1}}, HooksOnly: true})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	if err := src.Close(); err != nil {
		return err
	}
	for range src.Events() {
	}
	return src.Err()
}

func startProcmond(b *bench) (*running, error) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(filepath.Join(b.bin, "procmond"), "run", "--output", "json", "--log-format", "json")
	cmd.Stdout = null
	a, err := b.startCommand(cmd, "collecting")
	if err != nil {
		return nil, err
	}
	a.count = func(r *result) error { // it says at its end how much there was
		for line := range strings.Lines(a.output()) {
			var m struct {
				Msg          string
				Events, Lost int64
			}
			if json.Unmarshal([]byte(line), &m) == nil && m.Msg == "stopped" {
				r.events, r.lost = m.Events, m.Lost
				return nil
			}
		}
		return fmt.Errorf("procmond did not say how much it collected:\n%s", a.output())
	}
	return a, nil
}

func startAgent(b *bench) (*running, error) {
	dir, err := os.MkdirTemp(b.dir, "store-")
	if err != nil {
		return nil, err
	}
	a, err := startAgentOn(b, dir)
	if err != nil {
		return nil, err
	}
	a.count = func(r *result) error {
		var counts struct{ Execs, Forks, Exits, Lost, All int64 }
		marker := "cmdline LIKE '%sentineld-load'"
		err := b.query(dir, `SELECT
			(SELECT count(*) FROM execs WHERE `+marker+`) AS execs,
			(SELECT count(*) FROM forks WHERE process IN (SELECT process FROM execs WHERE `+marker+`)) AS forks,
			(SELECT count(*) FROM exits WHERE process IN (SELECT process FROM execs WHERE `+marker+`) AND code = 0) AS exits,
			(SELECT coalesce(sum(lost), 0) FROM gaps) AS lost,
			(SELECT count(*) FROM execs) + (SELECT count(*) FROM forks) + (SELECT count(*) FROM exits) AS "all"`, &counts)
		if err != nil {
			return err
		}
		r.events = counts.All
		r.lost = counts.Lost + 3*b.total() - counts.Execs - counts.Forks - counts.Exits
		for _, f := range []string{"events.db", "events.db-wal"} {
			if st, err := os.Stat(filepath.Join(dir, f)); err == nil {
				r.bytes += st.Size()
			}
		}
		return os.RemoveAll(dir)
	}
	return a, nil
}

// startAgentOn starts the whole agent on a store in dir.
func startAgentOn(b *bench, dir string) (*running, error) {
	a, err := b.startCommand(b.agent(dir, "--alert-output=none"), "collecting")
	if err != nil {
		return nil, err
	}
	pid, err := childNamed(a.cmd.Process.Pid, "procmond")
	if err != nil {
		return nil, err
	}
	a.pids = append(a.pids, pid)
	return a, nil
}

// agent is `sentineld run` on a store of its own and with a procmond of its own.
func (b *bench) agent(dir string, args ...string) *exec.Cmd {
	args = append([]string{"run", "--data-dir", dir, "--socket", filepath.Join(dir, "none.sock")}, args...)
	return exec.Command(filepath.Join(b.bin, "sentineld"), args...)
}

// query runs a query of one row on a store and reads it into v.
func (b *bench) query(dir, sql string, v any) error {
	var stderr strings.Builder
	cmd := exec.Command(filepath.Join(b.bin, "sentineld"), "query", "--data-dir", dir, "-o", "json", sql)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 3 { // 3: there are gaps, which we count
		return fmt.Errorf("query: %w: %s", err, stderr.String())
	}
	return json.Unmarshal(out, v)
}

// startOther starts another tool. Its execs are counted by the load's argument.
func startOther(b *bench, ready, path string, args ...string) (*running, error) {
	a, err := b.startCommand(exec.Command(path, args...), ready)
	if err != nil {
		return nil, err
	}
	if ready == "" {
		time.Sleep(5 * time.Second) // it does not say when it is ready
	}
	a.end = syscall.SIGINT // at which they write what they still hold
	a.count = func(r *result) error {
		r.events = int64(strings.Count(a.output(), "\n"))
		r.lost = b.total() - int64(strings.Count(a.output(), "sentineld-load"))
		return nil
	}
	return a, nil
}

// childNamed finds a descendant by its name.
func childNamed(pid int, name string) (int, error) {
	for range 50 {
		todo := []int{pid}
		for len(todo) > 0 {
			p := todo[0]
			todo = todo[1:]
			tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p))
			for _, t := range tasks {
				data, _ := os.ReadFile(t)
				for _, f := range strings.Fields(string(data)) {
					child, _ := strconv.Atoi(f)
					comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", child))
					if strings.TrimSpace(string(comm)) == name {
						return child, nil
					}
					todo = append(todo, child)
				}
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return 0, fmt.Errorf("no %s among the children of %d", name, pid)
}
