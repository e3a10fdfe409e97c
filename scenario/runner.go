package scenario

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stormPatience is how much longer a program may work that is not asked to wait.
const stormPatience = 5

// runner is one scenario being run.
type runner struct {
	f        *File
	setup    Setup
	agent    *Service
	own      bool
	dir      string
	env      []string
	programs map[string]*program
	vars     Vars
}

// Verdict is what became of a scenario.
type Verdict int

const (
	Passed  Verdict = iota
	Failed          // Why says how
	Skipped         // it says nothing of this backend, or needs what not every machine has
	Lacking         // it cannot be run here
	Pending         // it did not pass, and is marked for that
	Ahead           // it passed although it is marked as pending
)

// Result of one scenario with one backend.
type Result struct {
	Verdict Verdict
	Why     string
}

// Run runs a scenario in a directory of its own that exists. shared is the agent
// of all scenarios.
func Run(f *File, s Setup, shared *Service, dir string) Result {
	if why := f.Skip[s.Backend]; why != "" {
		return Result{Skipped, why}
	}
	pending := f.Pending[s.Backend]
	if pending != "" {
		s.Patience = min(s.Patience, 3*time.Second) // it is expected to be in vain
	}
	err := runFile(f, s, shared, dir)
	var skip skipError
	switch {
	case errors.As(err, &skip) && mayLack(string(skip)):
		return Result{Skipped, string(skip)}
	case errors.As(err, &skip):
		return Result{Lacking, string(skip)}
	case err != nil && pending != "":
		return Result{Pending, fmt.Sprintf("%s (%v)", pending, err)}
	case err != nil:
		return Result{Failed, err.Error()}
	case pending != "":
		return Result{Ahead, pending}
	}
	return Result{Verdict: Passed}
}

// dispensable is what the reasons begin with for which a program of a scenario may
// leave it out on any machine, that of CI as well.
var dispensable = []string{
	"the clock of this system is not the scenario's to set", // others use it, but in a guest of our own
	"no writable cgroup hierarchy of version 1",             // a system has v2, v1 or both
	"runc is not installed",
	"binfmt_misc cannot be mounted here", // it is a module, and guests have none
}

func mayLack(why string) bool {
	return slices.ContainsFunc(dispensable, func(d string) bool { return strings.HasPrefix(why, d) })
}

func runFile(f *File, s Setup, shared *Service, dir string) (err error) {
	r := &runner{f: f, setup: s, agent: shared, dir: dir, env: os.Environ(), programs: map[string]*program{}}
	sh, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		return err
	}
	r.vars = Vars{
		"dir": dir, "base": filepath.Base(dir), "helpers": s.Helpers, "runner": strconv.Itoa(os.Getpid()),
		"begin": strconv.FormatInt(time.Now().UnixNano(), 10), "sh": sh, "backend": s.Backend,
	}
	defer r.clear()
	defer func() {
		if r.own && err != nil { // the shared one's is not about this scenario alone
			err = fmt.Errorf("%w\n     its agent said: %s", err, lastOf(r.agent.Log()))
		}
	}()
	if f.Agent.Own {
		if err := r.ownAgent(); err != nil {
			return err
		}
	} else {
		r.agent.setup.Patience = s.Patience
	}
	for i := range f.Steps {
		step := &f.Steps[i]
		if err := r.step(step); err != nil {
			return fmt.Errorf("%s.txtar:%d: %s: %w", f.Name, step.Line, step.Verb, err)
		}
	}
	return r.expect()
}

// lastOf is the end of a log, some lines of it.
func lastOf(log string) string {
	const most = 2000
	log = strings.TrimSpace(log)
	return log[max(0, len(log)-most):]
}

// ownAgent starts an agent for this scenario alone.
func (r *runner) ownAgent() error {
	flags, err := r.vars.expandAll(r.f.Agent.Flags)
	if err != nil {
		return err
	}
	under, err := r.vars.expandAll(r.f.Agent.Under)
	if err != nil {
		return err
	}
	r.agent, err = NewService(r.setup, filepath.Join(r.dir, "agent"), r.f.Config, flags, under)
	if err != nil {
		return err
	}
	r.own = true
	if r.f.Agent.Later {
		return nil
	}
	return r.agent.Start()
}

