package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
)

// BootID is the id of this boot. There is none where the other half of a process key
// is not the kernel's: see HostClock.
func (f FS) BootID() (event.BootID, error) {
	if err := HostClock(); err != nil {
		return event.BootID{}, fmt.Errorf("identify processes: %w", err)
	}
	b, err := os.ReadFile(f.root() + "/sys/kernel/random/boot_id")
	if err != nil {
		return event.BootID{}, fmt.Errorf("read boot id: %w", err)
	}
	return event.ParseBootID(string(b))
}

// PIDs lists the processes that have not ended. It reads the stat of each.
func (f FS) PIDs() ([]int, error) {
	pids, err := f.list()
	if err != nil {
		return nil, err
	}
	alive := pids[:0]
	for _, pid := range pids {
		s, err := f.Stat(pid)
		if errors.Is(err, ErrGone) || err == nil && s.Ended() {
			continue
		}
		if err != nil && !errors.Is(err, os.ErrPermission) { // hidepid=1: listed, not shown
			return nil, err
		}
		alive = append(alive, pid)
	}
	return alive, nil
}

// list is PIDs with those that wait to be reaped.
func (f FS) list() ([]int, error) {
	pids, err := numbers(f.root())
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	return pids, nil
}

// numbers lists the entries of a directory that are pids.
func numbers(dir string) ([]int, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	pids := make([]int, 0, len(names))
	for _, n := range names {
		if pid, err := strconv.ParseUint(n, 10, 31); err == nil && pid > 0 {
			pids = append(pids, int(pid))
		}
	}
	return pids, nil
}

// Stat reads /proc/PID/stat: one small read, cheap enough to poll. Errors wrap ErrGone
// when there is no such process.
func (f FS) Stat(pid int) (Stat, error) { return f.statOf(pid, "stat") }

// Living is Stat with, of a process whose first thread has ended, one that lives: it
// looks at those of all threads until then.
func (f FS) Living(pid int) (Stat, error) {
	s, err := f.statOf(pid, "stat")
	if err != nil || !s.Zombie() || s.Ended() {
		return s, err
	}
	threads, err := numbers(f.path(pid, "task"))
	if err != nil {
		return s, nil // it ends
	}
	for _, tid := range threads {
		t, err := f.statOf(pid, "task/"+strconv.Itoa(tid)+"/stat")
		if err == nil && !t.Zombie() && t.Flags&flagExiting == 0 {
			s.Thread, s.Layout = tid, t.Layout
			break
		}
	}
	return s, nil
}

// ThreadsEnded reports whether each thread of a process is a zombie: Stat counts those
// that a tracer has not waited for yet (ptrace(2)). A thread that one of them made while
// they were looked at may be missed. Errors wrap ErrGone when the process is gone; with
// any error the answer is false.
func (f FS) ThreadsEnded(s Stat) (bool, error) {
	ended, err := f.everyThread(s.PID, Stat.Zombie)
	if err == nil && !ended {
		return false, nil
	}
	// The first one comes last: a thread that executes a program takes its id, and leaves
	// a zombie or nothing under its own (de_thread).
	first, gone := f.Stat(s.PID)
	if gone == nil && first.Start != s.Start {
		gone = fmt.Errorf("read stat of process %d: %w", s.PID, ErrGone)
	}
	if gone != nil {
		return false, gone
	}
	return ended && first.Zombie(), err
}

// everyThread reports whether something is so of each thread of a process. One that is
// gone when it is to be read is left out; with an error the answer is false.
func (f FS) everyThread(pid int, is func(Stat) bool) (bool, error) {
	threads, err := numbers(f.path(pid, "task"))
	if err != nil {
		return false, err
	}
	for _, tid := range threads {
		t, err := f.statOf(pid, "task/"+strconv.Itoa(tid)+"/stat")
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil || !is(t) {
			return false, err
		}
	}
	return true, nil
}

// statOf is Stat of the process or, by the name of the file, of one of its threads.
func (f FS) statOf(pid int, name string) (Stat, error) {
	var buf [1024]byte // the longest is below 600
	fd, err := open(f.path(pid, name))
	if err != nil {
		return Stat{}, gone(pid, name, err)
	}
	defer unix.Close(fd)
	n, err := read(fd, buf[:], 0)
	if err != nil {
		return Stat{}, gone(pid, name, err)
	}
	s, err := ParseStat(buf[:n])
	if err != nil {
		return Stat{}, fmt.Errorf("read %s of process %d: %w", name, pid, err)
	}
	if s.Session == sessionNone {
		return Stat{}, gone(pid, name, unix.ESRCH)
	}
	return s, nil
}

