package collect

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
)

const (
	// chunk is short enough that the collection, which shares a processor with
	// the hasher, hardly waits for one: about 50 us, 200 without SHA instructions.
	chunk = 64 << 10

	// lookCost is what finding a file counts, in bytes, beside reading it.
	lookCost = 16 << 10

	// tick is longer than the clock's that file systems set ctime by, which is
	// that of the timer interrupt (10 ms at most, current_time in fs/inode.c).
	tick = 20 * time.Millisecond

	// crowded is the part of the time in which some process waits for a CPU from
	// which on the hasher gives way, by crowdedFactor.
	crowded, crowdedFactor = 0.2, 8
	crowdedEvery           = 250 * time.Millisecond
)

// resolution is that of the clock that file systems set ctime by, the time between
// two timer interrupts.
var resolution = sync.OnceValue(func() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
		return tick
	}
	return time.Duration(ts.Nano())
})

// hashReader reads files. It belongs to one goroutine.
type hashReader struct {
	h     *hasher
	proc  procfs.FS
	limit limiter
	sum   hash.Hash
	buf   []byte

	pressure  string // file
	stalled   uint64 // what it said, microseconds
	stalledAt time.Time
	factor    float64
}

func newHashReader(h *hasher) *hashReader {
	return &hashReader{
		h: h, proc: procfs.FS{Root: h.o.Proc}, sum: sha256.New(), buf: make([]byte, chunk),
		limit: limiter{rate: float64(h.o.Rate), at: time.Now()}, pressure: h.o.Proc + "/pressure/cpu", factor: 1,
	}
}

// file hashes the executable of w, unless what it is found to be is remembered.
// What changes while it is read is read once more.
//
// BUG(collect): a file system that does not answer, as FUSE and NFS may, holds
// the hasher up until it does. Collection goes on; the queue fills, and what
// finds no room is counted.
func (r *hashReader) file(ctx context.Context, w *waiting) hashed {
	got := r.once(ctx, w)
	if got.again {
		got = r.once(ctx, w)
	}
	return got
}

func (r *hashReader) once(ctx context.Context, w *waiting) hashed {
	if r.limit.take(ctx, lookCost*r.giveWay()) != nil {
		return hashed{skip: HashGone}
	}
	asked := r.h.asked.Load() // all of these were executed by now
	fd, id, skip, ok := r.open(w)
	if !ok {
		return hashed{skip: skip}
	}
	defer unix.Close(fd)
	if id.size > uint64(r.h.o.MaxBytes) {
		return hashed{skip: HashTooLarge}
	}
	until := uint64(always)
	if untraced(fd) {
		until = asked
	} else if sum, ok := r.h.cache.get(id, w.n); ok {
		r.h.hits.Add(1)
		r.remember(w, id, sum, until)
		return hashed{sum: sum, file: id}
	}
	changed := hashed{skip: HashChanged, again: true}
	// A change within a tick of the last one leaves ctime as it is. Once the tick
	// is over, none goes unseen.
	settled := true
	if age := time.Since(time.Unix(0, id.ctime)); age < tick {
		if pause(ctx, tick) != nil {
			return hashed{skip: HashGone}
		}
		settled = age > -tick // else the clock was set back, and ctime says nothing
		if now, _, err := fstat(fd); err != nil || now != id {
			return changed
		}
	}
	n, err := r.read(ctx, fd, id.size)
	if err != nil {
		return hashed{skip: HashUnreadable}
	}
	r.h.files.Add(1)
	r.h.bytes.Add(n)
	if now, _, err := fstat(fd); err != nil || now != id || n != id.size {
		return changed
	}
	sum := string(r.sum.Sum(r.buf[:0]))
	if settled {
		r.remember(w, id, sum, until)
	}
	return hashed{sum: sum, file: id}
}

// remember keeps the hash of a file under what was told of it at the exec, too, which
// may be an earlier ctime (see matches). Not under another device: subvolumes of btrfs
// and layers of overlayfs share that of the kernel's inode, and two of their files may
// have the same number, size and times, if they were written in one tick.
func (r *hashReader) remember(w *waiting, id fileID, sum string, until uint64) {
	r.h.cache.put(id, sum, until)
	if w.times && w.file != id && w.file.dev == id.dev {
		r.h.cache.put(w.file, sum, until)
	}
}