// clear ends what the scenario left running.
func (r *runner) clear() {
	for _, p := range r.programs {
		p.closeInput()
		select {
		case <-p.ended:
		case <-time.After(time.Second): // it may have to clear up
			p.kill()
			<-p.ended
		}
	}
	if r.own {
		r.agent.Close()
	}
}

// expect waits until all that happened is recorded, and then, since some of it may
// be worked out later, until the record is as expected.
func (r *runner) expect() error {
	list := r.f.Expected(r.setup.Backend)
	if len(list) == 0 {
		return nil
	}
	if r.agent.cmd != nil {
		if err := r.agent.Mark(); err != nil {
			return err
		}
	}
	return r.agent.until(func() error {
		for _, e := range list {
			if err := r.compare(e); err != nil {
				return fmt.Errorf("%s.txtar:%d: %w", r.f.Name, e.Line, err)
			}
		}
		return nil
	})
}

func (r *runner) compare(e Expectation) error {
	var sql string
	want := make([]string, len(e.Rows))
	err := r.filled(func() (err error) {
		for i, row := range e.Rows {
			if want[i], err = r.vars.JSON(row); err != nil {
				return err
			}
		}
		sql, err = r.vars.SQL(e.SQL)
		return err
	})
	if err != nil {
		return err
	}
	got, err := r.agent.Query(sql)
	if err != nil {
		return fmt.Errorf("%w\n     %s", err, sql)
	}
	if diff := Compare(want, got); diff != "" {
		return fmt.Errorf("%s\n%s", sql, diff)
	}
	return nil
}

func (r *runner) step(s *Step) error {
	var args []string
	err := r.filled(func() (err error) {
		args, err = r.vars.expandAll(s.Args)
		return err
	})
	if err != nil {
		return err
	}
	switch s.Verb {
	case "run", "start":
		return r.launch(s, args)
	case "ready", "say", "close", "signal", "wait":
		return r.control(s, args)
	case "copy", "link", "mkdir", "remove", "write":
		return r.file(s.Verb, args)
	case "setenv":
		r.env = append(r.env, args[0]+"="+args[1])
		return nil
	case "agent":
		switch args[0] {
		case "start":
			return r.agent.Start()
		case "stop":
			return r.agent.Stop()
		case "kill":
			return r.agent.Kill()
		}
		return fmt.Errorf("%q: want start, stop or kill", args[0])
	case "until":
		var sql string
		err := r.filled(func() (err error) {
			sql, err = r.vars.SQL(s.SQL)
			return err
		})
		if err != nil {
			return err
		}
		return r.agent.until(func() error {
			rows, err := r.agent.Query(sql)
			if err == nil && len(rows) == 0 {
				err = fmt.Errorf("no rows within %v: %s", r.setup.Patience, sql)
			}
			return err
		})
	case "table":
		return r.agent.Table()
	case "logged":
		return r.agent.contains("the agent's log", args[0], func() (string, error) { return r.agent.Log(), nil })
	case "status":
		return r.agent.contains("the status", args[0], func() (string, error) {
			out, err := r.agent.command([]int{0, 1, 3}, "status", "-o", "json")
			return string(out), err
		})
	case "memory":
		mb, err := strconv.ParseInt(args[0], 10, 32)
		if err != nil {
			return fmt.Errorf("%q: want a number of MB", args[0])
		}
		return r.agent.Memory(mb * 1e6)
	case "nowhere":
		if err := r.agent.Mark(); err != nil {
			return err
		}
		return r.agent.Nowhere(args[0])
	}
	return errors.New("unknown step")
}

func (r *runner) launch(s *Step, args []string) error {
	p, err := launch(args, r.dir, r.env, s.Verb == "start")
	if err != nil {
		return err
	}
	name := s.Name
	if name == "" {
		name = fmt.Sprintf("line %d", s.Line) // no variable is named so
	}
	r.programs[name] = p
	if s.Verb == "run" {
		err = p.await(s.Outcome, stormPatience*r.setup.Patience)
	}
	r.learn(name, p)
	return err
}

