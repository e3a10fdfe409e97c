package procfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
)

// TestHidepid mounts a /proc that lists processes and does not show them, and one
// that does neither, and reads it without privileges.
func TestHidepid(t *testing.T) {
	if root := os.Getenv("PROCFS_TEST_HIDEPID"); root != "" {
		readHidden(t, FS{Root: root}, os.Getenv("PROCFS_TEST_LISTED") == "true")
		return
	}
	for mode, listed := range map[string]bool{"hidepid=1": true, "hidepid=2": false} {
		t.Run(mode, func(t *testing.T) {
			root := t.TempDir()
			if err := unix.Mount("proc", root, "proc", 0, mode); err != nil {
				t.Skipf("mount /proc: %v (needs CAP_SYS_ADMIN)", err)
			}
			t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestHidepid$", "-test.count=1")
			cmd.Env = append(os.Environ(), "PROCFS_TEST_HIDEPID="+root, fmt.Sprint("PROCFS_TEST_LISTED=", listed))
			cmd.Dir = "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			for dir := filepath.Dir(root); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
				os.Chmod(dir, 0o755) // the way to the mount
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func readHidden(t *testing.T, f FS, listed bool) {
	pids, err := f.PIDs()
	if err != nil || listed && len(pids) < 2 || !listed && slices.Contains(pids, 1) {
		t.Errorf("%d pids, %v", len(pids), err)
	}
	if _, err := f.Stat(1); errors.Is(err, os.ErrPermission) != listed || errors.Is(err, ErrGone) == listed {
		t.Errorf("stat of a hidden process: %v", err)
	}
	all, err := f.Snapshot(t.Context(), boot(t), 1<<10)
	if err != nil || len(all) == 0 || listed && len(all) >= len(pids) {
		t.Errorf("%d processes of %d, %v", len(all), len(pids), err)
	}
	for pid, want := range map[int]bool{1: true, os.Getppid(): true, os.Getpid(): false, 1 << 30: false} {
		if got := f.Hidden(pid); got != want {
			t.Errorf("process %d is hidden: %v, want %v", pid, got, want)
		}
	}
	// A parent that is hidden is no reason to know less of its child.
	e, err := f.Process(boot(t), os.Getpid(), 1<<10)
	if err != nil || e.Known&(event.KnownArgs|event.KnownParent) != event.KnownArgs {
		t.Errorf("own process: known %v, %v", e.Known.Names(), err)
	}
}
