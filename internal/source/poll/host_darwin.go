package poll

import (
	"context"
	"errors"
	"fmt"

	"github.com/shirou/gopsutil/v4/process"
	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
)

// kernelBootID: kern.boottime moves with the clock, kern.bootsessionuuid does not.
func kernelBootID() (event.BootID, error) {
	s, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return event.BootID{}, fmt.Errorf("read kern.bootsessionuuid: %w", errors.ErrUnsupported)
	}
	return event.ParseBootID(s)
}

// ended asks the kernel: gopsutil would start a ps for each process.
func ended(_ context.Context, pr *process.Process) bool {
	const zombie = 5 // SZOMB of sys/proc.h
	k, err := unix.SysctlKinfoProc("kern.proc.pid", int(pr.Pid))
	return err != nil || k.Proc.P_stat == zombie
}
