//go:build linux && (amd64 || arm64)

package ebpf

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
)

// failedTries is how often the ways to see failed execs are gone through while some
// attach and see nothing. tracepoint_add_func() of 6.1 turns sys_exit on by a change of
// code that runs, and QEMU 7.2 with two arm64 CPUs goes on with the old code in one
// case of ten, and for good.
const failedTries = 3

// openFailed has failed execs recorded, or says that they are not.
func (s *ring) openFailed(l *loader) {
	filtered, _, err := rights()
	if s.noFailing = err != nil || filtered; s.noFailing {
		s.detail += ", failed execs not looked after"
		s.Log.Info("a seccomp filter may forbid execve: nothing would tell that failed execs are not seen", "error", err)
	}
	ways := s.failed
	if ways == nil {
		ways = failedWays
	}
	works := func() error {
		err := s.checkFailed(nil)
		if err != nil {
			s.Log.Info("a way to see failed execs is given up", "reason", err)
		}
		return err
	}
	for range failedTries {
		if err = s.attachOne(l, ways, works); !errors.Is(err, errFailedUnseen) {
			break
		}
	}
	if s.failures = err == nil; !s.failures {
		s.detail += ", failed execs not seen"
		s.Log.Warn("failed execs are not seen", "reason", err)
	}
}

// errFailedUnseen: nothing else would tell, since a host where no exec fails looks the
// same.
var errFailedUnseen = errors.New("what sees failed execs is attached, and does not see those of this process")

// checkFailed looks whether failed execs of this process are counted, by each of the two
// calls. It looks at nothing where a seccomp filter may make the call this process's
// last.
func (s *ring) checkFailed(ended <-chan struct{}) error {
	if s.noFailing {
		return nil
	}
	here := unix.AT_FDCWD
	// Without a path both fail with EFAULT.
	for _, call := range []func() unix.Errno{
		func() unix.Errno { _, _, e := unix.RawSyscall(unix.SYS_EXECVE, 0, 0, 0); return e },
		func() unix.Errno {
			_, _, e := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(here), 0, 0, 0, 0, 0)
			return e
		},
	} {
		if err := s.checkCall(call, ended); err != nil {
			return err
		}
	}
	return nil
}

func (s *ring) checkCall(call func() unix.Errno, ended <-chan struct{}) error {
	const tries = 100
	counter := s.collections[0].Variables["canary_failures"]
	var before, after uint64
	if err := counter.Get(&before); err != nil {
		return err
	}
	left := s.leftOut(event.KindExecFailed)
	for range tries {
		if call() == 0 {
			return errors.New("an exec without a path did not fail")
		}
		if err := counter.Get(&after); err != nil {
			return err
		}
		if after != before || s.leftOut(event.KindExecFailed) != left { // that is told: see skipping
			return nil
		}
		select {
		case <-s.stop:
			return nil
		case <-ended:
			return nil
		case <-time.After(time.Millisecond):
		}
	}
	if detached, err := s.checkLinks(); detached || err != nil {
		return err
	}
	return errFailedUnseen
}

// leftOut is how often the kernel has left out the programs that tell of a kind.
func (s *ring) leftOut(of event.Kind) (n uint64) {
	for i := range s.skips {
		if s.skips[i].kind != of {
			continue
		}
		if stats, err := s.skips[i].program.Stats(); err == nil {
			n += stats.RecursionMisses
		}
	}
	return n
}