// read hashes the first size bytes of a file. That there are no more is for the
// caller to see.
func (r *hashReader) read(ctx context.Context, fd int, size uint64) (n uint64, err error) {
	r.sum.Reset()
	for n < size {
		part := r.buf[:min(chunk, size-n)]
		if err := r.limit.take(ctx, float64(len(part))*r.giveWay()); err != nil {
			return n, err
		}
		got, err := unix.Pread(fd, part, int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil || got <= 0 {
			return n, err
		}
		r.sum.Write(part[:got])
		n += uint64(got)
		runtime.Gosched()
	}
	return n, nil
}

// open finds the executable of w and what it is now. The process itself knows its
// file, though it was deleted or never had a name. When it is gone, there is the
// path, in the mount namespaces of its parent, of the host and of procmond: which
// of them is right is for matches to tell.
func (r *hashReader) open(w *waiting) (fd int, id fileID, skip HashSkip, ok bool) {
	skip = HashGone
	try := func(fd int, err error, own, denied bool) bool {
		if err != nil {
			// A root that may not be entered says nothing of the file.
			if denied && (errors.Is(err, fs.ErrPermission) || err == unix.EIO) && skip == HashGone {
				skip = HashUnreadable
			}
			return false
		}
		var stacked bool
		if id, stacked, err = fstat(fd); err == nil && w.matches(id, stacked, own && r.runs(w)) {
			return true
		}
		unix.Close(fd)
		skip = HashChanged
		return false
	}
	exe := r.process(w.process) + "/exe"
	if s, err := r.proc.Living(int(w.process.PID)); err == nil {
		exe = r.proc.ExePath(s)
	}
	fd, err := openFile(exe)
	if try(fd, err, true, true) {
		return fd, id, 0, true
	}
	if !strings.HasPrefix(w.exe, "/") { // a memfd, or a place that was not resolved
		return 0, id, skip, false
	}
	roots := []string{r.process(w.parent) + "/root", r.h.o.Proc + "/1/root", ""}
	if w.parent.IsZero() {
		roots = roots[1:]
	}
	for _, root := range roots {
		fd, err := openPath(root + w.exe)
		if try(fd, err, false, root == "") {
			return fd, id, 0, true
		}
	}
	return 0, id, skip, false
}

// process is the directory of a process.
func (r *hashReader) process(key event.ProcessKey) string {
	return r.h.o.Proc + "/" + strconv.FormatUint(uint64(key.PID), 10)
}

// runs reports whether the process lives. Its executable cannot be written as
// long as it does (deny_write_access in fs/exec.c; not in Linux 6.11).
func (r *hashReader) runs(w *waiting) bool {
	s, err := r.proc.Stat(int(w.process.PID))
	return err == nil && s.Start == w.process.Start && !s.Ended()
}

// matches reports whether a file is the one that was executed, with the content
// that it had then. own says that it is the executable of that very process,
// which still runs.
//
// The inode is the same everywhere. The device is not: on overlayfs with layers of
// several file systems, and on btrfs, stat(2) shows another one than the kernel's
// inode has. There the size and the times have to be the same to the nanosecond.
//
// ctime changes with the name and the mode, too, and a program that deletes itself
// is worth a hash. So it may have changed where nobody could write the file, which
// is not so of a memfd: that is executed while somebody may write it. And it may be
// the same after a change in the tick of the one before, so that of a file that was
// changed just before the exec only its own process can tell.
//
// BUG(collect): of a memfd that is changed within a tick after its exec, and keeps
// its size and its mtime, the hash is that of what was written then.
//
// BUG(collect): what is written through a mapping where that leaves no trace (see
// untraced) is not seen. Between the exec and the moment in which the file is read that
// can be done to a memfd, and to a file whose process has ended: the hash is that of
// what was there then.
//
// BUG(collect): what lies under an overlay can be written in the directory of its layer
// while it is executed. Who does that before its turn comes, keeping the size and
// setting back the mtime, has the hash of what was written then.
//
// BUG(collect): a process that executes A, then B, changes A keeping its size and
// setting back its mtime, and executes A again, all before its turn comes, has the
// hash of the second A in the first one's place too.
func (w *waiting) matches(id fileID, stacked, own bool) bool {
	switch {
	case id.inode != w.file.inode:
		return false
	case id.dev != w.file.dev && (!stacked || !w.times):
		return false
	case w.times && (id.size != w.file.size || id.mtime != w.file.mtime):
		return false
	case own && strings.HasPrefix(w.exe, "/"):
		return true
	case w.times && id.ctime != w.file.ctime:
		return false
	}
	return w.times && own || w.time-id.ctime > int64(resolution())
}

// fstat is what an open regular file is. stacked says that its file system shows
// devices of its own making.
func fstat(fd int) (id fileID, stacked bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return id, false, os.NewSyscallError("fstat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return id, false, fmt.Errorf("mode %#o is no regular file", st.Mode)
	}
	var sfs unix.Statfs_t
	if unix.Fstatfs(fd, &sfs) == nil {
		switch uint32(sfs.Type) { // its width differs between architectures
		case unix.OVERLAYFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC:
			stacked = true
		}
	}
	return fileID{uint64(st.Dev), st.Ino, uint64(st.Size), st.Mtim.Nano(), st.Ctim.Nano()}, stacked, nil
}

// untraced reports whether the content of an open file may change while its times stay:
// what is written through a shared mapping sets them only where the file system is told
// of the first write to a page (page_mkwrite). tmpfs, memfd and hugetlbfs are not; ramfs
// is. An overlay leaves that to the layer that has the file, and tells its kind nowhere:
// one that cannot say where a file lies on its disk may be such a layer. (It may be
// squashfs, ZFS or NFS, too.)
func untraced(fd int) bool {
	var sfs unix.Statfs_t
	if unix.Fstatfs(fd, &sfs) != nil {
		return true
	}
	switch uint32(sfs.Type) {
	case unix.TMPFS_MAGIC, unix.HUGETLBFS_MAGIC:
		return true
	case unix.OVERLAYFS_SUPER_MAGIC:
		return !hasExtents(fd)
	}
	return false
}

// hasExtents reports whether a file system tells the extents of an open file.
func hasExtents(fd int) bool {
	const fsIocFiemap = 0xc020660b // FS_IOC_FIEMAP of linux/fs.h
	// struct fiemap of linux/fiemap.h. The number of those in the first byte is asked for.
	m := struct {
		start, length                    uint64
		flags, mapped, extents, reserved uint32
	}{length: 1}
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsIocFiemap, uintptr(unsafe.Pointer(&m)))
		if errno != unix.EINTR {
			return errno == 0
		}
	}
}

