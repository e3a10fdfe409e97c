//go:build unix

package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// sender sends signals to this process and waits until they have arrived, so
// that two of them never become one.
type sender struct {
	t    *testing.T
	seen chan os.Signal
}

func newSender(t *testing.T) *sender {
	s := &sender{t, make(chan os.Signal, 8)}
	signal.Notify(s.seen, os.Interrupt, syscall.SIGTERM)
	t.Cleanup(func() { signal.Stop(s.seen) })
	return s
}

func (s *sender) send(sig syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(os.Getpid(), sig); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.seen:
	case <-time.After(10 * time.Second):
		s.t.Fatal("the signal does not arrive")
	}
}

func ended(t *testing.T, name string, ctx context.Context) {
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatalf("%s does not end", name)
	}
}

func TestSignals(t *testing.T) {
	s := newSender(t)
	for _, first := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		drain, abort, stop := Signals(t.Context())
		if drain.Err() != nil || abort.Err() != nil {
			t.Fatal("ended without a signal")
		}
		s.send(first)
		ended(t, "drain", drain)
		later := time.After(sameSignal + 50*time.Millisecond)
		s.send(syscall.SIGTERM) // timeout(1) signals the process and then its group
		s.send(syscall.SIGINT)
		<-later
		if abort.Err() != nil {
			t.Error("the same request, told twice, aborts")
		}
		s.send(syscall.SIGINT)
		ended(t, "abort", abort)
		stop()
	}
}

func TestSignalsParent(t *testing.T) {
	s := newSender(t)
	parent, cancel := context.WithCancel(t.Context())
	drain, abort, stop := Signals(parent)
	cancel()
	ended(t, "drain", drain)
	if abort.Err() != nil {
		t.Error("the end of the parent aborts: nothing would be drained")
	}
	stop()
	ended(t, "abort", abort)

	// Behind stop the signals are somebody else's.
	drain, abort, stop = Signals(t.Context())
	stop()
	ended(t, "drain", drain)
	ended(t, "abort", abort)
	s.send(syscall.SIGTERM)

	// Between the two signals too.
	drain, abort, stop = Signals(t.Context())
	s.send(syscall.SIGTERM)
	ended(t, "drain", drain)
	stop()
	ended(t, "abort", abort)
}
