package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/testenv"
)

// programs is where both programs are built, once for all tests.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sentineld-test-")
	if err != nil {
		return "", err
	}
	built = dir
	// procmond is looked for beside sentineld, as they are installed.
	out, err := exec.Command("go", "build", "-o", dir, "../procmond", ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return dir, nil
})

// lab is a data directory and the agent that runs on it.
type lab struct {
	*testing.T
	bin, dir string
	cmd      *exec.Cmd
	out      *syncBuffer // stdout and stderr
}

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

func newLab(t *testing.T) *lab {
	t.Helper()
	testenv.NeedBPF(t)
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return &lab{T: t, bin: bin, dir: filepath.Join(t.TempDir(), "data")}
}

// run starts the agent and waits until it collects.
func (l *lab) run(args ...string) {
	l.Helper()
	l.start(args...)
	l.wait("the agent to collect", func() bool {
		_, n := l.query("SELECT 1 FROM processes LIMIT 1")
		return n == 1
	})
}

func (l *lab) start(args ...string) {
	l.Helper()
	args = append([]string{"run", "--data-dir", l.dir}, args...)
	if !slices.Contains(args, "--socket") {
		args = append(args, "--socket", filepath.Join(filepath.Dir(l.dir), "none.sock"))
	}
	l.out = &syncBuffer{}
	l.cmd = exec.Command(filepath.Join(l.bin, "sentineld"), args...)
	l.cmd.Stdout, l.cmd.Stderr = l.out, l.out
	if err := l.cmd.Start(); err != nil {
		l.Fatal(err)
	}
	cmd := l.cmd
	l.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
}

// stop ends the agent in order.
func (l *lab) stop() {
	l.Helper()
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		l.Fatal(err)
	}
	if err := l.cmd.Wait(); err != nil {
		l.Fatalf("agent: %v\n%s", err, l.out)
	}
}

// kill ends the agent with SIGKILL.
func (l *lab) kill() {
	l.Helper()
	if err := l.cmd.Process.Kill(); err != nil {
		l.Fatal(err)
	}
	_ = l.cmd.Wait()
}

// wait asks until ok, which is what a user at a prompt would do. Who asks is a
// process too and recorded: the pauses grow, so that the record can come to rest.
func (l *lab) wait(what string, ok func() bool) {
	l.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for pause := 20 * time.Millisecond; !ok(); pause = min(2*pause, 2*time.Second) {
		if time.Now().After(deadline) {
			l.Fatalf("waited 15 s for %s\n%s", what, l.out)
		}
		<-time.After(pause)
	}
}

// query runs `sentineld query` and returns its rows; none when it fails, as
// before there is a store.
func (l *lab) query(sql string) (rows []map[string]any, n int) {
	l.Helper()
	cmd := exec.Command(filepath.Join(l.bin, "sentineld"), "query", "--data-dir", l.dir, "-o", "json", sql)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); err != nil && code != 3 {
		if code == 2 {
			l.Fatalf("query: %s", stderr.String())
		}
		return nil, 0
	}
	for line := range strings.Lines(string(out)) {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			l.Fatalf("query printed %q: %v", line, err)
		}
		rows = append(rows, row)
	}
	return rows, len(rows)
}

// number is the one number that a query gives.
func (l *lab) number(sql string) int {
	l.Helper()
	rows, n := l.query(sql)
	if n != 1 || len(rows[0]) != 1 {
		l.Fatalf("%s: %d rows", sql, n)
	}
	for _, v := range rows[0] {
		f, ok := v.(float64)
		if !ok {
			l.Fatalf("%s: %v", sql, v)
		}
		return int(f)
	}
	panic("not reached")
}

func (l *lab) want(sql string, want int) {
	l.Helper()
	if got := l.number(sql); got != want {
		l.Errorf("%s: %d, want %d", sql, got, want)
	}
}

// procmond is the pid of the agent's procmond.
func (l *lab) procmond() int {
	l.Helper()
	var pid int
	l.wait("procmond", func() bool {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", l.cmd.Process.Pid))
		for _, f := range lists {
			data, _ := os.ReadFile(f)
			for _, s := range strings.Fields(string(data)) {
				if comm, _ := os.ReadFile("/proc/" + s + "/comm"); string(comm) == "procmond\n" {
					pid, _ = strconv.Atoi(s)
				}
			}
		}
		return pid != 0
	})
	return pid
}

// mark executes a program whose arguments no other has.
func (l *lab) mark(marker string) {
	l.Helper()
	if err := exec.Command("/bin/true", marker).Run(); err != nil {
		l.Fatal(err)
	}
}

func (l *lab) waitMark(marker string) {
	l.Helper()
	l.wait(marker+" to be stored", func() bool {
		_, n := l.query("SELECT 1 FROM execs WHERE cmdline = '/bin/true " + marker + "'")
		return n == 1
	})
}

// status asks the agent; no state before there is a store to tell of.
func (l *lab) status() (a health.Agent, code int) {
	l.Helper()
	out, err := exec.Command(filepath.Join(l.bin, "sentineld"), "status", "--data-dir", l.dir, "-o", "json").Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		l.Fatal(err)
	}
	if len(out) == 0 {
		return a, code
	}
	if err := json.Unmarshal(out, &a); err != nil {
		l.Fatalf("status: %v: %s", err, out)
	}
	return a, code
}

// separate starts a procmond that serves on a socket.
func (l *lab) separate(socket string) *exec.Cmd {
	l.Helper()
	var log syncBuffer
	cmd := exec.Command(filepath.Join(l.bin, "procmond"), "run", "--socket", socket)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	l.wait("procmond to collect", func() bool { return strings.Contains(log.String(), "collecting") })
	return cmd
}
