package poll

import (
	"context"

	"github.com/shirou/gopsutil/v4/process"
	"golang.org/x/sys/windows"
)

// ended: Windows lists a process as long as somebody has a handle to it, and
// goes on to tell when it started.
func ended(_ context.Context, pr *process.Process) bool {
	h, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pr.Pid))
	if err != nil {
		return false // not ours to open, or gone, which its start will tell
	}
	defer windows.CloseHandle(h)
	r, err := windows.WaitForSingleObject(h, 0)
	return err == nil && r == windows.WAIT_OBJECT_0
}
