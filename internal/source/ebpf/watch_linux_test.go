//go:build linux && (amd64 || arm64)

package ebpf

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
	"github.com/sentineld/sentineld/internal/testenv"
)

// A host at rest is not a lost source, however often it is looked after.
func TestProgramsAreAlive(t *testing.T) {
	s := start(t, Options{}).src.(*ring)
	for range 5 {
		if err := s.check(nil); err != nil {
			t.Fatal(err)
		}
	}
}

// Programs that do not run any more end the source, with what they saw before.
func TestSilentProgramsEndTheSource(t *testing.T) {
	for name, provoke := range map[string]func(*ring) error{
		"detached": func(s *ring) error { return s.links[len(s.links)-1].Close() },
		"silent":   func(s *ring) error { return s.collections[0].Variables["canary_tgid"].Set(int32(-1)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, Options{})
			s := r.src.(*ring)
			cmd := exec.Command("/bin/true")
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
			if err := provoke(s); err != nil {
				t.Fatal(err)
			}
			err := s.check(nil)
			if err == nil {
				t.Fatal("nothing was noticed")
			}
			s.lose(err)
			deadline := time.After(10 * time.Second)
			for open := true; open; {
				select {
				case batch, ok := <-s.Events():
					r.all, open = append(r.all, batch...), ok
				case <-deadline:
					t.Fatal("the source did not end")
				}
			}
			if !errors.Is(s.Err(), err) {
				t.Errorf("Err = %v, want %v", s.Err(), err)
			}
			if len(r.of(cmd.Process.Pid)) == 0 {
				t.Error("what was seen before is lost")
			}
			if waiting, size := s.Backlog(); waiting != 0 || size != s.RingBytes {
				t.Errorf("backlog %d of %d", waiting, size)
			}
		})
	}
}

// Without a pid to be had the Go runtime would end the process: no thread is made.
func TestNoCanaryWithoutAPID(t *testing.T) {
	if os.Getenv("SENTINELD_TEST_NO_PID") != "" { // the child, as a user
		if err := canaryCanLive(); err != nil {
			t.Error("before:", err)
		}
		if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 1, Max: 1}); err != nil {
			t.Fatal(err)
		}
		if err := canaryCanLive(); !errors.Is(err, errNoPID) {
			t.Error("with a limit of one:", err)
		}
		return
	}
	testenv.NeedRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestNoCanaryWithoutAPID$")
	cmd.Env = append(os.Environ(), "SENTINELD_TEST_NO_PID=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	r := start(t, Options{})
	for range 10 {
		if err := canaryCanLive(); err != nil {
			t.Error(err)
		}
	}
	r.stop()
	for _, e := range r.all { // it leaves nothing behind
		if e.Kind != event.KindGap && e.Parent.PID == uint32(os.Getpid()) {
			t.Errorf("%s of %v", e.Kind, e.Process)
		}
	}
}

// Events show that the programs work, up to their time.
func TestEventsAreEnough(t *testing.T) {
	r := start(t, Options{})
	s := r.src.(*ring)
	before := time.Now().UnixNano()
	if err := exec.Command("/bin/true").Run(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.After(10 * time.Second); s.seen() < before; {
		select {
		case batch := <-s.Events():
			r.all = append(r.all, batch...)
		case <-deadline:
			t.Fatal("the events do not count")
		}
	}
	if err := s.collections[0].Variables["canary_tgid"].Set(int32(-1)); err != nil { // no canary is seen
		t.Fatal(err)
	}
	after := time.Now().UnixNano()
	if err := s.look(nil); err != nil {
		t.Errorf("taken for lost: %v", err)
	}
	if good := s.LastGood(); good < before || good > after {
		t.Errorf("good until %d, want %d to %d", good, before, after)
	}
}

// A program for failed execs that is attached and sees none is passed over, and one that
// sees none any more ends the source.
func TestFailedExecsMustBeSeen(t *testing.T) {
	blind := []string{"fork_btf"}
	for _, way := range failedWays {
		r := start(t, Options{Options: source.Options{ExecFailures: true}, failed: [][]string{blind, way}})
		s := r.src.(*ring)
		if s.failures != !strings.Contains(s.Detail(), ", failed execs not seen") {
			t.Errorf("%s: failures are seen: %v, detail %q", way[0], s.failures, s.Detail())
		}
		if !s.failures {
			if len(way) == 1 { // any kernel of these tests takes a tracepoint's
				t.Errorf("%s: not seen", way[0])
			}
			continue
		}
		if err := s.look(nil); err != nil {
			t.Errorf("%s: taken for lost: %v", way[0], err)
		}
		if err := exec.Command("/bin/true").Run(); err != nil {
			t.Fatal(err)
		}
		before := time.Now().UnixNano()
		if err := s.collections[0].Variables["canary_tgid"].Set(int32(-1)); err != nil {
			t.Fatal(err)
		}
		if err := s.look(nil); !errors.Is(err, errFailedUnseen) {
			t.Errorf("%s: nothing was noticed: %v", way[0], err)
		}
		r.stop()
		forks := map[event.ProcessKey]int{}
		for _, e := range r.all {
			if e.Kind == event.KindExecFailed && e.Process.PID == uint32(os.Getpid()) && e.Time < before {
				t.Errorf("%s: its own looks are in the record: %+v", way[0], e)
			}
			if e.Kind == event.KindFork {
				forks[e.Process]++
			}
		}
		for process, n := range forks {
			if n > 1 {
				t.Errorf("%s: what was given up goes on: %v began %d times", way[0], process, n)
			}
		}
	}

	r := start(t, Options{Options: source.Options{ExecFailures: true}, failed: [][]string{blind}})
	s := r.src.(*ring)
	if want := ", failed execs not seen"; s.failures || !strings.Contains(s.Detail(), want) {
		t.Errorf("failures are seen: %v, detail %q, want %q in it", s.failures, s.Detail(), want)
	}
	if err := s.look(nil); err != nil {
		t.Errorf("what is not seen is taken for lost: %v", err)
	}
}

// Programs that Close detaches are not taken for lost.
func TestCloseIsNoLoss(t *testing.T) {
	r := start(t, Options{})
	s := r.src.(*ring)
	looked := make(chan error)
	for range 2 {
		go func() {
			for {
				err := s.check(nil)
				if err != nil || s.stopping() {
					looked <- err
					return
				}
			}
		}()
	}
	if err := s.detach(); err != nil { // as Close begins
		t.Fatal(err)
	}
	for range 3 {
		if err := s.check(nil); err != nil {
			t.Errorf("while it closes: %v", err)
		}
	}
	r.stop()
	for range 2 {
		if err := <-looked; err != nil {
			t.Errorf("beside Close: %v", err)
		}
	}
}

// A file with the kernel's types stands in for the kernel's own.
func TestBTFFile(t *testing.T) {
	own, err := os.ReadFile("/sys/kernel/btf/vmlinux")
	if err != nil {
		start(t, Options{}) // says what is missing
	}
	path := filepath.Join(t.TempDir(), "vmlinux")
	if err := os.WriteFile(path, own, 0o600); err != nil {
		t.Fatal(err)
	}
	e := recordExec(t, Options{Options: source.Options{BTF: path}}, exec.Command("/bin/true"))
	if !e.Known.Has(event.KnownExe | event.KnownFileTimes) {
		t.Errorf("known %v", e.Known.Names())
	}
	if err := os.WriteFile(path, []byte("no types"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Options: source.Options{BTF: path}}); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("of a file without types: %v", err)
	}
}
