package poll

import (
	"context"
	"errors"
	"hash/maphash"
	"os"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/process"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
)

// hostTable reads the process table through gopsutil, on every platform but
// Linux. The start in its keys counts units of 10 ms on that platform's own
// clock, which is the wall clock at the process's start, not the boot clock:
// it tells processes of one host apart, and is no time to compute with.
//
// BUG(poll): gopsutil cannot tell when a process started on OpenBSD, and on
// Windows not for processes that it may not open. Their keys hold when they
// were first seen, so they are other ones after a restart of the agent, and a
// pid that is reused between two looks is missed.
type hostTable struct {
	boot    event.BootID
	argsMax int
	seed    maphash.Seed
	goos    string
	born    map[int32]uint64 // first seen, for those without a start; pruned to the pids of the last look
}

func newHostTable(o source.Options, goos string) *hostTable {
	return &hostTable{boot: o.Boot, argsMax: o.ArgsMax, seed: maphash.MakeSeed(), goos: goos, born: make(map[int32]uint64)}
}

func (t *hostTable) pids(ctx context.Context) ([]int32, error) {
	pids, err := process.PidsWithContext(ctx)
	if err != nil {
		return nil, err
	}
	live := make(map[int32]bool, len(pids))
	for _, pid := range pids {
		live[pid] = true
	}
	for pid := range t.born {
		if !live[pid] {
			delete(t.born, pid)
		}
	}
	return pids, nil
}

// start is half of the identity. Without one there is no such process.
func (t *hostTable) start(ctx context.Context, pr *process.Process) (uint64, error) {
	if ended(ctx, pr) {
		return 0, os.ErrNotExist
	}
	ms, err := pr.CreateTimeWithContext(ctx)
	switch {
	case err == nil && ms > 0:
		return uint64(ms) / 10, nil
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case t.goos != "openbsd" && !errors.Is(err, os.ErrPermission):
		return 0, os.ErrNotExist
	}
	if there, err := process.PidExistsWithContext(ctx, pr.Pid); err == nil && !there {
		return 0, os.ErrNotExist
	}
	if _, ok := t.born[pr.Pid]; !ok {
		t.born[pr.Pid] = uint64(time.Now().UnixMilli()) / 10
	}
	return t.born[pr.Pid], nil
}

func (t *hostTable) look(ctx context.Context, pid int32, p *proc) (change, error) {
	pr := &process.Process{Pid: pid} // never one of the last look: it caches
	start, err := t.start(ctx, pr)
	if err != nil {
		return same, err
	}
	if start != p.key.Start {
		return replaced, nil
	}
	if t.goos == "windows" { // has no exec
		return same, nil
	}
	was := &p.image
	if exe, err := pr.ExeWithContext(ctx); err == nil && exe != "" {
		if was.exe != "" && exe != was.exe {
			return execed, nil
		}
		was.exe = exe
	}
	if argv, err := pr.CmdlineSliceWithContext(ctx); err == nil && len(argv) > 0 {
		h := maphash.String(t.seed, joinArgs(argv))
		if was.hasArgs && h != was.args {
			return execed, nil
		}
		was.args, was.hasArgs = h, true
	}
	return same, nil
}

func (t *hostTable) read(ctx context.Context, pid int32, p *proc) (event.Event, error) {
	pr := &process.Process{Pid: pid}
	start, err := t.start(ctx, pr)
	if err != nil {
		return event.Event{}, err
	}
	x := &event.Exec{}
	e := event.Event{
		Kind: event.KindExec, Source: event.SourceSnapshot, Time: time.Now().UnixNano(),
		Process: event.ProcessKey{Boot: t.boot, PID: uint32(pid), Start: start}, Exec: x,
	}
	if ppid, err := pr.PpidWithContext(ctx); err == nil && ppid > 0 && ppid != pid {
		// Windows keeps the pid of a parent that ended, whoever has it now.
		parent, err := t.start(ctx, &process.Process{Pid: ppid})
		if err == nil && parent <= start {
			e.Parent = event.ProcessKey{Boot: t.boot, PID: uint32(ppid), Start: parent}
			e.Known |= event.KnownParent
		}
	}
	known := func(s string, err error, field event.Known) string {
		if err != nil || s == "" { // gopsutil's "" is often "not permitted"
			return ""
		}
		e.Known |= field
		return s
	}
	exe, err := pr.ExeWithContext(ctx)
	x.Exe = known(exe, err, event.KnownExe)
	name, err := pr.NameWithContext(ctx)
	x.Comm = known(name, err, event.KnownComm)
	cwd, err := pr.CwdWithContext(ctx)
	x.Cwd = known(cwd, err, event.KnownCwd)
	p.image = image{exe: x.Exe}
	if argv, err := pr.CmdlineSliceWithContext(ctx); err == nil && len(argv) > 0 {
		args := joinArgs(argv)
		p.image.args, p.image.hasArgs = maphash.String(t.seed, args), true
		x.Args, x.ArgsLen, x.Argc = args[:min(len(args), max(t.argsMax, 0))], uint64(len(args)), uint32(len(argv))
		x.Truncated = len(x.Args) < len(args)
		e.Known |= event.KnownArgs
	}
	uids, _ := pr.UidsWithContext(ctx)
	gids, _ := pr.GidsWithContext(ctx)
	setIDs(t.goos, &e, uids, gids)

	// Whose details were these? Asked of a new Process, which caches nothing.
	if again, err := t.start(ctx, &process.Process{Pid: pid}); err != nil || again != start {
		return event.Event{}, os.ErrNotExist
	}
	return e, nil
}

// setIDs knows what gopsutil's lists hold where: real, effective and saved,
// but on macOS of the user ids the effective one alone, and on the BSDs the
// number of groups in place of the effective group.
func setIDs(goos string, e *event.Event, uids, gids []uint32) {
	x := e.Exec
	switch {
	case goos == "darwin" && len(uids) > 0 && len(gids) > 1:
		x.EUID, x.EGID = uids[0], gids[1]
		e.Known |= event.KnownEUID
	case len(uids) > 1 && len(gids) > 1:
		x.UID, x.GID = uids[0], gids[0]
		e.Known |= event.KnownUID
		if !strings.HasSuffix(goos, "bsd") {
			x.EUID, x.EGID = uids[1], gids[1]
			e.Known |= event.KnownEUID
		}
	}
}

func joinArgs(argv []string) string { return strings.Join(argv, "\x00") + "\x00" }
