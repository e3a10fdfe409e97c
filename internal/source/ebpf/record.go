package ebpf

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
)

// The layout of bpf/record.h. All supported architectures are little-endian.
const (
	kindExec       = 1
	kindFork       = 2
	kindExit       = 3
	kindExecFailed = 4
	kindMax        = 5

	headSize = 40
	forkSize = headSize + 16
	exitSize = headSize + 8
	execSize = headSize + 208
)

const (
	execCreds = 1 << iota
	execAUID
	execSID
	execTTY
	execArgs
	execFile
	execNS
	execNSPID
	execInvoked
	execInterp
	execCgroup
	execMemory
	execGained
	execTimes
	execEnv
	execArgsCut
	execCgroupV1
	execRandom
	execUnlinked
)

// How far a path was followed up.
const (
	walkCut = iota
	walkWhole
	walkAnon
	walkLost
	walkDeep
)

// tooDeep stands in front of a path with more levels than the programs follow.
const tooDeep = "(too deep)"

// decoder turns ring buffer records into events. It holds what the records do
// not carry.
type decoder struct {
	boot event.BootID
	// wallOffset is what to add to a time on the boot clock to get Unix ns.
	wallOffset int64
	env        []string // names of the variables to keep

	execs []event.Exec // a slab that is handed out element by element
	exits []event.Exit
	bytes []byte // the same for strings
}

// settle moves the last event to its place in time within a batch. Records have the
// order in which they found room in the ring buffer, and take their time after that: one
// whose CPU is kept from running in between has a later time than those behind it. What a
// process and its parent did stays in order.
func settle(batch []event.Event) {
	i := len(batch) - 1
	for ; i > 0; i-- {
		before := &batch[i-1]
		if last := &batch[i]; before.Time <= last.Time ||
			before.Process == last.Process || before.Process == last.Parent || before.Parent == last.Process {
			return
		}
		batch[i-1], batch[i] = batch[i], batch[i-1]
	}
}

// decode appends the event of one record to batch. raw may be reused
// afterwards. An error means that the programs and this decoder do not belong
// together; the record's kind is in it.
func (d *decoder) decode(batch []event.Event, raw []byte) ([]event.Event, error) {
	if len(raw) < headSize {
		return batch, fmt.Errorf("decode record: %d bytes, want at least %d", len(raw), headSize)
	}
	u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	if u32(raw[4:]) == 0 {
		return batch, nil // the programs may read nothing any more: see ring.check
	}
	start, parentStart := u64(raw[16:]), u64(raw[24:])
	e := event.Event{
		Source:  event.SourceEBPF,
		Known:   event.KnownTime | event.KnownStart | event.KnownParent,
		Time:    int64(u64(raw[8:])) + d.wallOffset,
		Process: event.ProcessKey{Boot: d.boot, PID: u32(raw[4:]), Start: event.TicksOf(start)},
		StartNS: start,
	}
	if pid := u32(raw[32:]); pid != 0 {
		e.Parent = event.ProcessKey{Boot: d.boot, PID: pid, Start: event.TicksOf(parentStart)}
	} // pid 0 is the idle task, the parent of 1 and 2: no process
	switch kind := u32(raw); {
	case kind == kindFork && len(raw) >= forkSize:
		e.Kind = event.KindFork
		if pid := u32(raw[headSize+8:]); pid != 0 {
			e.Known |= event.KnownMaker
			e.Fork = &event.Fork{Maker: event.ProcessKey{Boot: d.boot, PID: pid, Start: event.TicksOf(u64(raw[headSize:]))}}
		}
	case kind == kindExit && len(raw) >= exitSize:
		e.Kind = event.KindExit
		e.Known |= event.KnownCode | event.KnownDuration
		status := u32(raw[headSize:])
		e.Exit = d.newExit()
		*e.Exit = event.Exit{Code: uint8(status >> 8), Signal: uint8(status & 0x7f), Core: status&0x80 != 0, DurationNS: int64(u64(raw[8:]) - start)}
	case (kind == kindExec || kind == kindExecFailed) && len(raw) >= execSize:
		e.Kind = event.Kind(kind)
		e.Exec = d.newExec()
		if err := d.decodeExec(&e, raw); err != nil {
			return batch, err
		}
	default:
		return batch, fmt.Errorf("decode record: kind %d of %d bytes", kind, len(raw))
	}
	return append(batch, e), nil
}

