package procconn

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
	"github.com/sentineld/sentineld/internal/testenv"
)

// needPerSocket: before Linux 6.6 a PROC_CN_MCAST_IGNORE too many can silence
// whoever else listens on the machine.
func needPerSocket(t *testing.T) {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	release := unix.ByteSliceToString(u.Release[:])
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		t.Fatalf("release %q: %v", release, err)
	}
	if major < 6 || major == 6 && minor < 6 {
		t.Skip("SKIPPED: needs Linux 6.6, where a subscription ends without harm to those of others")
	}
}

// A host at rest is not a lost source, nor is one whose messages nobody reads.
func TestConnectorIsAlive(t *testing.T) {
	for name, delay := range map[string]time.Duration{"read at once": 0, "read in an hour": time.Hour} {
		t.Run(name, func(t *testing.T) {
			before := time.Now().UnixNano()
			r := start(t, source.Options{FlushDelay: delay})
			if good := r.src.LastGood(); good < before {
				t.Errorf("opened, and last seen to work %v before", time.Duration(before-good))
			}
			for range 3 * eagerReads {
				if err := r.src.check(nil); err != nil {
					t.Fatal("our own threads:", err)
				}
			}
			now := time.Now().UnixNano()
			if good := r.src.LastGood(); good > now {
				t.Errorf("last seen to work %v from now", time.Duration(good-now))
			}
			if delay == 0 {
				_ = r.src.check(nil)
				_ = exec.Command("/bin/true").Run()
				r.until("message", func() bool { return r.src.LastGood() > now })
			}
		})
	}
}

// A connector that falls silent ends the source, with what it told before.
func TestSilentConnectorEndsTheSource(t *testing.T) {
	needPerSocket(t)
	r := start(t, source.Options{})
	cmd := exec.Command("/bin/true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	r.untilExit(cmd.Process.Pid)
	if err := r.src.socket.send(request(mcastIgnore, 0)); err != nil {
		t.Fatal(err)
	}
	silent := time.Now().UnixNano()
	tick := make(chan time.Time)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.src.watch(tick, nil)
	}()
	deadline := time.After(20 * time.Second)
	for open, looks := true, 0; open; {
		select {
		case tick <- time.Now():
			looks++
		case batch, ok := <-r.src.Events():
			r.all, open = append(r.all, batch...), ok
		case <-deadline:
			t.Fatalf("the source did not end, after %d looks", looks)
		}
	}
	<-watched
	if !errors.Is(r.src.Err(), errSilent) {
		t.Errorf("Err = %v, want %v", r.src.Err(), errSilent)
	}
	if good := r.src.LastGood(); good > silent {
		t.Errorf("it seemed to work %v after it fell silent", time.Duration(good-silent))
	}
	if r.first(cmd.Process.Pid, event.KindExit) == nil {
		t.Error("what was told before is lost")
	}
}

// Close ends a look in the middle of it.
func TestCloseEndsTheWatch(t *testing.T) {
	r := start(t, source.Options{})
	tick := make(chan time.Time, 1)
	tick <- time.Now()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		r.src.watch(tick, nil)
	}()
	r.stop()
	<-watched
}

// Without a pid to be had no thread is made, which would end this process, and the
// source is not taken for lost.
func TestNoCanaryWithoutAPID(t *testing.T) {
	if os.Getenv("SENTINELD_TEST_NO_PID") == "" {
		testenv.NeedNetAdmin(t)
		testenv.NeedRoot(t)
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestNoCanaryWithoutAPID$")
		cmd.Env = append(os.Environ(), "SENTINELD_TEST_NO_PID=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	log := make(lines, 100)
	r := start(t, source.Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	testenv.NoPID(t)
	tick, ended, watched := make(chan time.Time), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		r.src.watch(tick, ended)
	}()
	deadline := time.After(20 * time.Second)
	for line := ""; !strings.Contains(line, source.ErrNoPID.Error()); {
		select {
		case tick <- time.Now():
		case line = <-log:
		case <-r.src.Events():
		case <-deadline:
			t.Fatal("nothing is said of it")
		}
	}
	close(ended)
	<-watched
	if r.src.stopping() {
		t.Errorf("the source is lost: %v", *r.src.lostBy.Load())
	}
}

// lines are what is logged; there is room for all of them.
type lines chan string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}