// learn makes variables of what is known of a program.
func (r *runner) learn(name string, p *program) {
	said := p.said()
	v := Vars{name: strconv.Itoa(p.cmd.Process.Pid), name + ".process": p.process}
	select {
	case <-p.ended:
		end := outcomeOf(p.cmd.ProcessState)
		v[name+".wall_ns"] = strconv.FormatInt(p.wall.Nanoseconds(), 10)
		v[name+".code"], v[name+".signal"] = strconv.Itoa(end.Code), strconv.Itoa(end.Signal)
	default:
	}
	for k, value := range said { // what it says of its child may have the same name
		v[name+"."+k] = value
	}
	maps.Copy(r.vars, v)
}

// filled does what needs the values of variables. A running program may still have
// to say one: its child is ready when it likes.
func (r *runner) filled(do func() error) error {
	for deadline := time.Now().Add(r.setup.Patience); ; {
		err := do()
		var unset *unsetError
		if !errors.As(err, &unset) {
			return err
		}
		name, _, _ := strings.Cut(unset.name, ".")
		p := r.programs[name]
		if p == nil || time.Now().After(deadline) {
			return err
		}
		select {
		case <-p.read: // it has said all
			if r.learn(name, p); r.vars[unset.name] == "" {
				return err
			}
		case <-time.After(pause):
			r.learn(name, p)
		}
	}
}

func (r *runner) control(s *Step, args []string) error {
	p := r.programs[args[0]]
	if p == nil {
		return fmt.Errorf("no program is named %s", args[0])
	}
	switch s.Verb {
	case "close":
		p.closeInput()
		return nil
	case "signal":
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return p.cmd.Process.Signal(syscall.Signal(n))
	case "say":
		if p.write == nil {
			return errors.New("its input is empty: start it with start")
		}
		_, err := io.WriteString(p.write, args[1]+"\n")
		return err
	case "ready":
		if err := p.awaitReady(r.setup.Patience); err != nil {
			return err
		}
	case "wait":
		if err := p.await(s.Outcome, r.setup.Patience); err != nil {
			return err
		}
	}
	r.learn(args[0], p)
	return nil
}

// file changes files. Relative paths are in the scenario's directory.
func (r *runner) file(verb string, args []string) error {
	path := func(i int) string {
		if filepath.IsAbs(args[i]) {
			return args[i]
		}
		return filepath.Join(r.dir, args[i])
	}
	switch verb {
	case "mkdir":
		return os.MkdirAll(path(0), 0o755)
	case "remove":
		return os.Remove(path(0))
	case "link":
		return os.Symlink(args[0], path(1))
	case "write":
		mode, err := strconv.ParseUint(args[1], 8, 12)
		if err != nil {
			return fmt.Errorf("mode %q: want an octal number", args[1])
		}
		return os.WriteFile(path(0), []byte(args[2]), os.FileMode(mode))
	}
	return r.copy(path(0), path(1), args[2:])
}

func (r *runner) copy(from, to string, how []string) error {
	if len(how) == 2 {
		return fmt.Errorf("user %s and no group: want MODE UID GID", how[1])
	}
	numbers := []uint64{0o755, 0, 0}
	for i, text := range how {
		n, err := strconv.ParseUint(text, []int{8, 10, 10}[i], 31)
		if err != nil {
			return fmt.Errorf("%q: want MODE UID GID as numbers", text)
		}
		numbers[i] = n
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		return err
	}
	if len(how) == 3 {
		if err := os.Chown(to, int(numbers[1]), int(numbers[2])); err != nil { // clears setuid, so it is first
			return err
		}
	}
	mode := os.FileMode(numbers[0] & 0o777)
	for bit, flag := range map[uint64]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky} {
		if numbers[0]&bit != 0 {
			mode |= flag
		}
	}
	return os.Chmod(to, mode)
}

// String shows a result on one line.
func (r Result) String() string {
	name := [...]string{"passed", "FAILED", "skipped", "skipped", "pending", "passed, and its pending line can go"}[r.Verdict]
	if r.Why == "" {
		return name
	}
	return name + ": " + strings.ReplaceAll(r.Why, "\n", " ")
}
