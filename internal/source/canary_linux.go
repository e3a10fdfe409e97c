package source

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// ErrNoPID is why no canary is made: it would be the death of this process, since the Go
// runtime gives up when it gets no thread.
var ErrNoPID = errors.New("the system has no room for another thread")

// Canary makes a thread of this process, which ends at once: a source that tells of
// neither sees nothing any more. The runtime makes a thread for each that ended, not at
// once, so that it may take several. The error wraps ErrNoPID where none is made.
func Canary() error {
	if err := canaryCanLive(); err != nil {
		return err
	}
	go runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	return nil
}

// canaryCanLive tries to have a pid without making a process: copy_process() in the
// kernel's kernel/fork.c takes one, looks at the limits of the user and the system
// (RLIMIT_NPROC, threads-max, pid_max) before, and then fails to write the pidfd. It
// takes a millisecond, at rest.
//
// BUG: pids.max of a cgroup is looked at later. Who sets it for procmond has to leave
// room: its threads count there.
func canaryCanLive() error {
	const nowhere = ^uintptr(7) // the kernel's, which nobody may write
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, unix.CLONE_PIDFD|uintptr(unix.SIGCHLD), 0, nowhere, 0, 0, 0)
	switch {
	case errno == unix.EAGAIN || errno == unix.ENOMEM:
		return fmt.Errorf("%w: %v", ErrNoPID, errno)
	case errno == 0 && pid == 0: // a child after all, with a memory of its own
		for {
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	case errno == 0:
		_, _ = unix.Wait4(int(pid), nil, 0, nil)
	}
	return nil
}
