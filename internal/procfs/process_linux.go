package procfs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
)

// tries is how often a process is read again that execs while it is read.
const tries = 4

// Process reads a running process as an exec event. Errors wrap ErrGone when
// it ended or its pid was reused meanwhile. A zombie is returned with what is
// left of it; use Look to tell.
func (f FS) Process(boot event.BootID, pid, argsMax int) (event.Event, error) {
	s, err := f.Look(boot, pid, argsMax)
	return s.Event, err
}

// Look is Process with when and what else was seen.
func (f FS) Look(boot event.BootID, pid, argsMax int) (Seen, error) {
	for try := 1; ; try++ {
		s, torn, err := f.look(boot, pid, argsMax)
		switch {
		case err != nil:
			return Seen{}, err
		case !torn:
			return s, nil
		case try == tries:
			// The arguments may be another program's.
			s.Event.Known &^= event.KnownArgs | event.KnownEnv
			s.Event.Exec.Env = ""
			s.Event.Exec.Args, s.Event.Exec.Argc, s.Event.Exec.ArgsLen, s.Event.Exec.Truncated = "", 0, 0, false
			if s.Torn {
				s.Event.Exec.Layout = 0
				f.forgetChanged(s.Stat, &s.Event)
			}
			return s, nil
		}
	}
}

// forgetChanged keeps of a process that seems to exec all the time what is the same
// once more: who only looks like that hides nothing but his arguments.
func (f FS) forgetChanged(s Stat, e *event.Event) {
	again := event.Event{Exec: &event.Exec{}}
	f.readExe(s, &again)
	f.readCredentials(s.PID, &again)
	x, y := e.Exec, again.Exec
	const file = event.KnownExe | event.KnownFile | event.KnownNlink | event.KnownFileTimes | event.KnownFileless
	if (e.Known^again.Known)&file != 0 || x.Exe != y.Exe || x.Dev != y.Dev || x.Inode != y.Inode {
		e.Known &^= file
		x.Exe, x.Dev, x.Inode, x.Nlink, x.Size, x.MTime, x.CTime, x.Deleted, x.Fileless = "", 0, 0, 0, 0, 0, 0, false, false
	}
	const ids = event.KnownUID | event.KnownEUID
	if (e.Known^again.Known)&ids != 0 || x.UID != y.UID || x.GID != y.GID || x.EUID != y.EUID || x.EGID != y.EGID {
		e.Known &^= ids
		x.UID, x.GID, x.EUID, x.EGID = 0, 0, 0, 0
	}
}

// Snapshot reads all processes, those that started first in front. Zombies
// that have ended are left out, and so is what ends meanwhile, and what a /proc
// mounted with hidepid=1 lists and does not show: without a start it has no key.
// Processes that are on their way out are waited for, but not for long.
func (f FS) Snapshot(ctx context.Context, boot event.BootID, argsMax int) ([]Seen, error) {
	pids, err := f.list()
	if err != nil {
		return nil, err
	}
	all := make([]Seen, 0, len(pids))
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s, err := f.Look(boot, pid, argsMax)
		if errors.Is(err, ErrGone) || errors.Is(err, os.ErrPermission) || err == nil && s.Stat.Ended() {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if all, err = f.awaitExits(ctx, all); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b Seen) int {
		return cmp.Or(cmp.Compare(a.Stat.Start, b.Stat.Start), cmp.Compare(a.Stat.PID, b.Stat.PID))
	})
	return all, nil
}

// exitTime is how long Snapshot waits for all processes that are on their way out.
const exitTime = 100 * time.Millisecond

