package collect

import (
	"crypto/sha256"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/testenv"
)

// writeMapped writes text over the end of a file through a shared mapping, having read
// all of it there before.
func writeMapped(t *testing.T, f *os.File, text string) {
	t.Helper()
	b, err := unix.Mmap(int(f.Fd()), 0, int(sizeOf(t, f)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	_ = sha256.Sum256(b)
	copy(b[len(b)-len(text):], text)
	if err := unix.Munmap(b); err != nil {
		t.Fatal(err)
	}
}

func sizeOf(t *testing.T, f *os.File) int64 {
	t.Helper()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// What is written through a mapping changes no times on some file systems: a hash is of
// what is there, not of what was there at an earlier exec.
func TestHashOfWhatIsWrittenThroughAMapping(t *testing.T) {
	testenv.NeedRoot(t)
	tmpfs := func(t *testing.T) string {
		dir := t.TempDir()
		mount(t, "tmpfs", dir, "tmpfs", 0, "")
		return dir
	}
	for name, dir := range map[string]func(*testing.T) string{
		"disk": func(t *testing.T) string { return t.TempDir() },
		"ramfs": func(t *testing.T) string {
			dir := t.TempDir()
			mount(t, "ramfs", dir, "ramfs", 0, "")
			return dir
		},
		"tmpfs": tmpfs,
		"overlay on tmpfs": func(t *testing.T) string {
			dir, at := tmpfs(t), t.TempDir()
			for _, d := range []string{"low", "up", "work"} {
				if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			mount(t, "overlay", at, "overlay", 0, fmt.Sprintf("lowerdir=%[1]s/low,upperdir=%[1]s/up,workdir=%[1]s/work", dir))
			return at
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := program(t, filepath.Join(dir(t), "x"), "benign")
			l := newHashLab(t, HashOptions{})
			for _, text := range []string{"benign", "malice", "benign"} {
				f, err := os.OpenFile(path, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				writeMapped(t, f, text)
				f.Close()
				want := sumOf(t, path)
				for _, runs := range []bool{true, false} {
					<-time.After(tick) // of what was written just before its exec, the process alone can tell
					e, stop := launch(t, osexec.Command(path))
					if !runs {
						stop()
					}
					x, late := l.exec(e)
					got := x.Exec.SHA256
					if late != nil {
						got = late.SHA256
					}
					if got != want {
						t.Errorf("%s, running %v: %x, want %x", text, runs, got, want)
					}
					stop()
				}
			}
		})
	}
}

// A memfd may be mapped for writing while it is executed, and written between two execs.
func TestHashOfAMemfdThatStaysMapped(t *testing.T) {
	fd, err := unix.MemfdCreate("x", 0)
	if err != nil {
		t.Fatal(err)
	}
	mem := os.NewFile(uintptr(fd), "memfd")
	defer mem.Close()
	content := append(mustRead(t, mustLook(t, "sleep")), "benign"...)
	if _, err := mem.Write(content); err != nil {
		t.Fatal(err)
	}
	mapped, err := unix.Mmap(fd, 0, len(content), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(mapped) }()
	l := newHashLab(t, HashOptions{})
	for _, text := range []string{"benign", "malice"} {
		copy(mapped[len(mapped)-len(text):], text)
		e, _ := launch(t, osexec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)))
		want := sha256.Sum256(mapped)
		if _, late := l.exec(e); late == nil || late.SHA256 != string(want[:]) {
			t.Errorf("%s: %+v, want %x", text, late, want)
		}
	}
}

func TestHugePagesLeaveNoTrace(t *testing.T) {
	fd, err := unix.MemfdCreate("x", unix.MFD_HUGETLB)
	if err != nil {
		t.Skipf("SKIPPED: the kernel has no hugetlbfs: %v", err)
	}
	defer unix.Close(fd)
	if !untraced(fd) {
		t.Error("a change is said to leave a trace")
	}
}

// However many execs wait of a file whose changes leave no trace, one reading is for all
// of those that were executed before it, and for none after.
func TestReadingIsForThoseBefore(t *testing.T) {
	testenv.NeedRoot(t)
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "")
	path := program(t, filepath.Join(dir, "a"), "benign")
	<-time.After(tick)
	first, stop := launch(t, osexec.Command(path))
	stop()
	h := newHasher(HashOptions{Rate: 1 << 40, Queue: 5})
	r := newHashReader(h)
	// execs hands in n of them, and returns how many wait and how many found no room.
	execs := func(n int) (waiting int, full uint64) {
		before := h.stats()
		for range n {
			x := *first.Exec
			e := first
			e.Exec = &x
			h.add([]event.Event{e})
			if x.SHA256 != "" {
				t.Error("hashed without a look at the file")
			}
		}
		now := h.stats()
		return now.Waiting, now.Skipped[HashQueueFull] - before.Skipped[HashQueueFull]
	}
	all := func(files uint64) {
		t.Helper()
		before, want := h.stats().Files, sumOf(t, path)
		for len(h.execs) > 0 {
			if got := h.hash(t.Context(), r, <-h.execs); got.sum != want {
				t.Errorf("%+v, want %x", got, want)
			}
		}
		if n := h.stats().Files - before; n != files {
			t.Errorf("%d times read, want %d", n, files)
		}
	}
	if n, full := execs(5); n != 5 || full != 0 {
		t.Errorf("%d wait, %d found no room", n, full)
	}
	all(1)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	writeMapped(t, f, "malice")
	if n, full := execs(5); n != 3 || full != 2 {
		t.Errorf("%d wait, %d found no room: want half of it left to other files", n, full)
	}
	all(1)
}
