package testenv

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// MM is struct prctl_mm_map of linux/prctl.h: what a process may say of its own
// memory, without privileges. It need not be so.
type MM struct {
	StartCode, EndCode, StartData, EndData, StartBrk, Brk, StartStack uint64
	ArgStart, ArgEnd, EnvStart, EnvEnd                                uint64
	Auxv                                                              uint64
	AuxvSize, ExeFD                                                   uint32
}

// NeedMM is for tests whose programs say where their memory is.
func NeedMM(t testing.TB) {
	t.Helper()
	m, err := OwnMM()
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Set(); err != nil {
		Skip(t, "needs a kernel with CONFIG_CHECKPOINT_RESTORE: "+err.Error())
	}
}

// OwnMM is what the kernel says of the calling process (proc_pid_stat(5)).
func OwnMM() (MM, error) {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return MM{}, err
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]) // from the third on
	m := MM{ExeFD: ^uint32(0)}
	for n, p := range map[int]*uint64{
		26: &m.StartCode, 27: &m.EndCode, 28: &m.StartStack, 45: &m.StartData, 46: &m.EndData, 47: &m.StartBrk,
		48: &m.ArgStart, 49: &m.ArgEnd, 50: &m.EnvStart, 51: &m.EnvEnd,
	} {
		if *p, err = strconv.ParseUint(string(fields[n-3]), 10, 64); err != nil {
			return MM{}, fmt.Errorf("field %d of stat: %w", n, err)
		}
	}
	brk, _, _ := unix.RawSyscall(unix.SYS_BRK, 0, 0, 0)
	m.Brk = uint64(brk)
	return m, nil
}

// Set says m of the calling process. It needs CONFIG_CHECKPOINT_RESTORE.
func (m MM) Set() error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_MM, unix.PR_SET_MM_MAP, uintptr(unsafe.Pointer(&m)), unsafe.Sizeof(m), 0, 0)
	if errno != 0 {
		return os.NewSyscallError("prctl(PR_SET_MM_MAP)", errno)
	}
	return nil
}
