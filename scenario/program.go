package scenario

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// skipStatus is what a program ends with that cannot run on this system.
const skipStatus = 77

// program is a started program of a step.
type program struct {
	cmd     *exec.Cmd
	input   io.Closer // nil = it has none
	write   io.Writer
	stderr  tail
	began   time.Time
	wall    time.Duration // until its end was seen
	process string        // identity
	ready   chan struct{} // closed at the line "ready"
	read    chan struct{} // closed at the end of its output
	ended   chan struct{} // closed at its end

	mu     sync.Mutex
	values map[string]string
}

// launch starts a program. With an open input it may be told to go on.
func launch(argv []string, dir string, env []string, open bool) (*program, error) {
	p := &program{
		cmd: exec.Command(argv[0], argv[1:]...), ready: make(chan struct{}), read: make(chan struct{}),
		ended: make(chan struct{}), values: map[string]string{},
	}
	p.cmd.Dir, p.cmd.Env, p.cmd.Stderr = dir, env, &p.stderr
	// A descendant may hold its output longer than it lives.
	p.cmd.WaitDelay = time.Second
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	p.cmd.Stdout = w
	if open {
		in, err := p.cmd.StdinPipe()
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		p.input, p.write = in, in
	}
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	go p.listen(r)
	// Before anybody waits for it, the kernel still has it, ended or not.
	if p.process, err = processKey(p.cmd.Process.Pid); err != nil {
		p.kill()
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // its ProcessState says all
		p.wall = time.Since(p.began)
		close(p.ended)
	}()
	return p, nil
}

// listen takes the values from its output. It is bounded by what one program says.
func (p *program) listen(r *os.File) {
	defer close(p.read)
	defer r.Close()
	var once sync.Once
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "ready" {
			once.Do(func() { close(p.ready) })
			continue
		}
		if name, value, ok := strings.Cut(line, "="); ok {
			p.mu.Lock()
			p.values[name] = value
			p.mu.Unlock()
		}
	}
}

func (p *program) said() map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.values)
}

// awaitReady waits for the line "ready".
func (p *program) awaitReady(patience time.Duration) error {
	select {
	case <-p.ready:
		return nil
	case <-p.read:
		select {
		case <-p.ready:
			return nil
		default:
		}
		if why := p.said()["skip"]; why != "" {
			return skipError(why)
		}
		return fmt.Errorf("it ended its output without the line ready%s", p.stderr.show())
	case <-time.After(patience):
		return fmt.Errorf("it was not ready after %v%s", patience, p.stderr.show())
	}
}

// await waits for its end and what it had to say, and compares how it ended.
func (p *program) await(want Outcome, patience time.Duration) error {
	select {
	case <-p.ended:
	case <-time.After(patience):
		return fmt.Errorf("it did not end within %v%s", patience, p.stderr.show())
	}
	select {
	case <-p.read:
	case <-time.After(patience):
		return errors.New("its descendants hold its output")
	}
	got := outcomeOf(p.cmd.ProcessState)
	if why := p.said()["skip"]; why != "" && got.Code == skipStatus {
		return skipError(why)
	}
	if got != want && !want.Any {
		return fmt.Errorf("%v, want %v%s", got, want, p.stderr.show())
	}
	return nil
}

func outcomeOf(s *os.ProcessState) Outcome {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return Outcome{Signal: int(w.Signal())}
	}
	return Outcome{Code: s.ExitCode()}
}

func (p *program) closeInput() {
	if p.input != nil {
		_ = p.input.Close() // it may have ended
	}
}

func (p *program) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	p.closeInput()
}

// skipError says why a scenario cannot be run on this system.
type skipError string

func (e skipError) Error() string { return string(e) }

// processKey is the identity of a process as the views show it: boot, pid and
// start, as /proc has them (proc_pid_stat(5), field 22).
func processKey(pid int) (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("tell a process from its pid: %w", err)
	}
	start, _, err := processStat(pid)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%.8s-%d-%s", boot, pid, start), nil
}

// processStat reads the start, in ticks, and the state of a process.
func processStat(pid int) (start, state string, err error) {
	path := filepath.Join("/proc", strconv.Itoa(pid), "stat")
	b, err := os.ReadFile(path)
	if err != nil {
		return "", "", err
	}
	// The name before the last ) may hold anything.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 20 {
		return "", "", fmt.Errorf("%s: %d fields behind the name, want at least 20", path, len(fields))
	}
	return fields[19], fields[0], nil
}

// tail keeps the last of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailBytes = 1 << 20

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if len(t.b) > 2*tailBytes {
		t.b = append([]byte(nil), t.b[len(t.b)-tailBytes:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

// show is for the end of a message.
func (t *tail) show() string {
	s := strings.TrimSpace(t.String())
	if s == "" {
		return ""
	}
	const last = 2000
	if len(s) > last {
		s = "..." + s[len(s)-last:]
	}
	return ": " + s
}
