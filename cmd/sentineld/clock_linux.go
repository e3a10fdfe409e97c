package main

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/procfs"
)

// hostClock is asked once: it does not change, and a failure later would be taken for
// a change of the clock.
var hostClock = sync.OnceValue(procfs.HostClock)

// bootTime is when the machine was booted, Unix ns: the wall clock less the
// boot clock, both as they are now; 0 where that is not the host's.
func bootTime() int64 {
	var boot, wall unix.Timespec
	if hostClock() != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil || unix.ClockGettime(unix.CLOCK_REALTIME, &wall) != nil {
		return 0
	}
	return wall.Nano() - boot.Nano()
}
