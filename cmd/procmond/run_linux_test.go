package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/testenv"
	"github.com/sentineld/sentineld/internal/wire"
)

// syncBuffer is what a running program has written so far.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// sharedDir is a directory that every user may enter and write.
func sharedDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "procmond-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// program is this test's binary under the name by which it is procmond (see
// TestMain), where every user may execute it.
func program(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(sharedDir(t), "procmond")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// process is a procmond that runs.
type process struct {
	*exec.Cmd
	log   *syncBuffer
	ended chan struct{}
	err   error // once ended is closed
}

// start starts procmond; prepare may be nil.
func start(t *testing.T, prepare func(*exec.Cmd), args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(program(t), args...), log: &syncBuffer{}, ended: make(chan struct{})}
	p.Stderr = p.log
	p.Env = append(os.Environ(), "GORACE="+noRaceSleep)
	if prepare != nil {
		prepare(p.Cmd)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.ended
	})
	return p
}

// ready waits until p collects.
func (p *process) ready(t *testing.T) {
	t.Helper()
	if !until(func() bool { return strings.Contains(p.log.String(), "msg=collecting") }) {
		t.Fatalf("procmond does not start:\n%s", p.log)
	}
}

// end waits for p and gives its exit code, -1 for a signal.
func (p *process) end(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(within):
		t.Fatalf("procmond does not end within %s:\n%s", within, p.log)
	}
	return p.ProcessState.ExitCode()
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// dial connects to p's socket.
func dial(t *testing.T, socket string) (*wire.Client, error) {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	c, err := wire.Dial(t.Context(), conn, wire.Hello{})
	if err == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// find reads the client's stream until an event fits, acknowledging what it
// read.
func find(t *testing.T, c *wire.Client, what string, fits func(wire.Message, *event.Event) bool) {
	t.Helper()
	found := make(chan error, 1)
	go func() {
		for {
			m, err := c.Next()
			if err != nil {
				found <- err
				return
			}
			if m.Type != wire.TypeStatus && m.Type != wire.TypeSync {
				_ = c.Ack(m.Seq)
			}
			for i := range m.Events {
				if fits(m, &m.Events[i]) {
					found <- nil
					return
				}
			}
			if m.Type == wire.TypeStatus && fits(m, nil) {
				found <- nil
				return
			}
		}
	}()
	select {
	case err := <-found:
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: not within 20 s", what)
	}
}

// mark executes a program with an argument that nobody else uses.
func mark(t *testing.T, arg string) {
	t.Helper()
	if err := exec.Command("/bin/true", arg).Run(); err != nil {
		t.Fatal(err)
	}
}

func isMark(e *event.Event, arg string) bool {
	return e != nil && e.Kind == event.KindExec && strings.HasSuffix(e.Exec.Args, "\x00"+arg+"\x00")
}

// as runs procmond as nobody, with no capability but those given.
func as(caps ...uintptr) func(*exec.Cmd) {
	return func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: caps}
	}
}

