package procconn

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
	"github.com/sentineld/sentineld/internal/testenv"
)

// TestCloseDrains: what happened before Close is delivered, without anybody
// having read until then.
func TestCloseDrains(t *testing.T) {
	r := start(t, source.Options{FlushDelay: time.Second})
	var pids []int
	for range 20 {
		cmd := exec.Command("/bin/true")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, cmd.Process.Pid)
	}
	r.stop()
	for i, pid := range pids {
		got := kinds(r.of(pid))
		if i == len(pids)-1 { // its exit is told a moment after it was waited for
			got = append(got, event.KindExit)[:3]
		}
		if !slices.Equal(got, forkExecExit) {
			t.Errorf("pid %d: kinds %v", pid, got)
		}
	}
	if err := r.src.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestLost(t *testing.T) {
	r := start(t, source.Options{})
	r.src.socket.file.Close()
	for batch := range r.src.Events() {
		r.all = append(r.all, batch...)
	}
	if !errors.Is(r.src.Err(), errLost) {
		t.Errorf("Err is %v", r.src.Err())
	}
	if err := r.src.Close(); err != nil {
		t.Error(err)
	}
}

// TestRefused: without the privilege, and outside the namespaces that the kernel
// tells of, Open fails at once and says what is missing.
func TestRefused(t *testing.T) {
	testenv.NeedNetAdmin(t)
	testenv.NeedRoot(t)
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	maps := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 65534, Size: 1}}
	for name, c := range map[string]struct {
		attr syscall.SysProcAttr
		want string // "" = it opens
	}{
		"root":                    {syscall.SysProcAttr{}, ""},
		"user":                    {syscall.SysProcAttr{Credential: nobody}, "needs CAP_NET_ADMIN"},
		"user with CAP_NET_ADMIN": {syscall.SysProcAttr{Credential: nobody, AmbientCaps: []uintptr{unix.CAP_NET_ADMIN}}, ""},
		"network namespace":       {syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}, "network namespace"},
		"pid namespace":           {syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}, "pid namespace"},
		"user namespace":          {syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: maps}, "needs CAP_NET_ADMIN in the initial user namespace"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := self(t, "open")
			cmd.SysProcAttr = &c.attr
			begin := time.Now()
			out, err := cmd.CombinedOutput()
			code := cmd.ProcessState.ExitCode()
			if c.want == "" && err != nil || c.want != "" && (code != 3 || !strings.Contains(string(out), c.want)) {
				t.Errorf("exit %d, %v: %s", code, err, out)
			}
			t.Logf("%v: %s", time.Since(begin), out)
		})
	}
}

func TestOpenAborted(t *testing.T) {
	testenv.NeedNetAdmin(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, source.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
}

func TestNoAnswer(t *testing.T) {
	testenv.NeedNetAdmin(t)
	sock, err := openSocket(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	s := &conn{socket: sock, stop: make(chan struct{})}
	defer sock.file.Close()
	begin := time.Now()
	if err := s.answer(t.Context(), 1); !errors.Is(err, errNoAnswer) || time.Since(begin) < answerTime {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
}
