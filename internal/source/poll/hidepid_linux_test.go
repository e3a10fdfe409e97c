package poll

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/testenv"
)

// TestHidepid: a process that /proc hides from now on has not ended, and that some
// are hidden is said.
func TestHidepid(t *testing.T) {
	if root := os.Getenv("POLL_TEST_HIDEPID"); root != "" {
		scanHidden(t, root)
		return
	}
	root := t.TempDir()
	if err := unix.Mount("proc", root, "proc", 0, "hidepid=2"); err != nil {
		testenv.Skip(t, fmt.Sprintf("cannot mount /proc (needs CAP_SYS_ADMIN): %v", err))
	}
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestHidepid$", "-test.count=1")
	cmd.Env = append(os.Environ(), "POLL_TEST_HIDEPID="+root)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	for dir := filepath.Dir(root); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o755) // the way to the mount
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func scanHidden(t *testing.T, root string) {
	p := realPoller(t)
	p.table.(*procTable).fs.Root = root
	c := startFile(t, "/proc/self/exe")
	pid := c.Process.Pid
	if got := scan(t, p, pid); len(got) != 1 {
		t.Errorf("before: %+v", got)
	}
	c.do("hide")
	if _, err := p.table.(*procTable).fs.Stat(pid); err == nil {
		t.Fatal("it is not hidden")
	}
	for range 2 {
		if got := scan(t, p, pid); len(got) != 0 {
			t.Errorf("hidden: %s", show(got))
		}
	}
	const want = "polling: what lives shorter than 1s is not seen, nor is what /proc hides (hidepid)"
	if got := p.gap().Gap.Cause; got != want {
		t.Errorf("cause %q, want %q", got, want)
	}
	c.Process.Kill()
	c.Wait()
	if got := scan(t, p, pid); len(got) != 1 || got[0].Kind != event.KindExit {
		t.Errorf("ended: %s", show(got))
	}
}
