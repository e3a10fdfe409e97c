package collect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
	"github.com/sentineld/sentineld/internal/testenv"
)

// hashLab is a collector that hashes, with a source that the test feeds.
type hashLab struct {
	testing.TB
	c      *Collector
	src    *channel
	out    chan event.Event // what the sink was given
	synced chan struct{}    // capacity 1: there was a snapshot
}

func (l *hashLab) Put(ctx context.Context, batch []event.Event) error {
	for _, e := range batch {
		select {
		case l.out <- e:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (l *hashLab) Sync(ctx context.Context, live, _ []event.Event) error {
	select {
	case l.synced <- struct{}{}:
	default:
	}
	return l.Put(ctx, live)
}

func newHashLab(t testing.TB, o HashOptions, rows ...event.Event) *hashLab {
	t.Helper()
	if o.Rate == 0 {
		o.Rate = 1 << 40
	}
	l := &hashLab{TB: t, src: &channel{events: make(chan []event.Event)}, out: make(chan event.Event, 64), synced: make(chan struct{}, 1)}
	l.c = New(Options{Hash: o, Quiet: time.Millisecond, Snapshot: func(context.Context) ([]event.Event, error) { return rows, nil }})
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- l.c.Run(ctx, l.src, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("collector: %v", err)
		}
	})
	<-l.synced // what comes during it would be told as found running, too
	return l
}

// next is the next event that was handed on.
func (l *hashLab) next() event.Event {
	l.Helper()
	select {
	case e := <-l.out:
		return e
	case <-time.After(20 * time.Second):
		l.Fatalf("no event for 20 s; %+v", l.c.Stats().Hash)
	}
	panic("unreachable")
}

// exec hands in an exec, and returns it as it came out, with the late hash event
// if the hash did not come with it.
func (l *hashLab) exec(e event.Event) (exec event.Event, late *event.Hash) {
	l.Helper()
	l.src.events <- []event.Event{e}
	exec = l.next()
	if exec.Kind != event.KindExec || exec.Process != e.Process {
		l.Fatalf("got %+v, want the exec first", exec)
	}
	if exec.Known.Has(event.KnownSHA256) {
		return exec, nil
	}
	h := l.next()
	if h.Kind != event.KindHash || h.Process != e.Process || h.Hash.ExecTime != e.Time || h.Hash.Exe != e.Exec.Exe ||
		h.Hash.Dev != e.Exec.Dev || h.Hash.Inode != e.Exec.Inode || h.Source != e.Source || !h.Known.Has(event.KnownTime) {
		l.Fatalf("got %+v, want the hash of %+v", h, e)
	}
	return exec, h.Hash
}

// skips hands in an exec that cannot be hashed, and waits until it was given up.
func (l *hashLab) skips(e event.Event, why HashSkip) {
	l.Helper()
	before := l.c.Stats().Hash
	l.src.events <- []event.Event{e}
	if got := l.next(); got.Kind != event.KindExec || got.Known.Has(event.KnownSHA256) {
		l.Fatalf("got %+v", got)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		now := l.c.Stats().Hash
		if now.Skipped != before.Skipped {
			before.Skipped[why]++
			if now.Skipped != before.Skipped {
				l.Errorf("skipped %v, want one more %v", now.Skipped, why)
			}
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("not given up for 20 s: %+v", now)
		}
		<-time.After(time.Millisecond)
	}
}

// program writes a program that sleeps; tail makes its content another one.
func program(t testing.TB, path, tail string) string {
	t.Helper()
	sleep, err := osexec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(b, tail...), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// traced is a directory of a file system where no change of a file goes without a trace.
func traced(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if isUntraced(t, program(t, filepath.Join(dir, "probe"), "")) {
		testenv.NeedRoot(t)
		mount(t, "ramfs", dir, "ramfs", 0, "")
	}
	return dir
}

func isUntraced(t testing.TB, path string) bool {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return untraced(int(f.Fd()))
}

func sumOf(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := sha256.Sum256(b)
	return string(s[:])
}

// launch runs a program, which lives as long as the test or until stop, and
// returns its exec as the kernel would tell it.
func launch(t testing.TB, cmd *osexec.Cmd) (e event.Event, stop func()) {
	t.Helper()
	if cmd.Args = append(cmd.Args, "1000"); cmd.Stdout == nil {
		cmd.Stdout = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	return execOf(t, cmd.Process.Pid), stop
}

func execOf(t testing.TB, pid int) event.Event {
	t.Helper()
	e, err := procfs.FS{}.Process(testBoot, pid, 4096)
	if err != nil {
		t.Fatal(err)
	}
	e.Source, e.Known, e.Time = event.SourceEBPF, e.Known|event.KnownTime, time.Now().UnixNano()
	return e
}

// TestHashOfTheFileThatWasExecuted wants the hash of what the inode held at the
// exec, and none of anything else, in every way to lose sight of a file.
func TestHashOfTheFileThatWasExecuted(t *testing.T) {
	dir := traced(t)
	l := newHashLab(t, HashOptions{MaxBytes: 4 << 20})
	if e := l.c.Stats(); e.Hash != (HashStats{}) {
		t.Fatalf("%+v", e.Hash)
	}
	files := uint64(0)
	check := func(what string, e event.Event, want string, reads uint64) {
		t.Helper()
		files += reads
		x, late := l.exec(e)
		got := x.Exec.SHA256
		if late != nil {
			got = late.SHA256
			if late.Size != e.Exec.Size || late.MTime != e.Exec.MTime {
				t.Errorf("%s: size %d, mtime %d, executed %d, %d", what, late.Size, late.MTime, e.Exec.Size, e.Exec.MTime)
			}
		}
		if got != want {
			t.Errorf("%s: %x, want %x", what, got, want)
		}
		if n := l.c.Stats().Hash.Files; n != files {
			t.Errorf("%s: %d files read, want %d", what, n, files)
			files = n
		}
		if (reads == 0) != (late == nil) && what != "without times" {
			t.Errorf("%s: late %v, read %d", what, late, reads)
		}
	}

	a := program(t, filepath.Join(dir, "a"), "one")
	one := sumOf(t, a)
	running, stop := launch(t, osexec.Command(a))
	check("running", running, one, 1)
	check("again", execOf(t, int(running.Process.PID)), one, 0)
	bare := execOf(t, int(running.Process.PID))
	bare.Known &^= event.KnownFileTimes
	bare.Exec.Size, bare.Exec.MTime, bare.Exec.CTime = uint64(len(mustRead(t, a))), running.Exec.MTime, 0
	check("without times", bare, one, 0)

	// Its name may go while it runs, and its content may not.
	link := filepath.Join(dir, "link")
	if err := os.Link(a, link); err != nil {
		t.Fatal(err)
	}
	linked, stopLinked := launch(t, osexec.Command(link))
	check("second name", linked, one, 1) // the new name changed ctime
	check("second name again", linked, one, 0)
	stopLinked()
	if err := errors.Join(os.Remove(a), os.Remove(link)); err != nil {
		t.Fatal(err)
	}
	unlinked := program(t, filepath.Join(dir, "b"), "unlinked")
	sum := sumOf(t, unlinked)
	e, stopB := launch(t, osexec.Command(unlinked))
	if err := os.Remove(unlinked); err != nil {
		t.Fatal(err)
	}
	check("deleted after the exec", e, sum, 1)
	check("deleted", execOf(t, int(e.Process.PID)), sum, 0)
	stopB()
	stop()

	// The process is gone, and the file is there.
	c := program(t, filepath.Join(dir, "c"), "two")
	two := sumOf(t, c)
	time.Sleep(2 * tick) // else a change right behind the exec would not show, see TestHashOfWhatWasJustWritten
	gone, stop := launch(t, osexec.Command(c))
	stop()
	check("process gone", gone, two, 1)
	three := program(t, filepath.Join(dir, "new"), "three!")
	if err := os.Rename(three, c); err != nil {
		t.Fatal(err)
	}
	check("replaced by rename, known", gone, two, 0)
	renamed, stop := launch(t, osexec.Command(c))
	check("the new one", renamed, sumOf(t, c), 1)
	stop()
	renamed.Exec.CTime++ // another content, as far as is known
	l.skips(renamed, HashChanged)
	program(t, c, "other!") // in place, with the same size
	changed, stop := launch(t, osexec.Command(c))
	check("changed in place", changed, sumOf(t, c), 1)
	if sumOf(t, c) == two || changed.Exec.Inode != renamed.Exec.Inode || changed.Exec.Size != renamed.Exec.Size {
		t.Fatalf("the test did not change %s in place", c)
	}
	stop()
	if err := os.Remove(c); err != nil {
		t.Fatal(err)
	}
	changed.Exec.CTime++
	l.skips(changed, HashGone)

	// A wrong file at the right place: the process executes something else by now.
	moved, stop := launch(t, osexec.Command(mustLook(t, "sleep")))
	moved.Exec.Inode++
	l.skips(moved, HashChanged)
	stop()

	fd, err := unix.MemfdCreate("x", 0)
	if err != nil {
		t.Fatal(err)
	}
	mem := os.NewFile(uintptr(fd), "memfd")
	defer mem.Close()
	content := append(mustRead(t, mustLook(t, "sleep")), "memfd"...)
	if _, err := mem.Write(content); err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command("/proc/self/fd/3")
	cmd.ExtraFiles = []*os.File{mem}
	e, stop = launch(t, cmd)
	if e.Exec.Exe != "memfd:x" || !e.Exec.Fileless {
		t.Fatalf("%+v", e.Exec)
	}
	s := sha256.Sum256(content)
	check("memfd", e, string(s[:]), 1)
	stop()
	e.Exec.CTime++
	l.skips(e, HashGone)

	big := program(t, filepath.Join(dir, "big"), strings.Repeat("x", 4<<20))
	e, stop = launch(t, osexec.Command(big))
	l.skips(e, HashTooLarge)
	e.Known &^= event.KnownFileTimes // found out by the hasher
	l.skips(e, HashTooLarge)
	stop()
	none := execOf(t, os.Getpid()) // as of a kernel thread
	none.Known &^= event.KnownFile
	l.src.events <- []event.Event{none}
	if got := l.next(); got.Known.Has(event.KnownSHA256) {
		t.Error("hash of nothing")
	}
	if st := l.c.Stats(); st.Hash.Waiting != 0 || st.Events[event.KindHash] == 0 || st.Hash.Bytes == 0 {
		t.Errorf("%+v", st)
	}
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mustLook(t testing.TB, name string) string {
	t.Helper()
	path, err := osexec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHashOfUnknownPath: a hash says no path where its exec says none. The process
// leads to the file.
func TestHashOfUnknownPath(t *testing.T) {
	l := newHashLab(t, HashOptions{})
	path := program(t, filepath.Join(t.TempDir(), "a"), "nameless")
	e, _ := launch(t, osexec.Command(path))
	e.Known &^= event.KnownExe
	l.src.events <- []event.Event{e}
	l.next()
	if h := l.next(); h.Kind != event.KindHash || h.Hash.Exe != "" || h.Hash.SHA256 != sumOf(t, path) {
		t.Errorf("%+v", h.Hash)
	}
}

// TestHashedOnce: however many execs of one file wait, it is read once, and each
// has its hash, behind its exec.
func TestHashedOnce(t *testing.T) {
	path := program(t, filepath.Join(traced(t), "a"), "")
	first, _ := launch(t, osexec.Command(path))
	l := newHashLab(t, HashOptions{})
	batch := make([]event.Event, 1000)
	for i := range batch {
		batch[i] = first
		x := *first.Exec
		batch[i].Exec = &x
		batch[i].Time += int64(i)
		batch[i].Process.Start += uint64(i) // the first lives; the path has the file of all
	}
	go func() { l.src.events <- batch }()
	execs, hashes := map[event.ProcessKey]bool{}, 0
	for hashes < len(batch) {
		e := l.next()
		switch {
		case e.Kind == event.KindExec && e.Known.Has(event.KnownSHA256):
			hashes++
		case e.Kind == event.KindExec:
			execs[e.Process] = true
		case e.Kind == event.KindHash && execs[e.Process] && e.Hash.SHA256 == sumOf(t, path):
			hashes++
		case e.Kind == event.KindExit: // of the one before, which has the same pid
		default:
			t.Fatalf("%+v", e)
		}
	}
	if s := l.c.Stats().Hash; s.Files != 1 || s.Hits != 999 || s.Skipped != [NumHashSkips]uint64{} {
		t.Errorf("%+v", s)
	}
}

// TestChangedWhileHashed wants no hash of a file that is half old and half new.
func TestChangedWhileHashed(t *testing.T) {
	path := program(t, filepath.Join(t.TempDir(), "a"), strings.Repeat("x", 1<<20))
	e, stop := launch(t, osexec.Command(path))
	stop()
	h := newHasher(HashOptions{Rate: 1 << 40})
	batch := []event.Event{e}
	h.add(batch)
	w := <-h.execs
	r := newHashReader(h)
	writes := 0
	r.sum = writeOn{r.sum, func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		writes++
		if _, err := f.WriteAt([]byte{byte(writes)}, 1<<20); err != nil {
			t.Fatal(err)
		}
	}}
	if got := h.hash(t.Context(), r, w); got.sum != "" || got.skip != HashChanged {
		t.Errorf("%+v", got)
	}
	// Not known by its times, it is what the path holds; each attempt sees a change.
	e = execOf(t, os.Getpid())
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	e.Process.PID, e.Exec.Exe, e.Exec.Inode, e.Known = 1<<22+1, path, st.Ino, e.Known&^event.KnownFileTimes
	e.Exec.Dev, e.Time = uint64(st.Dev), time.Now().Add(time.Hour).UnixNano()
	batch[0] = e
	h.add(batch)
	if got := h.hash(t.Context(), r, <-h.execs); got.sum != "" || got.skip != HashChanged || writes < 30 {
		t.Errorf("%+v after %d writes", got, writes)
	}
	// Once it rests it has a hash.
	r = newHashReader(h)
	h.add(batch)
	if got := h.hash(t.Context(), r, <-h.execs); got.sum != sumOf(t, path) {
		t.Errorf("%+v", got)
	}
}

// writeOn calls fn after each piece.
type writeOn struct {
	hashSum
	fn func()
}

type hashSum interface {
	Write([]byte) (int, error)
	Sum([]byte) []byte
	Reset()
	Size() int
	BlockSize() int
}

func (w writeOn) Write(b []byte) (int, error) {
	defer w.fn()
	return w.hashSum.Write(b)
}

func TestHashQueueIsBounded(t *testing.T) {
	h := newHasher(HashOptions{Rate: 1, Queue: 3})
	e := execOf(t, os.Getpid())
	found := execOf(t, os.Getpid())
	found.Source = event.SourceSnapshot
	h.add([]event.Event{e, e, e, e, e, found})
	if s := h.stats(); s.Skipped[HashQueueFull] != 2 || s.Waiting != 4 {
		t.Errorf("%+v", s)
	}
}

// TestFoundRunning wants the processes of the first snapshot hashed, and of a
// later one from memory.
func TestFoundRunning(t *testing.T) {
	path := program(t, filepath.Join(traced(t), "a"), "x")
	e, _ := launch(t, osexec.Command(path))
	e.Source, e.Known = event.SourceSnapshot, e.Known&^event.KnownTime
	row := e
	x := *e.Exec
	row.Exec = &x
	l := newHashLab(t, HashOptions{}, row)
	if got := l.next(); got.Source != event.SourceSnapshot || got.Known.Has(event.KnownSHA256) {
		t.Fatalf("%+v", got)
	}
	if got := l.next(); got.Kind != event.KindHash || got.Source != event.SourceSnapshot || got.Hash.SHA256 != sumOf(t, path) {
		t.Fatalf("%+v", got)
	}
	*row.Exec = *e.Exec
	l.c.NeedSync()
	if got := l.next(); !got.Known.Has(event.KnownSHA256) || got.Exec.SHA256 != sumOf(t, path) {
		t.Fatalf("%+v", got)
	}
}

// TestOverlay: an overlay on layers of different file systems shows another
// device to stat(2) than its inodes have, which is what the kernel's events tell.
func TestOverlay(t *testing.T) {
	testenv.NeedRoot(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"low", "tmp", "mnt"} {
		if err := os.Mkdir(at(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount(t, "tmpfs", at("tmp"), "tmpfs", 0, "")
	for _, name := range []string{"tmp/up", "tmp/work"} {
		if err := os.Mkdir(at(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program(t, at("low/lower"), "lower")
	mount(t, "overlay", at("mnt"), "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", at("low"), at("tmp/up"), at("tmp/work")))
	program(t, at("mnt/upper"), "upper")
	var mnt unix.Stat_t
	if err := unix.Stat(at("mnt"), &mnt); err != nil {
		t.Fatal(err)
	}
	l := newHashLab(t, HashOptions{})
	for _, name := range []string{"mnt/lower", "mnt/upper"} {
		e, stop := launch(t, osexec.Command(at(name)))
		if e.Exec.Dev == uint64(mnt.Dev) {
			t.Fatalf("%s: stat shows the device of the overlay: nothing is tested", name)
		}
		shown := e.Exec.Dev
		e.Exec.Dev = uint64(mnt.Dev)
		if _, late := l.exec(e); late == nil || late.SHA256 != sumOf(t, at(name)) || late.Dev != uint64(mnt.Dev) {
			t.Errorf("%s: %+v", name, late)
		}
		// What stat says is remembered. With what the kernel says it is looked up
		// again, and not read, unless the layer leaves no trace of a change.
		unknown, reads := isUntraced(t, at(name)), uint64(0)
		if unknown {
			reads = 1
		}
		if name == "mnt/upper" && !unknown {
			t.Errorf("a change of %s, which is on tmpfs, is said to leave a trace", name)
		}
		again := e
		x := *e.Exec
		x.Dev, x.SHA256 = shown, ""
		again.Exec = &x
		if got, late := l.exec(again); (late != nil) != unknown || late == nil && got.Exec.SHA256 != sumOf(t, at(name)) {
			t.Errorf("%s on %d: %x", name, shown, got.Exec.SHA256)
		}
		before := l.c.Stats().Hash.Files
		if _, late := l.exec(e); late == nil || late.SHA256 != sumOf(t, at(name)) || l.c.Stats().Hash.Files != before+reads {
			t.Errorf("%s once more: %+v, %d files read", name, late, l.c.Stats().Hash.Files-before)
		}
		// Without the times, nothing tells it from another layer's file.
		x = *e.Exec
		x.Size, x.MTime, x.CTime, x.SHA256 = 0, 0, 0, ""
		e.Exec, e.Known = &x, e.Known&^event.KnownFileTimes
		l.skips(e, HashChanged)
		stop()
	}
	// The same inode number and times on a file system that has the devices that it
	// shows: it is another file.
	low := program(t, at("other"), "")
	e, stop := launch(t, osexec.Command(low))
	stop()
	e.Exec.Dev++
	l.skips(e, HashChanged)
}

// TestSameInodeOnTwoLayers: to the kernel's inodes two files of an overlay may be the
// same in all that is told of them. Each has its own hash.
func TestSameInodeOnTwoLayers(t *testing.T) {
	testenv.NeedRoot(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"a", "b", "mnt"} {
		if err := os.Mkdir(at(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b"} {
		mount(t, "tmpfs", at(name), "tmpfs", 0, "")
		if err := os.Mkdir(filepath.Join(at(name), "layer"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	files := []string{program(t, at("a/layer/one"), "1"), program(t, at("b/layer/two"), "2")}
	inOneTick(t, files)
	mount(t, "overlay", at("mnt"), "overlay", 0, fmt.Sprintf("lowerdir=%s:%s", at("a/layer"), at("b/layer")))
	var mnt unix.Stat_t
	if err := unix.Stat(at("mnt"), &mnt); err != nil {
		t.Fatal(err)
	}
	l := newHashLab(t, HashOptions{})
	var first event.Exec
	for i, file := range files {
		e, _ := launch(t, osexec.Command(filepath.Join(at("mnt"), filepath.Base(file))))
		if e.Exec.Dev == uint64(mnt.Dev) {
			t.Fatal("stat shows the device of the overlay: nothing is tested")
		}
		e.Exec.Dev = uint64(mnt.Dev) // as the kernel's inode has it
		if i == 0 {
			first = *e.Exec
		} else if fileIDOf(e.Exec) != fileIDOf(&first) {
			t.Fatalf("%+v and %+v: nothing is tested", first, e.Exec)
		}
		if got, late := l.exec(e); late == nil || late.SHA256 != sumOf(t, file) {
			t.Errorf("%s: %x, %+v", file, got.Exec.SHA256, late)
		}
	}
}

// inOneTick writes the last byte of files anew, so that they have the same times.
func inOneTick(t *testing.T, files []string) {
	t.Helper()
	var open [2]*os.File
	var ids [2]fileID
	for i, name := range files {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if ids[i], _, err = fstat(int(f.Fd())); err != nil {
			t.Fatal(err)
		}
		open[i] = f
	}
	for range 100 {
		// A file whose times were looked at within a tick would have finer ones (Linux 6.13).
		<-time.After(tick)
		for i, f := range open {
			if _, err := f.WriteAt([]byte{byte('1' + i)}, int64(ids[i].size)-1); err != nil {
				t.Fatal(err)
			}
		}
		for i, f := range open {
			var err error
			if ids[i], _, err = fstat(int(f.Fd())); err != nil {
				t.Fatal(err)
			}
		}
		if ids[0].mtime == ids[1].mtime && ids[0].ctime == ids[1].ctime {
			return
		}
	}
	t.Fatal("two writes are never in one tick")
}

// TestMountNamespace: the path of a process in another mount namespace names
// another file, or none, in ours.
func TestMountNamespace(t *testing.T) {
	testenv.NeedRoot(t)
	dir := t.TempDir()
	decoy := program(t, filepath.Join(dir, "decoy"), "decoy")
	// A shell in a namespace of its own with a file system over dir; it starts the
	// program there and stays, so that there is a parent.
	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if _, err := osexec.LookPath("mount"); err != nil {
		t.Skip("SKIPPED: needs mount(8)")
	}
	script := `mount -t tmpfs none "$1" && cp "$2" "$1/decoy" && printf inner >>"$1/decoy" && sleep 0.1 || exit 1
	"$1/decoy" 1000 & echo $! ; read x; kill $!; wait; echo gone; read x; :`
	cmd := osexec.Command("sh", "-c", script, "sh", dir, mustLook(t, "sleep"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // which makes its mounts private, too
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	defer cmd.Wait()
	defer in.Close()
	var pid int
	if _, err := fmt.Fscanln(pipe, &pid); err != nil {
		t.Fatal(err)
	}
	// The shell has forked by now; the child may not have executed yet.
	var e event.Event
	for deadline := time.Now().Add(20 * time.Second); e.Exec == nil || e.Exec.Exe != decoy; {
		if e = execOf(t, pid); time.Now().After(deadline) {
			t.Fatalf("%+v", e.Exec)
		}
	}
	content := append(mustRead(t, mustLook(t, "sleep")), "inner"...)
	want := sha256.Sum256(content)
	if bytes.Equal(mustRead(t, decoy), content) {
		t.Fatal("the decoy is not one")
	}
	running, exited := e, e
	x, y := *e.Exec, *e.Exec
	running.Exec, exited.Exec = &x, &y

	l := newHashLab(t, HashOptions{})
	if _, late := l.exec(running); late == nil || late.SHA256 != string(want[:]) {
		t.Errorf("running: %+v", late)
	}
	fmt.Fprintln(in)
	var line string
	if _, err := fmt.Fscanln(pipe, &line); err != nil || line != "gone" {
		t.Fatalf("%q %v", line, err)
	}
	l = newHashLab(t, HashOptions{}) // that does not remember
	if _, late := l.exec(exited); late == nil || late.SHA256 != string(want[:]) {
		t.Errorf("by its parent: %+v", late)
	}
	l = newHashLab(t, HashOptions{})
	orphan := exited
	z := *e.Exec
	z.SHA256 = ""
	orphan.Exec, orphan.Parent = &z, event.ProcessKey{}
	l.skips(orphan, HashChanged) // there is a file at its path here
}

func mount(t testing.TB, source, target, fstype string, flags uintptr, data string) {
	t.Helper()
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		if err == unix.ENODEV { // this kernel has no such file system
			t.Skipf("SKIPPED: the kernel has no %s", fstype)
		}
		testenv.Skip(t, fmt.Sprintf("cannot mount %s: %v", fstype, err))
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// A file that was written within a tick before its exec may have been written once
// more within that tick, with the same ctime. What was executed then is known only
// while it runs.
func TestHashOfWhatWasJustWritten(t *testing.T) {
	path := program(t, filepath.Join(t.TempDir(), "a"), "just written")
	sum := sumOf(t, path)
	e, stop := launch(t, osexec.Command(path))
	e.Time = e.Exec.CTime + int64(resolution())/2 // however slow this machine is
	gone := e
	x := *e.Exec
	gone.Exec = &x
	l := newHashLab(t, HashOptions{})
	if _, late := l.exec(e); late == nil || late.SHA256 != sum {
		t.Errorf("running: %+v", late)
	}
	stop()
	l = newHashLab(t, HashOptions{}) // that does not remember
	l.skips(gone, HashChanged)
	gone.Time = e.Exec.CTime + 2*int64(resolution())
	if _, late := l.exec(gone); late == nil || late.SHA256 != sum {
		t.Errorf("written long before: %+v", late)
	}
}

// A memfd can be written while it is executed: one that was has no hash.
func TestHashOfAMemfdThatIsWritten(t *testing.T) {
	fd, err := unix.MemfdCreate("x", 0)
	if err != nil {
		t.Fatal(err)
	}
	mem := os.NewFile(uintptr(fd), "memfd")
	defer mem.Close()
	if _, err := mem.Write(mustRead(t, mustLook(t, "sleep"))); err != nil {
		t.Fatal(err)
	}
	e, stop := launch(t, osexec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)))
	defer stop()
	st, err := mem.Stat()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * tick)
	if _, err := mem.WriteAt([]byte("decoy"), st.Size()-5); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(fmt.Sprintf("/proc/self/fd/%d", fd), time.Now(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
	newHashLab(t, HashOptions{}).skips(e, HashChanged)
}