// Hidden reports whether a process lives that is not to be seen: /proc may be mounted
// with hidepid=1 or 2 (proc(5)), which systemd's ProtectProc= does, too.
func (f FS) Hidden(pid int) bool {
	_, err := f.Stat(pid)
	if errors.Is(err, os.ErrPermission) {
		return true
	}
	if !errors.Is(err, ErrGone) {
		return false
	}
	// kill(2) tells of hidden ones as well, but of those of its own pid namespace.
	if self, err := readlink(f.root() + "/self"); err != nil || self != strconv.Itoa(os.Getpid()) {
		return false
	}
	err = unix.Kill(pid, 0)
	return err == nil || err == unix.EPERM
}

// ExePath leads to the executable of a process, which is that of a thread that lives.
func (f FS) ExePath(s Stat) string { return f.path(s.PID, s.file("exe")) }

// ExeFile is the device and inode of the executable, as stat(2) gives them. It
// takes no path and allocates little. Errors wrap fs.ErrPermission or fs.ErrNotExist.
func (f FS) ExeFile(s Stat) (dev, inode uint64, err error) {
	path := f.ExePath(s)
	// What the file system remembers will do: its server may not answer.
	var sx unix.Statx_t
	err = unix.Statx(unix.AT_FDCWD, path, unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &sx)
	if err == unix.ENOSYS || err == unix.EPERM { // Linux before 4.11, or a sandbox that does not know it
		var st unix.Stat_t
		err = stat(path, &st)
		return uint64(st.Dev), st.Ino, pathError(path, err)
	}
	return unix.Mkdev(sx.Dev_major, sx.Dev_minor), sx.Ino, pathError(path, err)
}

func pathError(path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: "stat", Path: path, Err: err}
}

// argsMost bounds the arguments that are read: where they end is for the process to
// say (prctl(2), PR_SET_MM_MAP), and its memory may take hours to read. An exec
// gives at most 6 MiB (kernel: bprm_stack_limits).
const argsMost = 8 << 20

// AppendArgs appends the first argsMax bytes of the arguments, each followed
// by a NUL. A process that wrote its own title there may show it without a
// NUL; one is added. Kernel threads, and what has ended, have none. Of more than
// argsMost bytes the end is not looked for, and Args counts what is kept.
func (f FS) AppendArgs(dst []byte, s Stat, argsMax int) ([]byte, Args, error) {
	var a Args
	argsMax = max(argsMax, 0)
	fd, err := open(f.path(s.PID, s.file("cmdline")))
	if err != nil {
		return dst, a, gone(s.PID, "cmdline", err)
	}
	defer unix.Close(fd)
	start, last := len(dst), byte(0)
	var chunk [4096]byte
	for a.Len < argsMost {
		n, err := read(fd, chunk[:], int64(a.Len))
		if err != nil {
			return dst[:start], Args{}, gone(s.PID, "cmdline", err)
		}
		if n == 0 {
			break
		}
		for _, c := range chunk[:n] {
			if c == 0 {
				a.Count++
			}
		}
		last = chunk[n-1]
		a.Len += uint64(n)
		dst = append(dst, chunk[:min(n, argsMax-(len(dst)-start))]...)
	}
	if a.Len >= argsMost {
		kept := dst[start:]
		return dst, Args{Count: uint32(bytes.Count(kept, []byte{0})), Len: uint64(len(kept)), Truncated: true}, nil
	}
	if a.Len > 0 && last != 0 {
		a.Count++
		a.Len++
		if len(dst)-start < argsMax {
			dst = append(dst, 0)
		}
	}
	a.Truncated = uint64(len(dst)-start) < a.Len
	return dst, a, nil
}

func (f FS) path(pid int, name string) string {
	var buf [64]byte
	b := append(buf[:0], f.root()...)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(pid), 10)
	b = append(b, '/')
	return string(append(b, name...))
}

// gone turns the two ways in which /proc says "no such process" into ErrGone.
func gone(pid int, file string, err error) error {
	if err == unix.ENOENT || err == unix.ESRCH {
		return fmt.Errorf("read %s of process %d: %w", file, pid, ErrGone)
	}
	return fmt.Errorf("read %s of process %d: %w", file, pid, err)
}

// The system calls are direct: os.File would register each file with the
// runtime's poller and cost more than the read.

func open(path string) (fd int, err error) {
	for {
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func read(fd int, b []byte, off int64) (n int, err error) {
	for {
		n, err = unix.Pread(fd, b, off)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

func stat(path string, st *unix.Stat_t) error {
	for {
		if err := unix.Stat(path, st); err != unix.EINTR {
			return err
		}
	}
}
