package scenario

import (
	"os/exec"
	"syscall"
)

// dieWithUs has the kernel end the program when the runner dies, however that comes
// about. The signal is sent when the thread dies that starts it: Go's live on, but
// for one that a goroutine has locked.
func dieWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
