//go:build linux && (amd64 || arm64)

package ebpf

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

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

// What looks after the programs is not in the record.
func TestCanariesLeaveNothingBehind(t *testing.T) {
	testenv.NeedRoot(t)
	r := start(t, Options{})
	for range 10 {
		if err := source.Canary(); err != nil {
			t.Error(err)
		}
	}
	r.stop()
	for _, e := range r.all {
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

// blindWay attaches on every kernel of these tests, and sees no failed exec.
var blindWay = []string{"fork_btf"}

// A way to see failed execs that attaches and sees none is passed over.
func TestBlindWayIsGivenUp(t *testing.T) {
	needFailing(t)
	r := start(t, Options{Options: source.Options{ExecFailures: true}, failed: [][]string{blindWay, {"failed_btf"}}})
	s := r.src.(*ring)
	if !s.failures || strings.Contains(s.Detail(), "not seen") {
		t.Errorf("failures are seen: %v, detail %q", s.failures, s.Detail())
	}
	cmd := exec.Command("/bin/true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := s.look(nil); err != nil {
		t.Errorf("taken for lost: %v", err)
	}
	r.stop()
	forks := 0
	for _, e := range r.of(cmd.Process.Pid) {
		if e.Kind == event.KindFork {
			forks++
		}
	}
	if forks != 1 {
		t.Errorf("%d forks of one process: what was given up goes on", forks)
	}
	for _, e := range r.of(os.Getpid()) {
		if e.Kind == event.KindExecFailed {
			t.Errorf("its own looks are in the record: %+v", e)
		}
	}
}

// Where no way sees failed execs, that is said, and the rest goes on.
func TestNoWayToSeeFailedExecs(t *testing.T) {
	needFailing(t)
	var log bytes.Buffer
	o := Options{Options: source.Options{ExecFailures: true, Log: slog.New(slog.NewTextHandler(&log, nil))}, failed: [][]string{blindWay}}
	s := start(t, o).src.(*ring)
	if want := ", failed execs not seen"; s.failures || !strings.Contains(s.Detail(), want) {
		t.Errorf("failures are seen: %v, detail %q, want %q in it", s.failures, s.Detail(), want)
	}
	if n := strings.Count(log.String(), "is given up"); n != failedTries {
		t.Errorf("it was tried %d times, want %d:\n%s", n, failedTries, log.String())
	}
	if err := s.look(nil); err != nil {
		t.Errorf("taken for lost: %v", err)
	}
}

// Each way sees failed execs of both calls; one that sees them no more is lost.
func TestFailedExecsMustBeSeen(t *testing.T) {
	needFailing(t)
	for _, way := range failedWays {
		var log bytes.Buffer
		o := Options{Options: source.Options{ExecFailures: true, Log: slog.New(slog.NewTextHandler(&log, nil))}, failed: [][]string{way}}
		s := start(t, o).src.(*ring)
		if fexit := len(way) == 2; !s.failures && fexit && !strings.Contains(log.String(), "is given up") {
			t.Logf("the kernel does not take it:\n%s", log.String())
			continue
		} else if !s.failures {
			t.Errorf("%s sees none:\n%s", way[0], log.String())
			continue
		}
		if err := s.links[len(s.links)-1].Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.checkFailed(nil); err == nil { // of the second call alone, with fexit
			t.Errorf("%s: nothing was noticed", way[0])
		}
	}
}

// needFailing skips a test where procmond makes no call that fails.
func needFailing(t *testing.T) {
	testenv.NeedBPF(t)
	if filtered, _, err := rights(); filtered || err != nil {
		testenv.Skip(t, "needs to be without a seccomp filter")
	}
}

// Under a filter that makes execve the last call of a process none is made, and that is
// said.
func TestNoFailedExecUnderAFilter(t *testing.T) {
	if os.Getenv("SENTINELD_TEST_FILTER") == "" {
		needFailing(t)
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestNoFailedExecUnderAFilter$")
		cmd.Env = append(os.Environ(), "SENTINELD_TEST_FILTER=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_EXECVE, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		t.Fatal(errno)
	}
	s := start(t, Options{Options: source.Options{ExecFailures: true}}).src.(*ring)
	if want := ", failed execs not looked after"; !strings.Contains(s.Detail(), want) {
		t.Errorf("detail %q, want %q in it", s.Detail(), want)
	}
	if err := s.look(nil); err != nil {
		t.Errorf("taken for lost: %v", err)
	}
}

// Programs that Close detaches are not taken for lost.
func TestCloseIsNoLoss(t *testing.T) {
	r := start(t, Options{Options: source.Options{ExecFailures: true}})
	s := r.src.(*ring)
	looked, enough := make(chan error), make(chan struct{})
	for range 2 {
		go func() {
			for {
				err := checkAll(s)
				select {
				case <-enough:
				default:
					if err == nil {
						continue
					}
				}
				looked <- err
				return
			}
		}()
	}
	if err := s.detach(); err != nil { // as Close begins
		t.Fatal(err)
	}
	for range 3 {
		if err := checkAll(s); err != nil {
			t.Errorf("while it closes: %v", err)
		}
	}
	close(enough)
	for range 2 { // what is closed is let go once nobody looks any more
		if err := <-looked; err != nil {
			t.Errorf("beside Close: %v", err)
		}
	}
	r.stop()
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

// checkAll is look where events are not enough.
func checkAll(s *ring) error {
	if err := s.check(nil); err != nil {
		return err
	}
	return s.checkFailed(nil)
}
