package main

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/procfs"
)

// hostCgroups are those of kthreadd, which is in no namespace but the initial ones;
// another process is called 2 where the pids are not the host's.
const hostCgroups = "/proc/2/ns/cgroup"

// enterHostCgroups starts this program again, as the same process with what it was
// given, in the host's cgroup namespace if it is in another one: containers have
// their own by default. It returns where there is nothing to do, or where that is
// not allowed; procfs.HostCgroups tells which.
//
// A namespace is a thread's, and an exec makes it that of the whole process. It is
// by the program's path, since ps(1) is to show its name and not "exe".
func enterHostCgroups() {
	if procfs.HostCgroups() == nil {
		return
	}
	path, err := os.Executable()
	if err != nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if enter(hostCgroups, procfs.CgroupInit) {
			_ = syscall.Exec(path, os.Args, os.Environ()) // then it goes on without
		}
	}()
	<-done
}

// enter moves this thread to a cgroup namespace, if it has that inode.
func enter(path string, inode uint64) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Ino == inode && unix.Setns(fd, unix.CLONE_NEWCGROUP) == nil
}
