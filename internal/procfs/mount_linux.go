package procfs

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// unreachable reports whether what a link of a process leads to is on a mount that
// neither the process's mount namespace nor the own one shows: it was never attached,
// or unmounted since (umount -l), or is in a third namespace. Before Linux 5.8 nothing
// tells the mount, and of a process whose root is a directory (chroot) no list is
// whole: then it is not said to be.
func (f FS) unreachable(s Stat, link string) bool {
	id, ok := mountID(link)
	if !ok {
		return false
	}
	// Most programs are on the root of the host, which is our own but in a container,
	// and a list of mounts may be long.
	for _, root := range []string{f.path(1, "root"), f.root() + "/self/root"} {
		if at, ok := mountID(root); ok && at == id {
			return false
		}
	}
	theirs, err := f.readFile(nil, s.PID, s.file("mountinfo"))
	if err != nil || !misses(theirs, id) {
		return false // of one that has ended there are none
	}
	ours, err := f.readFile(nil, os.Getpid(), "mountinfo")
	return err == nil && misses(ours, id)
}

// misses reports whether a list of mounts (proc_pid_mountinfo(5)) is whole, with one at
// the root and below the bound of what is read, and does not have that one.
func misses(mountinfo []byte, id uint64) bool {
	if len(mountinfo) >= readMax {
		return false
	}
	want, rooted := strconv.AppendUint(nil, id, 10), false
	for line := range bytes.Lines(mountinfo) {
		f := bytes.Fields(line)
		if len(f) < 5 || bytes.Equal(f[0], want) {
			return false
		}
		rooted = rooted || string(f[4]) == "/"
	}
	return rooted
}

// mountID is the number that a mount has in mountinfo.
func mountID(path string) (uint64, bool) {
	var sx unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &sx)
	return sx.Mnt_id, err == nil && sx.Mask&unix.STATX_MNT_ID != 0
}
