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
	name     string
	start    func(*bench) (*running, error)
	optional bool // one that does not work here is left out
}

// running is a started agent.
type running struct {
	cmd            *exec.Cmd
	stdout, stderr string // files
	pids           []int  // whose CPU and memory count
	count          func(*result) error
	ended          chan error
	end            syscall.Signal // 0 = SIGTERM
	undo           func() error   // puts back what was changed for it, once; nil = nothing
}

// total is how many execs a burst really is.
func (b *bench) total() int64 { return int64(b.execs / 2 * 2) }

func (b *bench) rows() []row {
	rows := append([]row{
		{"no agent", nil, false},
		{"hooks only", startHooks, false},
		{"procmond > /dev/null", startProcmond(), false},
		{"procmond --exec-failures", startProcmond("--exec-failures"), true},
		{"procmond --source procconn", startProcmond("--source", "procconn"), true},
		{"sentineld (whole agent)", startAgent, false},
	}, others...)
	kept := rows[:1]
	for _, r := range rows[1:] {
		if strings.Contains(r.name, b.only) {
			kept = append(kept, r)
		}
	}
	return kept
}

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
	b.later(func() error { a.kill(); return nil })
	a.pids = []int{cmd.Process.Pid}
	go func() { a.ended <- cmd.Wait() }()
	for range 300 {
		if strings.Contains(a.output(), ready) {
			return a, nil
		}
		select {
		case err := <-a.ended:
			return nil, fmt.Errorf("%s ended at once: %v: %s", cmd.Path, err, strings.TrimSpace(a.output()))
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
func (a *running) settle(limit time.Duration) error {
	last := time.Duration(-1)
	for end := time.Now().Add(limit); time.Now().Before(end); {
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
	return fmt.Errorf("the agent is still busy %v after the load", limit)
}

func (a *running) stop() error {
	end := syscall.SIGTERM
	if a.end != 0 {
		end = a.end
	}
	_ = a.cmd.Process.Signal(end)
	select {
	case err := <-a.ended:
		if err != nil && !errors.As(err, new(*exec.ExitError)) { // how it says that it was stopped is its own affair
			return err
		}
		if a.undo != nil {
			return a.undo()
		}
		return nil
	case <-time.After(20 * time.Second):
		a.kill()
		if a.end != 0 {
			return nil // another's tool: what it wrote until now counts
		}
		return fmt.Errorf("%s does not stop", a.cmd.Path)
	}
}

// kill ends the agent whatever it does. Once it has ended it only puts back what
// was changed for it; stop, which is called before, tells how that failed.
func (a *running) kill() {
	_ = a.cmd.Process.Kill()
	if a.undo != nil {
		_ = a.undo()
	}
}

// startHooks starts the programs that throw away what they recorded. What finds
// no room in the ring is not even built, and would make them look cheap.
func startHooks(b *bench) (*running, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	a, err := b.startCommand(exec.Command(self, "hooks-only"), "ready")
	if err != nil {
		return nil, err
	}
	a.count = func(r *result) error {
		_, rest, found := strings.Cut(a.output(), "lost ")
		if _, err := fmt.Sscan(rest, &r.lost); !found || err != nil {
			return fmt.Errorf("the hooks did not say what they lost:\n%s", a.output())
		}
		if r.lost != 0 {
			return fmt.Errorf("the ring was full: %d records were never built, so that this is not what they cost", r.lost)
		}
		return nil
	}
	return a, nil
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
	closed := make(chan error, 1)
	context.AfterFunc(ctx, func() { closed <- src.Close() })
	var lost uint64
	for batch := range src.Events() {
		for _, e := range batch {
			if e.Kind == event.KindGap {
				lost += e.Gap.Lost
			}
		}
	}
	fmt.Println("lost", lost)
	if err := src.Err(); err != nil {
		return err
	}
	return <-closed
}

// startProcmond makes the start of a procmond that prints into nothing.
func startProcmond(args ...string) func(*bench) (*running, error) {
	return func(b *bench) (*running, error) {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		defer null.Close()
		cmd := exec.Command(filepath.Join(b.bin, "procmond"), append([]string{"run", "--output", "json", "--log-format", "json"}, args...)...)
		cmd.Stdout = null
		a, err := b.startCommand(cmd, "collecting")
		if err != nil {
			return nil, err
		}
		if strings.Contains(a.output(), "failed execs not seen") {
			a.kill()
			return nil, errors.New("this kernel does not show failed execs")
		}
		a.count = a.totals
		return a, nil
	}
}

// totals is how much procmond says at its end that there was.
func (a *running) totals(r *result) error {
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
		counts, err := b.stored(dir)
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

// counts are of the load, but for All, and for Lost, where nobody can know.
type counts struct{ Execs, Forks, Exits, Lost, All int64 }

// stored counts what a store holds.
func (b *bench) stored(dir string) (c counts, err error) {
	marker := "cmdline LIKE '%" + b.mark + "'"
	err = b.query(dir, `SELECT
		(SELECT count(*) FROM execs WHERE `+marker+`) AS execs,
		(SELECT count(*) FROM forks WHERE process IN (SELECT process FROM execs WHERE `+marker+`)) AS forks,
		(SELECT count(*) FROM exits WHERE process IN (SELECT process FROM execs WHERE `+marker+`) AND code = 0) AS exits,
		(SELECT coalesce(sum(lost), 0) FROM gaps) AS lost,
		(SELECT count(*) FROM execs) + (SELECT count(*) FROM forks) + (SELECT count(*) FROM exits) AS "all"`, &c)
	return c, err
}

// startAgentOn starts the whole agent on a store in dir, with variables beside
// those of the environment.
func startAgentOn(b *bench, dir string, env ...string) (*running, error) {
	cmd := b.agent(dir, "--alert-output=none")
	cmd.Env = append(os.Environ(), env...)
	a, err := b.startCommand(cmd, "collecting")
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
	out, _, err := b.ask("query", "--data-dir", dir, "--timeout", "10m", "-o", "json", sql)
	if err != nil {
		return err
	}
	return json.Unmarshal(out, v)
}

// ask runs a command of sentineld, and says which process that was.
func (b *bench) ask(args ...string) (out []byte, pid int, err error) {
	var stderr strings.Builder
	cmd := exec.Command(filepath.Join(b.bin, "sentineld"), args...)
	cmd.Stderr = &stderr
	out, err = cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 3 { // 3: there are gaps, which we count
		return nil, 0, fmt.Errorf("sentineld %s: %w: %s", args[0], err, stderr.String())
	}
	return out, cmd.Process.Pid, nil
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
