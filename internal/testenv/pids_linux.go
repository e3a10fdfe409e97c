package testenv

import (
	"runtime"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// NoPID makes this process one that can make no process and no thread, and that dies
// when the Go runtime wants one: it becomes a user with a limit of one. It is for
// children of a test that runs as root, and ends them once t has passed.
func NoPID(t testing.TB) {
	t.Helper()
	// Threads at rest, which the runtime takes for its own ends before it makes others.
	var all, ended sync.WaitGroup
	const spare = 8
	all.Add(spare)
	for range spare {
		ended.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait()
		})
	}
	ended.Wait()
	if err := unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: 1, Max: 1}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setresuid(65534, 65534, 65534); err != nil { // of all threads
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			unix.Exit(0) // to end in order takes a thread, sometimes
		}
	})
}