func (d *decoder) decodeExec(e *event.Event, raw []byte) error {
	u32, u64 := binary.LittleEndian.Uint32, binary.LittleEndian.Uint64
	b := raw[headSize:]
	x, flags := e.Exec, u32(b)
	x.Argc, x.ArgsLen = u32(b[4:]), u64(b[8:])
	x.Inode, x.Size, x.MTime, x.CTime = u64(b[16:]), u64(b[24:]), int64(u64(b[32:])), int64(u64(b[40:]))
	x.Dev, x.Nlink = userDev(u32(b[48:])), u32(b[52:])
	x.UID, x.GID, x.EUID, x.EGID = u32(b[56:]), u32(b[60:]), u32(b[64:]), u32(b[68:])
	x.AUID, x.SID = u32(b[72:]), u32(b[76:])
	x.TTY = statDev(u32(b[80:]), u32(b[84:]))
	x.PIDNS, x.MntNS, x.NSPID = u32(b[88:]), u32(b[92:]), u32(b[96:])
	layout := procfs.Layout{StartCode: u64(b[184:]), EndCode: u64(b[192:]), StartStack: u64(b[200:])}
	x.Layout = layout.Number(flags&execRandom != 0)
	x.Gained, x.Errno = event.Gained(u32(b[100:])), int32(u32(b[104:]))

	// One copy for all strings; the parts are cut from it.
	rest := raw[execSize:]
	var lens [8]int
	total := 0
	for i := range lens {
		lens[i] = int(u32(b[120+4*i:]))
		if lens[i] > len(rest)-total {
			return fmt.Errorf("decode record: exec with string %d of %d bytes behind %d in a record of %d", i, lens[i], total, len(raw))
		}
		total += lens[i]
	}
	args, env, others := rest[:lens[0]], rest[lens[0]:lens[0]+lens[1]], rest[lens[0]+lens[1]:total]
	all := d.string(args, others) // of the environment little is kept
	next := func(i int) (s string) {
		s, all = all[:lens[i]], all[lens[i]:]
		return s
	}
	// Of what is not known nothing is left: a piece of a path is another path.
	path := func(i int, walked uint32) string {
		if s := next(i); walked != walkCut {
			return d.path(s, walked)
		}
		return ""
	}
	levels := func(i int, known uint32) string {
		if flags&known != 0 {
			return path(i, walkWhole)
		}
		return path(i, walkCut)
	}
	text := func(i int, known uint32) string {
		if s := next(i); flags&known != 0 {
			return s
		}
		return ""
	}
	x.Args = next(0)
	x.Truncated = uint64(lens[0]) < x.ArgsLen
	if e.Kind == event.KindExecFailed { // nobody has counted what was asked for
		x.ArgsLen, x.Truncated = uint64(lens[0]), flags&execArgsCut != 0
		if x.Truncated {
			x.ArgsLen, x.Argc = 0, 0 // see Exec.Counted
		}
	}
	exeWalked, cwdWalked := u32(b[112:]), u32(b[116:])
	x.Exe, x.Cwd = path(2, exeWalked), path(3, cwdWalked)
	x.Invoked, x.Interpreter = text(4, execInvoked), text(5, execInterp)
	if dir := int32(u32(b[108:])); e.Kind == event.KindExecFailed && flags&execInvoked != 0 {
		x.Invoked = invokedAt(dir, x.Invoked)
	}
	x.Cgroup = levels(6, execCgroup)
	v1 := ""
	if lens[7] > 0 {
		v1 = levels(7, execCgroupV1)
	}
	if flags&execEnv == 0 && len(env) > 0 {
		env = append(env[:len(env):len(env)], 0) // there may be more of the last one
	}
	x.Env = procfs.SelectEnv(env, d.env)
	comm := b[168:184]
	for i, c := range comm {
		if c == 0 {
			comm = comm[:i]
			break
		}
	}
	x.Comm = d.string(comm, nil)

	k := e.Known | event.KnownComm
	for _, f := range [...]struct {
		bit   uint32
		known event.Known
	}{
		{execCreds, event.KnownUID | event.KnownEUID}, {execAUID, event.KnownAUID},
		{execSID, event.KnownSID}, {execTTY, event.KnownTTY}, {execArgs, event.KnownArgs},
		{execFile, event.KnownFile | event.KnownNlink | event.KnownFileless},
		{execNS, event.KnownNS}, {execNSPID, event.KnownNSPID}, {execInvoked, event.KnownInvoked},
		{execInterp, event.KnownInterpreter}, {execGained, event.KnownGained},
		{execTimes, event.KnownFileTimes}, {execCgroup, event.KnownCgroup | event.KnownContainer},
	} {
		if flags&f.bit != 0 {
			k |= f.known
		}
	}
	if flags&execEnv != 0 || x.Env != "" { // what was not read may hold some, too
		k |= event.KnownEnv
	}
	if exeWalked != walkCut {
		k |= event.KnownExe
	}
	if cwdWalked != walkCut {
		k |= event.KnownCwd
	}
	e.Known = k
	if k.Has(event.KnownNlink) {
		x.Deleted = x.Nlink == 0 || flags&execUnlinked != 0
		x.Fileless = flags&execMemory != 0 && (x.Nlink == 0 || exeWalked == walkLost)
		if flags&execMemory != 0 && !x.Fileless && exeWalked != walkWhole {
			e.Known &^= event.KnownFileless // it was not followed up to its mount
		}
	}
	if e.Known.Has(event.KnownContainer) {
		x.ContainerID = procfs.ContainerID(x.Cgroup, v1)
		if x.ContainerID == "" && flags&execCgroupV1 == 0 { // it may be in what was not read
			e.Known &^= event.KnownContainer
		}
	}
	return nil
}