// openPath opens a file only once it is known to be a regular one: to open a
// device may do something.
func openPath(path string) (int, error) {
	place, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(place)
	if _, _, err := fstat(place); err != nil {
		return -1, err
	}
	return openFile("/proc/self/fd/" + strconv.Itoa(place))
}

// openFile opens for reading, without a trace in the access time where that is
// allowed.
func openFile(path string) (fd int, err error) {
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC
	for {
		fd, err = unix.Open(path, flags|unix.O_NOATIME, 0)
		if err == unix.EPERM { // for the owner and CAP_FOWNER only, open(2)
			fd, err = unix.Open(path, flags, 0)
		}
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// giveWay is by how much more than it is what is read counts, since others want
// the CPUs. Where the kernel does not tell (CONFIG_PSI), nothing more.
func (r *hashReader) giveWay() float64 {
	now := time.Now()
	d := now.Sub(r.stalledAt)
	if d < crowdedEvery {
		return r.factor
	}
	b, err := os.ReadFile(r.pressure)
	if err != nil {
		r.factor, r.stalledAt = 1, now
		return r.factor
	}
	total, ok := stallTotal(b)
	if first := r.stalledAt.IsZero(); ok && !first && total-r.stalled > uint64(crowded*float64(d.Microseconds())) {
		r.factor = crowdedFactor
	} else {
		r.factor = 1
	}
	r.stalled, r.stalledAt = total, now
	return r.factor
}
