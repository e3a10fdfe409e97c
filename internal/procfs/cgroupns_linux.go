package procfs

import (
	"errors"
	"sync"

	"golang.org/x/sys/unix"
)

// CgroupInit is the inode of the host's cgroup namespace: PROC_CGROUP_INIT_INO of
// linux/proc_ns.h.
const CgroupInit = 0xeffffffb

// HostCgroups is why /proc does not tell the cgroups of processes to this program,
// nil if it does. In a cgroup namespace of one's own it shows paths that are
// relative to that of whoever made it (cgroup_namespaces(7)), "/" for the reader's
// own container. Without such namespaces (before Linux 4.6) there is nothing to be in.
var HostCgroups = sync.OnceValue(func() error {
	var st unix.Stat_t
	if err := stat("/proc/self/ns/cgroup", &st); err == unix.ENOENT || st.Ino == CgroupInit {
		return nil
	}
	return errors.New("cgroups and containers are not known from /proc: this is not the host's cgroup namespace " +
		"(run in it: --cgroupns=host; or with the host's pids and CAP_SYS_ADMIN and CAP_SYS_PTRACE, to enter it: --pid=host, hostPID: true)")
})
