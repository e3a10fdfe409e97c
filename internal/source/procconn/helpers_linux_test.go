package procconn

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
	"github.com/sentineld/sentineld/internal/source"
	"github.com/sentineld/sentineld/internal/testenv"
)

const childVar = "PROCCONN_TEST_CHILD"

// Only while packages are initialised is the first thread sure to be this one.
func init() { //nolint:gochecknoinits // see above
	if os.Getenv(childVar) != "" {
		runtime.LockOSThread()
	}
}

// TestMain plays the observed program when the environment says which.
func TestMain(m *testing.M) {
	switch mode := os.Getenv(childVar); mode {
	case "":
		os.Exit(m.Run())
	case "open":
		src, err := Open(context.Background(), source.Options{})
		if err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		_ = src.Close()
		for range src.Events() {
		}
		os.Exit(0)
	default:
		threads(mode)
	}
}

// threads ends its first thread and then, when its input says so, the rest as
// mode says.
func threads(mode string) {
	go func() {
		runtime.LockOSThread()
		for s, err := (procfs.FS{}).Stat(os.Getpid()); err != nil || !s.Zombie(); s, err = (procfs.FS{}).Stat(os.Getpid()) {
			runtime.Gosched()
		}
		fmt.Println("leaderless")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		switch mode {
		case "exit 0":
			os.Exit(0)
		case "exit 7":
			os.Exit(7)
		case "kill":
			_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		case "exec":
			_ = unix.Exec("/bin/sh", []string{"sh", "-c", "exit 5"}, nil)
		}
		select {}
	}()
	_, _, _ = unix.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
}

func self(t *testing.T, mode string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childVar+"="+mode)
	return cmd
}

// recording is an open source whose events are gathered.
type recording struct {
	t    *testing.T
	src  *conn
	all  []event.Event
	boot event.BootID
}

func start(t *testing.T, o source.Options) *recording {
	t.Helper()
	testenv.NeedNetAdmin(t)
	boot, err := procfs.FS{}.BootID()
	if err != nil {
		t.Fatal(err)
	}
	o.Boot = boot
	if o.FlushDelay == 0 {
		o.FlushDelay = 10 * time.Millisecond
	}
	src, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = src.Close()
		for range src.Events() {
		}
	})
	return &recording{t: t, src: src.(*conn), boot: boot}
}

// until reads events until done says so of all that were read.
func (r *recording) until(what string, done func() bool) {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	for !done() {
		select {
		case batch, ok := <-r.src.Events():
			if !ok {
				r.t.Fatalf("%s: source ended: %v", what, r.src.Err())
			}
			r.all = append(r.all, batch...)
		case <-deadline:
			r.t.Fatalf("%s: waited in vain, %d events", what, len(r.all))
		}
	}
}

// untilExit reads until the exit of a pid. The kernel tells it after whoever
// waits for the process.
func (r *recording) untilExit(pid int) {
	r.t.Helper()
	r.until(fmt.Sprintf("exit of %d", pid), func() bool { return r.first(pid, event.KindExit) != nil })
}

// stop closes the source and reads it to its end.
func (r *recording) stop() {
	r.t.Helper()
	if err := r.src.Close(); err != nil {
		r.t.Fatal(err)
	}
	for batch := range r.src.Events() {
		r.all = append(r.all, batch...)
	}
	if err := r.src.Err(); err != nil {
		r.t.Fatal(err)
	}
}

// of lists the events of a pid, in order.
func (r *recording) of(pid int) (list []event.Event) {
	for _, e := range r.all {
		if e.Kind != event.KindGap && e.Process.PID == uint32(pid) {
			list = append(list, e)
		}
	}
	return list
}

func (r *recording) first(pid int, kind event.Kind) *event.Event {
	for i, e := range r.all {
		if e.Process.PID == uint32(pid) && e.Kind == kind {
			return &r.all[i]
		}
	}
	return nil
}

func kinds(events []event.Event) (list []event.Kind) {
	for _, e := range events {
		list = append(list, e.Kind)
	}
	return list
}

func (r *recording) noGaps() {
	r.t.Helper()
	for _, e := range r.all {
		if e.Kind == event.KindGap {
			r.t.Errorf("gap: %+v", *e.Gap)
		}
	}
}

var forkExecExit = []event.Kind{event.KindFork, event.KindExec, event.KindExit}

func key(t *testing.T, boot event.BootID, pid int) event.ProcessKey {
	t.Helper()
	st, err := procfs.FS{}.Stat(pid)
	if err != nil {
		t.Fatal(err)
	}
	return event.ProcessKey{Boot: boot, PID: uint32(pid), Start: st.Start}
}

// leaderless starts a process that has lost its first thread by now, and does what mode
// says once it can read from in.
func leaderless(t *testing.T, mode string) (cmd *exec.Cmd, in io.WriteCloser) {
	t.Helper()
	cmd = self(t, mode)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "leaderless\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	return cmd, in
}
