package poll

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"slices"

	"github.com/shirou/gopsutil/v4/common"
	"github.com/shirou/gopsutil/v4/process"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
	"github.com/sentineld/sentineld/internal/source"
)

var (
	errExecing = errors.New("it is in the middle of an exec")
	errHidden  = errors.New("/proc hides it")
)

func kernelBootID() (event.BootID, error) { return procfs.FS{}.BootID() }

// procTable reads /proc: the same identity and the same record as a snapshot.
//
// Where exec placed the program is in the stat that is read anyway, and with
// randomised addresses it is another place each time: one small read finds an
// exec, even of the same program with the same arguments, and a process that
// rewrites its arguments (setproctitle) is not taken for one. A program can say
// that it is where the one before was, so the file is compared, too. Only where the
// layout is hidden (processes of others, without privileges) or not random are the
// arguments compared; there a new title looks like an exec.
//
// BUG(poll): a process that executes its own file again is missed if it forges its
// place, or if addresses are not random (setarch -R) and the arguments the same.
// One that forges another place looks like an exec of the same.
type procTable struct {
	fs      procfs.FS
	boot    event.BootID
	argsMax int
	seed    maphash.Seed
	waiting map[int32]uint64 // starts of those that were read in the middle of an exec; pruned at pids
	buf     []byte           // of the last arguments read
}

func newTable(o source.Options) table {
	return &procTable{fs: procfs.FS{Root: "/proc", Env: o.Env}, boot: o.Boot, argsMax: o.ArgsMax, seed: maphash.MakeSeed(), waiting: map[int32]uint64{}}
}

func (t *procTable) pids(ctx context.Context) ([]int32, error) {
	// The same tree that details are read from, whatever HOST_PROC says.
	ctx = context.WithValue(ctx, common.EnvKey, common.EnvMap{common.HostProcEnvKey: t.fs.Root})
	pids, err := process.PidsWithContext(ctx)
	for pid := range t.waiting {
		if !slices.Contains(pids, pid) {
			delete(t.waiting, pid)
		}
	}
	return pids, err
}

// hides reports whether /proc shows less than there is: the first process is always
// there.
func (t *procTable) hides() bool {
	_, err := t.fs.Stat(1)
	return err != nil
}

func (t *procTable) look(_ context.Context, pid int32, p *proc) (change, error) {
	st, err := t.fs.Living(int(pid))
	if errors.Is(err, procfs.ErrGone) && t.fs.Hidden(int(pid)) {
		return same, errHidden // by an exec that gained privileges
	}
	if err != nil {
		return same, err
	}
	if st.Ended() {
		return same, procfs.ErrGone
	}
	if st.Start != p.key.Start {
		return replaced, nil
	}
	was := &p.image
	if was.kthread { // it has nothing to compare, and becomes a program only by exec
		if st.Kthread() {
			return same, nil
		}
		return execed, nil
	}
	now := event.ExecID{Layout: st.LayoutNumber()}
	if dev, inode, err := t.fs.ExeFile(st); err == nil {
		now.Dev, now.Inode = dev, inode
	}
	if now.Differs(was.id) {
		return execed, nil
	}
	if !now.Same(was.id) {
		if h, ok := t.hashArgs(st); ok {
			if was.hasArgs && h != was.args {
				return execed, nil
			}
			was.args, was.hasArgs = h, true
		}
	}
	// What is hidden now need not be so next time.
	was.id.Layout = cmp.Or(now.Layout, was.id.Layout)
	was.id.Dev, was.id.Inode = cmp.Or(now.Dev, was.id.Dev), cmp.Or(now.Inode, was.id.Inode)
	return same, nil
}

// hashArgs is not ok for a process without arguments: one whose memory is gone
// looks the same.
func (t *procTable) hashArgs(st procfs.Stat) (hash uint64, ok bool) {
	var a procfs.Args
	var err error
	t.buf, a, err = t.fs.AppendArgs(t.buf[:0], st, t.argsMax)
	return maphash.Bytes(t.seed, t.buf), err == nil && a.Len > 0
}

func (t *procTable) read(_ context.Context, pid int32, p *proc) (event.Event, error) {
	s, err := t.fs.Look(t.boot, int(pid), t.argsMax)
	if err != nil {
		return event.Event{}, err
	}
	if s.Stat.Ended() {
		return event.Event{}, procfs.ErrGone
	}
	x, start := s.Event.Exec, s.Event.Process.Start
	half := s.Torn || s.Event.Known.Has(event.KnownExe) && !s.Event.Known.Has(event.KnownArgs)
	if half && t.waiting[pid] != start {
		// The kernel sets the new program up, and has no arguments to show yet: the
		// next look sees it whole. Once is enough, for one that has none at all.
		t.waiting[pid] = start
		return event.Event{}, errExecing
	}
	delete(t.waiting, pid)
	p.image = image{kthread: s.Stat.Kthread(), id: s.Event.ExecID()}
	if s.Event.Known.Has(event.KnownArgs) && x.ArgsLen > 0 {
		p.image.args, p.image.hasArgs = maphash.String(t.seed, x.Args), true
	}
	return s.Event, nil
}