func TestWithoutPrivileges(t *testing.T) {
	testenv.NeedBPF(t)
	const missing = "load BPF programs: permission denied (needs CAP_BPF and CAP_PERFMON: run with sudo, or use --source=poll)"
	const noAdmin = "open process connector: permission denied (needs CAP_NET_ADMIN in the initial user namespace: run with sudo, or use --source=poll)"

	p := start(t, as(), "run", "--source=ebpf", "--output", "json")
	if code := p.end(t, 20*time.Second); code != 1 || !strings.Contains(p.log.String(), missing) || !strings.Contains(p.log.String(), "--source=auto would try the others") {
		t.Errorf("exit %d:\n%s", code, p.log)
	}

	var out syncBuffer
	p = start(t, func(c *exec.Cmd) { as()(c); c.Stdout = &out }, "run", "--output", "json", "--poll-interval", "50ms")
	p.ready(t)
	if log := p.log.String(); !strings.Contains(log, `level=WARN msg="better source not usable" source=ebpf reason="`+missing) || !strings.Contains(log, "msg=collecting source=poll") {
		t.Errorf("log:\n%s", log)
	}
	if !until(func() bool { return strings.Contains(out.String(), fmt.Sprintf(`"pid":%d,`, os.Getpid())) }) {
		t.Errorf("this process is not seen:\n%s", tail([]byte(out.String())))
	}
	p.signal(t, syscall.SIGTERM)
	if code := p.end(t, 20*time.Second); code != 0 {
		t.Errorf("exit %d:\n%s", code, p.log)
	}

	// self-check says the same, and that it is a degradation.
	var check bytes.Buffer
	p = start(t, func(c *exec.Cmd) { as()(c); c.Stdout = &check }, "self-check", "--verbose")
	if code := p.end(t, 20*time.Second); code != 3 {
		t.Errorf("exit %d:\n%s", code, p.log)
	}
	for _, want := range []string{"✗ CAP_BPF", "✗ CAP_PERFMON", "✗ ebpf            " + missing, "✗ procconn        " + noAdmin, "✓ poll            would run"} {
		if !strings.Contains(check.String(), want) {
			t.Errorf("no %q in:\n%s", want, &check)
		}
	}
	check.Reset()
	p = start(t, func(c *exec.Cmd) { as()(c); c.Stdout = &check }, "self-check")
	if code := p.end(t, 20*time.Second); code != 3 || check.String() != "poll would run\nebpf would not: "+missing+"\nprocconn would not: "+noAdmin+"\n" {
		t.Errorf("exit %d:\n%s", code, &check)
	}
	// One capability makes the difference to polling.
	check.Reset()
	p = start(t, func(c *exec.Cmd) { as(unix.CAP_NET_ADMIN)(c); c.Stdout = &check }, "self-check")
	if code := p.end(t, 20*time.Second); code != 3 || check.String() != "procconn would run\nebpf would not: "+missing+"\n" {
		t.Errorf("exit %d:\n%s", code, &check)
	}
	p = start(t, func(c *exec.Cmd) { as()(c); c.Stdout = &check }, "self-check", "--source", "ebpf")
	if code := p.end(t, 20*time.Second); code != 1 || !strings.Contains(p.log.String(), "no source can be used: ebpf: "+missing) {
		t.Errorf("exit %d:\n%s", code, p.log)
	}
}

// The two capabilities that are named are all that it takes.
func TestTwoCapabilities(t *testing.T) {
	testenv.NeedBPF(t)
	var out syncBuffer
	p := start(t, func(c *exec.Cmd) { as(unix.CAP_BPF, unix.CAP_PERFMON)(c); c.Stdout = &out }, "run", "--source=ebpf", "--output", "json", "--flush-delay", "10ms")
	p.ready(t)
	mark(t, "two-capabilities")
	if !until(func() bool { return strings.Contains(out.String(), `"args":["/bin/true","two-capabilities"]`) }) {
		t.Errorf("the exec is not seen:\n%s\n%s", tail([]byte(out.String())), p.log)
	}
	p.signal(t, syscall.SIGTERM)
	if code := p.end(t, 20*time.Second); code != 0 {
		t.Errorf("exit %d:\n%s", code, p.log)
	}
}

func TestOneClient(t *testing.T) {
	testenv.NeedBPF(t)
	socket := filepath.Join(sharedDir(t), "p.sock")
	p := start(t, nil, "run", "--socket", socket, "--flush-delay", "10ms")
	p.ready(t)
	first, err := dial(t, socket)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := dial(t, socket); !errors.Is(err, wire.ErrBusy) {
			t.Errorf("second client: %v, want busy", err)
		}
	}
	mark(t, "first-client")
	find(t, first, "the exec", func(_ wire.Message, e *event.Event) bool { return isMark(e, "first-client") })
	if err := first.Ask(); err != nil {
		t.Fatal(err)
	}
	find(t, first, "the status", func(m wire.Message, _ *event.Event) bool {
		var s health.Collector
		if m.Type != wire.TypeStatus {
			return false
		}
		if err := json.Unmarshal(m.Status, &s); err != nil || s.PID != p.Process.Pid || s.Source != "ebpf" || s.Live == 0 || s.Events["exec"] == 0 || s.Syncs == 0 || len(s.Lost) != 0 {
			t.Errorf("status %s, %v", m.Status, err)
		}
		return true
	})

	// The place is free for the next one when the first is gone, and its list
	// has this process in it.
	first.Close()
	var second *wire.Client
	if !until(func() bool {
		second, err = dial(t, socket)
		return err == nil
	}) {
		t.Fatal(err)
	}
	if second.Welcome.Resumed {
		t.Error("a client that knows nothing resumes where another was")
	}
	find(t, second, "this process", func(m wire.Message, e *event.Event) bool {
		return m.Type == wire.TypeSync && e != nil && e.Process.PID == uint32(os.Getpid())
	})

	// A signal ends it, and the client sees the end of the stream.
	p.signal(t, syscall.SIGTERM)
	for {
		m, err := second.Next()
		if err != nil {
			break
		}
		if m.Type == wire.TypeBatch || m.Type == wire.TypeSyncEnd {
			_ = second.Ack(m.Seq)
		}
	}
	if code := p.end(t, 20*time.Second); code != 0 {
		t.Errorf("exit %d:\n%s", code, p.log)
	}
}

