package procfs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHidepid mounts a /proc that lists processes and does not show them, and
// reads it without privileges.
func TestHidepid(t *testing.T) {
	if root := os.Getenv("PROCFS_TEST_HIDEPID"); root != "" {
		f := FS{Root: root}
		pids, err := f.PIDs()
		if err != nil || len(pids) < 2 {
			t.Errorf("%d pids, %v", len(pids), err)
		}
		if _, err := f.Stat(1); !errors.Is(err, os.ErrPermission) {
			t.Errorf("stat of a hidden process: %v", err)
		}
		all, err := f.Snapshot(t.Context(), boot(t), 1<<10)
		if err != nil || len(all) == 0 || len(all) >= len(pids) {
			t.Errorf("%d processes of %d, %v", len(all), len(pids), err)
		}
		return
	}
	root := t.TempDir()
	if err := unix.Mount("proc", root, "proc", 0, "hidepid=1"); err != nil {
		t.Skipf("mount /proc: %v (needs CAP_SYS_ADMIN)", err)
	}
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestHidepid$", "-test.count=1")
	cmd.Env = append(os.Environ(), "PROCFS_TEST_HIDEPID="+root)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for dir := filepath.Dir(root); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o755) // the way to the mount
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
