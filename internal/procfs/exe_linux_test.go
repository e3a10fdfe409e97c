package procfs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func copySelf(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(self(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExecutableNames(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	plain := copySelf(t, filepath.Join(dir, "plain"))
	suffix := copySelf(t, filepath.Join(dir, "tool (deleted)"))
	linked := copySelf(t, filepath.Join(dir, "linked"))
	if err := os.Link(linked, linked+"2"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path    string
		removed bool
		nlink   uint32
	}{{plain, false, 1}, {suffix, false, 1}, {plain, true, 0}, {suffix, true, 0}, {linked, true, 1}} {
		pid := start(t, exec.Command(c.path), "wait")
		if c.removed {
			if err := os.Remove(c.path); err != nil {
				t.Fatal(err)
			}
		}
		x := process(t, pid)
		if x.Exe != c.path || x.Nlink != c.nlink || x.Deleted != c.removed || x.Inode == 0 {
			t.Errorf("%s, removed %v: exe %q, nlink %d, deleted %v", c.path, c.removed, x.Exe, x.Nlink, x.Deleted)
		}
	}
}

func TestDeletedDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self(t))
	cmd.Dir = dir
	pid := start(t, cmd, "wait")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if x := process(t, pid); x.Cwd != dir {
		t.Errorf("cwd %q, want %q", x.Cwd, dir)
	}
}

func TestFileless(t *testing.T) {
	fd, err := unix.MemfdCreate("a (deleted)/b", 0)
	if err != nil {
		t.Fatal(err)
	}
	mem := os.NewFile(uintptr(fd), "memfd")
	defer mem.Close()
	b, err := os.ReadFile(self(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mem.Write(b); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{mem}
	x := process(t, start(t, cmd, "wait"))
	if x.Exe != "memfd:a (deleted)/b" || !x.Fileless || !x.Deleted || x.Nlink != 0 {
		t.Errorf("memfd: %+v", x)
	}

	var sfs unix.Statfs_t
	if unix.Statfs("/dev/shm", &sfs) != nil || sfs.Type != unix.TMPFS_MAGIC {
		t.Skip("no tmpfs on /dev/shm")
	}
	path := copySelf(t, fmt.Sprintf("/dev/shm/procfs-test-%d", os.Getpid()))
	pid := start(t, exec.Command(path), "wait")
	if x := process(t, pid); x.Fileless {
		t.Error("a tmpfs file with a name is fileless")
	}
	os.Remove(path)
	if x := process(t, pid); x.Exe != path || !x.Fileless || !x.Deleted {
		t.Errorf("unlinked tmpfs file: %+v", x)
	}
}