// awaitExits leaves out the processes that were on their way out and are gone
// within exitTime, and marks the others. It takes the kernel a second to free many
// GB of memory, and the end is told before that (sched_process_exit in do_exit,
// since Linux 6.16; before files are closed in all).
func (f FS) awaitExits(ctx context.Context, all []Seen) ([]Seen, error) {
	for deadline := time.Now().Add(exitTime); ; {
		waits := false
		left := all[:0]
		for _, s := range all {
			if s.Stat.Flags&flagExiting != 0 {
				now, err := f.Stat(s.Stat.PID)
				if errors.Is(err, ErrGone) || err == nil && (now.Ended() || now.Start != s.Stat.Start) {
					continue
				}
				s.Exiting = err == nil && f.exiting(now)
				waits = waits || s.Exiting
			}
			left = append(left, s)
		}
		all = left
		if !waits || time.Now().After(deadline) {
			return all, nil
		}
		select {
		case <-time.After(exitTime / 20):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// exiting reports whether every thread of a process is on its way out.
func (f FS) exiting(s Stat) bool {
	if s.Flags&flagExiting == 0 || s.Threads <= 1 {
		return s.Flags&flagExiting != 0
	}
	all, _ := f.everyThread(s.PID, func(t Stat) bool { return t.Flags&flagExiting != 0 }) // unread: not known
	return all
}

// look reads once. torn tells that the process exec'd, got another parent or lost
// the thread that was read meanwhile, so that the parts may not belong together.
func (f FS) look(boot event.BootID, pid, argsMax int) (s Seen, torn bool, err error) {
	s.ReadAt, err = bootClock()
	if err != nil {
		return s, false, err
	}
	now := time.Now().UnixNano()
	first, err := f.Living(pid)
	if err != nil {
		return s, false, err
	}
	x := &event.Exec{}
	s.Event = event.Event{
		Kind: event.KindExec, Source: event.SourceSnapshot, Time: now, Process: first.key(boot), Exec: x,
	}
	e := &s.Event
	if first.PPID != 0 {
		switch parent, err := f.Stat(first.PPID); {
		case err == nil && parent.Start <= first.Start:
			e.Parent = parent.key(boot)
			e.Known |= event.KnownParent
		case err != nil && f.Hidden(first.PPID): // it has no key
		default:
			torn = true // it ended, or its pid was reused: the process has another one now
		}
	}
	f.readExe(first, e)
	buf := f.readCredentials(pid, e)
	onV1 := f.readPlace(first, e, buf)
	if len(f.Env) > 0 && !first.Kthread() {
		f.readEnv(first, e)
	}
	var a Args
	if !first.Kthread() {
		// None at all are not known: while it execs a process has its new
		// executable and no arguments yet, and there are no programs without
		// since Linux 5.18.
		if args, got, err := f.AppendArgs(buf[:0], first, argsMax); err == nil && got.Len > 0 {
			x.Args, a = string(args), got
			e.Known |= event.KnownArgs
		}
	}

	s.Stat, err = f.Living(pid)
	if err != nil {
		return s, false, err
	}
	last := &s.Stat
	if last.Start != first.Start {
		return s, false, gone(pid, "stat", unix.ESRCH)
	}
	x.Argc, x.ArgsLen, x.Truncated = a.Count, a.Len, a.Truncated
	x.Comm, x.SID, x.TTY, x.Layout = last.Comm, uint32(last.Session), last.TTY, last.LayoutNumber()
	e.Known |= event.KnownComm | event.KnownSID | event.KnownTTY
	forgetGivenUp(first, *last, onV1, e)
	s.Torn = last.execedSince(first)
	return s, torn || last.PPID != first.PPID || last.Thread != first.Thread || s.Torn, nil
}

// forgetGivenUp takes back what a process on its way out shows as if it had never had
// it. onV1: see ParseCgroup.
func forgetGivenUp(first, last Stat, onV1 bool, e *event.Event) {
	x := e.Exec
	exiting := last.Zombie() || last.Flags&flagExiting != 0
	if exiting && x.ArgsLen == 0 {
		e.Known &^= event.KnownArgs // they went with the memory: not an empty list
	}
	if last.Ended() {
		e.Known &^= event.KnownTTY
		x.TTY = 0
	}
	// PF_EXITING is enough (proc_cgroup_show). A thread that lives shows where it is.
	if onV1 && (exiting && last.Thread == 0 || last.Thread != first.Thread) {
		e.Known &^= event.KnownCgroup | event.KnownContainer
		x.Cgroup, x.ContainerID = "", ""
	}
}

// readExe fills in the executable. Kernel threads have none, and those of
// other users are unknown without privileges. /proc shows the path in a mount that is
// in no namespace as if it began at the root.
func (f FS) readExe(s Stat, e *event.Event) {
	var st unix.Stat_t
	exe := f.ExePath(s)
	link, linkErr := readlink(exe)
	statErr := stat(exe, &st)
	x := e.Exec
	if statErr == nil {
		x.Dev, x.Inode, x.Nlink = uint64(st.Dev), st.Ino, uint32(st.Nlink)
		x.Deleted = st.Nlink == 0
		x.Size, x.MTime, x.CTime = uint64(st.Size), st.Mtim.Nano(), st.Ctim.Nano()
		e.Known |= event.KnownFile | event.KnownNlink | event.KnownFileTimes
	}
	if linkErr != nil {
		return
	}
	x.Exe = link
	e.Known |= event.KnownExe
	if name, found := strings.CutSuffix(link, " (deleted)"); found && statErr == nil {
		// A file may really be named like that, and the program may have been
		// unlinked while it has another name: only the file system knows.
		var at unix.Stat_t
		err := stat(f.path(s.PID, s.file("root"))+link, &at)
		named := err == nil && at.Dev == st.Dev && at.Ino == st.Ino
		if st.Nlink == 0 || !named && !errors.Is(err, os.ErrPermission) {
			x.Exe = name
			// Some file systems (NFS, FUSE) forget names that are still there.
			err = stat(f.path(s.PID, s.file("root"))+name, &at)
			x.Deleted = err != nil || at.Dev != st.Dev || at.Ino != st.Ino || st.Nlink == 0
		}
	}
	if statErr != nil {
		return
	}
	// A memfd has no place in the tree: d_path shows its one name after a '/'.
	if name, found := strings.CutPrefix(x.Exe, "/memfd:"); found && x.Deleted && st.Nlink == 0 {
		x.Exe = "memfd:" + name
		x.Fileless = true
		e.Known |= event.KnownFileless
		return
	}
	lost := f.unreachable(s, exe)
	if lost {
		x.Exe = Unreachable + x.Exe
	}
	if st.Nlink != 0 && !lost {
		e.Known |= event.KnownFileless
		return
	}
	var sfs unix.Statfs_t
	if unix.Statfs(exe, &sfs) != nil {
		return
	}
	switch uint32(sfs.Type) { // its width differs between architectures
	case unix.TMPFS_MAGIC, unix.HUGETLBFS_MAGIC, unix.RAMFS_MAGIC:
		if x.Fileless = st.Nlink == 0; !x.Fileless {
			return // in no namespace, or in one that is neither the process's nor ours
		}
	}
	e.Known |= event.KnownFileless
}

// readCredentials returns a buffer for others to use. The first thread keeps its
// own, and another one would show its own pid.
func (f FS) readCredentials(pid int, e *event.Event) []byte {
	x := e.Exec
	buf, err := f.readFile(make([]byte, 0, 4096), pid, "status")
	if err == nil {
		if s, err := ParseStatus(buf); err == nil {
			x.UID, x.GID, x.EUID, x.EGID = s.UID, s.GID, s.EUID, s.EGID
			e.Known |= event.KnownUID | event.KnownEUID
			if x.NSPID = s.NSPID; s.NSPID != 0 {
				e.Known |= event.KnownNSPID
			}
		}
	}
	if buf, err = f.readFile(buf[:0], pid, "loginuid"); err == nil {
		if v, ok := atoi(bytes.TrimSpace(buf)); ok && v <= event.AUIDUnset {
			x.AUID = uint32(v)
			e.Known |= event.KnownAUID
		}
	}
	return buf
}

// readPlace fills in where the process is: directory, cgroup, namespaces. onV1: see
// ParseCgroup.
func (f FS) readPlace(s Stat, e *event.Event, buf []byte) (onV1 bool) {
	x := e.Exec
	cwd := f.path(s.PID, s.file("cwd"))
	if link, err := readlink(cwd); err == nil {
		x.Cwd = link
		e.Known |= event.KnownCwd
		var st unix.Stat_t
		if name, found := strings.CutSuffix(link, " (deleted)"); found && stat(cwd, &st) == nil && st.Nlink == 0 {
			x.Cwd = name
		}
		if f.unreachable(s, cwd) {
			x.Cwd = Unreachable + x.Cwd
		}
	}
	if buf, err := f.readFile(buf[:0], s.PID, s.file("cgroup")); err == nil && HostCgroups() == nil {
		if path, id, v1, ok := ParseCgroup(buf); ok {
			x.Cgroup, x.ContainerID, onV1 = path, id, v1
			e.Known |= event.KnownCgroup | event.KnownContainer
		}
	}
	pidns, err1 := f.namespace(s.PID, s.file("ns/pid"))
	mntns, err2 := f.namespace(s.PID, s.file("ns/mnt"))
	if err1 == nil && err2 == nil {
		x.PIDNS, x.MntNS = pidns, mntns
		e.Known |= event.KnownNS
	}
	return onV1
}

// envMax bounds what is kept of an environment. A name may stand in it many times.
const envMax = 128 << 10

// readEnv fills in the variables that are wanted. Where the environment is longer
// than is read, or more is wanted than is kept, they are the first.
func (f FS) readEnv(s Stat, e *event.Event) {
	buf, err := f.readFile(nil, s.PID, s.file("environ"))
	if err != nil || len(buf) == 0 {
		return // a process that ends has none to see either
	}
	env := SelectEnv(buf, f.Env)
	if len(env) > envMax {
		env = env[:strings.LastIndexByte(env[:envMax], 0)+1]
	}
	if len(buf) < readMax || env != "" { // what was not read may hold some, too
		e.Exec.Env = env
		e.Known |= event.KnownEnv
	}
}

// namespace reads a link like "pid:[4026531836]".
func (f FS) namespace(pid int, name string) (uint32, error) {
	link, err := readlink(f.path(pid, name))
	if err != nil {
		return 0, err
	}
	_, s, _ := strings.Cut(link, ":[")
	v, ok := atoi([]byte(strings.TrimSuffix(s, "]")))
	if !ok || v > 1<<32-1 {
		return 0, unix.EINVAL
	}
	return uint32(v), nil
}

// readMax bounds a file that is read whole: 1 MiB, which the longest list of
// groups stays below.
const readMax = 1 << 20

// readFile appends a file, or its first readMax bytes.
func (f FS) readFile(dst []byte, pid int, name string) ([]byte, error) {
	fd, err := open(f.path(pid, name))
	if err != nil {
		return dst, err
	}
	defer unix.Close(fd)
	for off := int64(0); off < readMax; {
		dst = slices.Grow(dst, 2048)
		n, err := read(fd, dst[len(dst):cap(dst)], off)
		if err != nil || n == 0 {
			return dst, err
		}
		dst, off = dst[:len(dst)+n], off+int64(n)
	}
	return dst, nil
}

func readlink(path string) (string, error) {
	var buf [4096]byte // proc_pid_readlink has one page
	for {
		n, err := unix.Readlink(path, buf[:])
		if err == nil {
			return string(buf[:n]), nil
		}
		if err != unix.EINTR {
			return "", err
		}
	}
}

func bootClock() (int64, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return ts.Nano(), nil
}