// path joins names that are in leaf-first order, each ended by a NUL. One that
// does not begin at a root has no slash in front: "memfd:name", or a word that
// says why.
func (d *decoder) path(names string, walked uint32) string {
	if names == "" {
		return "/"
	}
	names = strings.TrimSuffix(names, "\x00")
	b := d.grab(len(procfs.Unreachable) + len(names) + 1)
	anon := walked == walkAnon
	switch walked {
	case walkDeep:
		b = append(b, tooDeep...)
	case walkLost:
		b = append(b, procfs.Unreachable...)
		if root := strings.LastIndexByte(names, 0) + 1; names[root:] == "/" { // of a file system, not of what is bound
			names = names[:max(root-1, 0)]
		}
	}
	if names == "" {
		return procfs.Unreachable + "/"
	}
	for names != "" {
		i := strings.LastIndexByte(names, 0)
		if !anon {
			b = append(b, '/')
		}
		anon = false
		b = append(b, names[i+1:]...)
		names = names[:max(i, 0)]
	}
	d.bytes = d.bytes[:len(d.bytes)+len(b)]
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// invokedAt is a path that was given to execveat(2) as the kernel names it (alloc_bprm in
// fs/exec.c), and as a program that runs shows it.
func invokedAt(dir int32, path string) string {
	switch {
	case dir == atFDCWD || strings.HasPrefix(path, "/"):
		return path
	case path == "":
		return fmt.Sprintf("/dev/fd/%d", dir)
	}
	return fmt.Sprintf("/dev/fd/%d/%s", dir, path)
}

// atFDCWD is AT_FDCWD of linux/fcntl.h.
const atFDCWD = -100

// userDev turns the kernel's device number (20 bits of minor) into the one
// that stat(2) shows (glibc gnu_dev_makedev).
func userDev(dev uint32) uint64 {
	major, minor := uint64(dev>>20), uint64(dev&(1<<20-1))
	return major<<8 | minor&0xff | minor&^0xff<<12
}

// statDev is the form in /proc/PID/stat (kernel new_encode_dev).
func statDev(major, minor uint32) uint32 { return minor&0xff | major<<8 | minor&^0xff<<12 }

const slab = 256

func (d *decoder) newExec() *event.Exec {
	if len(d.execs) == 0 {
		d.execs = make([]event.Exec, slab)
	}
	x := &d.execs[0]
	d.execs = d.execs[1:]
	return x
}

func (d *decoder) newExit() *event.Exit {
	if len(d.exits) == 0 {
		d.exits = make([]event.Exit, slab)
	}
	x := &d.exits[0]
	d.exits = d.exits[1:]
	return x
}

// string copies a and b, one behind the other, into the slab.
func (d *decoder) string(a, b []byte) string {
	n := len(a) + len(b)
	if n == 0 {
		return ""
	}
	dst := append(append(d.grab(n), a...), b...)
	d.bytes = d.bytes[:len(d.bytes)+n]
	return unsafe.String(&dst[0], n)
}

// grab returns an empty slice with room for n bytes in the slab. What is used of
// it is kept by lengthening d.bytes.
func (d *decoder) grab(n int) []byte {
	if cap(d.bytes)-len(d.bytes) < n {
		d.bytes = make([]byte, 0, max(64<<10, n))
	}
	return d.bytes[len(d.bytes):len(d.bytes):cap(d.bytes)]
}