// stdioClient starts procmond as sentineld does and shakes hands with it.
func stdioClient(t *testing.T, args ...string) (p *process, c *wire.Client, hangUp func()) {
	t.Helper()
	var in io.WriteCloser
	var out io.ReadCloser
	p = start(t, func(cmd *exec.Cmd) {
		var err error
		if in, err = cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if out, err = cmd.StdoutPipe(); err != nil {
			t.Fatal(err)
		}
	}, append([]string{"run", "--stdio"}, args...)...)
	conn := pipes{out, in}
	c, err := wire.Dial(t.Context(), conn, wire.Hello{})
	if err != nil {
		t.Fatalf("%v\n%s", err, p.log)
	}
	return p, c, func() { conn.Close() }
}

type pipes struct {
	io.ReadCloser
	io.WriteCloser
}

func (p pipes) Read(b []byte) (int, error)  { return p.ReadCloser.Read(b) }
func (p pipes) Write(b []byte) (int, error) { return p.WriteCloser.Write(b) }
func (p pipes) Close() error                { return errors.Join(p.ReadCloser.Close(), p.WriteCloser.Close()) }

// A client that was killed takes its procmond with it, whether that is idle or
// has something to say.
func TestStdioClientKilled(t *testing.T) {
	testenv.NeedBPF(t)
	for _, busy := range []bool{false, true} {
		p, _, hangUp := stdioClient(t, "--flush-delay", "10ms")
		if busy {
			mark(t, "before-the-end")
		}
		hangUp() // as the kernel does for the killed
		p.end(t, time.Second)
	}
}

func TestStdioDrains(t *testing.T) {
	testenv.NeedBPF(t)
	p, c, _ := stdioClient(t, "--flush-delay", "1s")
	p.ready(t)
	for i := range 50 {
		mark(t, fmt.Sprint("stdio-drain-", i))
	}
	p.signal(t, syscall.SIGTERM)
	seen := map[string]bool{}
	for {
		m, err := c.Next()
		if err != nil {
			break
		}
		for i := range m.Events {
			if x := m.Events[i].Exec; x != nil && strings.Contains(x.Args, "stdio-drain-") {
				seen[x.Args] = true
			}
		}
		if m.Type == wire.TypeBatch || m.Type == wire.TypeSyncEnd {
			_ = c.Ack(m.Seq)
		}
	}
	if code := p.end(t, 20*time.Second); code != 0 || len(seen) != 50 {
		t.Errorf("exit %d with %d of 50 execs:\n%s", code, len(seen), p.log)
	}
}

// A client that takes nothing must not keep procmond from ending, though its
// queue is full and events wait behind it. Nor must a pipe that nobody reads.
func TestStuckOutput(t *testing.T) {
	testenv.NeedBPF(t)
	storm := func() {
		for range 100 {
			mark(t, strings.Repeat("x", 60_000))
		}
	}
	t.Run("client", func(t *testing.T) {
		t.Parallel()
		socket := filepath.Join(sharedDir(t), "p.sock")
		p := start(t, nil, "run", "--socket", socket, "--flush-delay", "10ms", "--queue-bytes", "262144")
		p.ready(t)
		if _, err := dial(t, socket); err != nil {
			t.Fatal(err)
		}
		storm()
		p.signal(t, syscall.SIGTERM)
		if code := p.end(t, drainTime+5*time.Second); code != 1 || !strings.Contains(p.log.String(), "drain") {
			t.Errorf("exit %d:\n%s", code, p.log)
		}
	})
	t.Run("pipe", func(t *testing.T) {
		t.Parallel()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		p := start(t, func(c *exec.Cmd) { c.Stdout = w }, "run", "--output", "json", "--flush-delay", "10ms")
		w.Close()
		p.ready(t)
		storm()
		p.signal(t, syscall.SIGTERM)
		again := time.After(500 * time.Millisecond) // a second signal at once would be the same request
		if !until(func() bool { return strings.Contains(p.log.String(), "msg=draining") }) {
			t.Fatalf("log:\n%s", p.log)
		}
		<-again
		p.signal(t, syscall.SIGTERM)
		if code := p.end(t, drainTime-time.Second); code != 1 {
			t.Errorf("exit %d:\n%s", code, p.log)
		}
	})
}
