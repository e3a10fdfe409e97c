package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/sentineld/sentineld/internal/event"
)

// Stat is what /proc/PID/stat says, as far as it is used here
// (proc_pid_stat(5)).
type Stat struct {
	PID     int
	Comm    string // raw bytes: may hold anything but NUL
	State   byte   // of the first thread: 'R', 'S', 'D', ... 'Z', 'X'
	PPID    int    // 0 = none in this pid namespace
	Session int    // a pid
	TTY     uint32 // device number, 0 = none
	Flags   uint32 // PF_* of linux/sched.h
	Threads int
	Start   uint64 // ticks of event.TickNS on the boot clock
	Layout  Layout

	// Thread is one that lives, of a process whose first thread has ended and has
	// given up what it shared: program, directory, namespaces. 0 = the first lives,
	// or none does. Living sets it.
	Thread int
}

// file is the name of a file in the directory of a process, of a thread that lives.
func (s Stat) file(name string) string {
	if s.Thread == 0 {
		return name
	}
	return "task/" + strconv.Itoa(s.Thread) + "/" + name
}

// Flags of linux/sched.h that tell why there is nothing to read.
const (
	flagExiting = 0x00000004 // PF_EXITING, of the first thread: the address space may be gone
	flagKthread = 0x00200000 // PF_KTHREAD: there never was one
)

// flagRandomize is PF_RANDOMIZE: the last exec drew its addresses. The kernel clears
// it at each (begin_new_exec), and sets it unless randomize_va_space or the
// personality say otherwise (load_elf_binary).
const flagRandomize = 0x00400000

// sessionNone is the session of a process that was reaped while its stat was
// read (kernel: do_task_stat without lock_task_sighand). Only its name, state and
// start are real.
const sessionNone = -1

// Ended reports whether the process has ended and only waits to be reaped. A
// first thread that is a zombie while others run has not ended.
func (s Stat) Ended() bool { return s.Zombie() && s.Threads <= 1 }

// Zombie reports whether the thread that the state is of, in Stat the first one, has
// ended: 'Z', or 'X' and 'x', which were shown for a moment before 4.14.
func (s Stat) Zombie() bool { return s.State == 'Z' || s.State == 'X' || s.State == 'x' }

// Kthread reports whether this is a thread of the kernel.
func (s Stat) Kthread() bool { return s.Flags&flagKthread != 0 }

// Layout is where exec placed a program in memory, unless the program says
// otherwise: anybody may, with prctl(2), PR_SET_MM_MAP. The kernel shows it only to
// readers that may ptrace the process.
type Layout struct {
	StartCode, EndCode, StartStack uint64 // who means no harm leaves these alone
	ArgStart, ArgEnd, EnvEnd       uint64 // moved by a new title, too
}

// Known reports whether the kernel has shown the layout.
func (l Layout) Known() bool { return l.StartStack != 0 }

// SameExec reports whether both layouts can be of one exec. With randomised
// addresses two execs have the same with a chance below 1 in a million.
func (l Layout) SameExec(o Layout) bool {
	return l.StartCode == o.StartCode && l.EndCode == o.EndCode && l.StartStack == o.StartStack
}

// Number is the layout as event.Exec has it, 0 unless it is known. random: the
// addresses were drawn.
func (l Layout) Number(random bool) uint64 {
	if !l.Known() || l.StartCode == 0 { // exec sets the stack early, and the code at its end
		return 0
	}
	const odd = 0x9e3779b97f4a7c15
	n := (l.StartCode*odd^l.EndCode)*odd ^ l.StartStack
	n = n * odd >> 18 << 1 // the 46 bits that depend on all: 6 bytes in the store
	if random {
		n |= event.LayoutRandom
	}
	return n
}

// LayoutNumber is that of the program that runs, 0 = not known.
func (s Stat) LayoutNumber() uint64 { return s.Layout.Number(s.Flags&flagRandomize != 0) }

// execedSince reports whether the process did an exec after it was seen as first, or
// was or is in the middle of one, where it has no layout yet.
func (s Stat) execedSince(first Stat) bool {
	if s.Comm != first.Comm && !s.Layout.Known() {
		return true
	}
	noMemory := s.Zombie() || s.Flags&flagExiting != 0
	return !noMemory && !s.Layout.SameExec(first.Layout)
}

var errStat = errors.New("malformed stat")

// ParseStat decodes /proc/PID/stat. The name is between the first and the last
// parenthesis, whatever it holds: nothing behind it has one.
func ParseStat(b []byte) (Stat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return Stat{}, fmt.Errorf("%w: no name in parentheses", errStat)
	}
	pid, ok := atoi(bytes.TrimSpace(b[:open]))
	if !ok || pid == 0 {
		return Stat{}, fmt.Errorf("%w: pid %q", errStat, string(b[:open])) // string: b must not escape
	}
	s := Stat{PID: int(pid)}
	rest := bytes.TrimPrefix(bytes.TrimRight(b[end+1:], "\n"), []byte{' '})
	n := 2
	for len(rest) > 0 {
		var f []byte
		if i := bytes.IndexByte(rest, ' '); i >= 0 {
			f, rest = rest[:i], rest[i+1:]
		} else {
			f, rest = rest, nil
		}
		if n++; !s.set(n, f) {
			return Stat{}, fmt.Errorf("%w: field %d is %q", errStat, n, string(f))
		}
	}
	if n < 22 {
		return Stat{}, fmt.Errorf("%w: %d fields, want at least 22", errStat, n)
	}
	s.Comm = string(b[open+1 : end])
	return s, nil
}

// set takes the field with number n of proc_pid_stat(5).
func (s *Stat) set(n int, f []byte) bool {
	var small *int
	var big *uint64
	switch n {
	case 3:
		if len(f) != 1 {
			return false
		}
		s.State = f[0]
		return true
	case 4:
		small = &s.PPID
	case 6:
		if string(f) == "-1" {
			s.Session = sessionNone
			return true
		}
		small = &s.Session
	case 7: // an int in the kernel: large minors make it negative
		v, err := strconv.ParseInt(string(f), 10, 64)
		s.TTY = uint32(v)
		return err == nil && (v == int64(int32(v)) || v == int64(s.TTY))
	case 9:
		v, ok := atoi(f)
		s.Flags = uint32(v)
		return ok && v == uint64(s.Flags)
	case 20:
		small = &s.Threads
	case 22:
		big = &s.Start
	case 26:
		big = &s.Layout.StartCode
	case 27:
		big = &s.Layout.EndCode
	case 28:
		big = &s.Layout.StartStack
	case 48:
		big = &s.Layout.ArgStart
	case 49:
		big = &s.Layout.ArgEnd
	case 51:
		big = &s.Layout.EnvEnd
	default:
		return true
	}
	v, ok := atoi(f)
	if small != nil {
		*small = int(v)
		return ok && v <= 1<<31-1
	}
	*big = v
	return ok
}

// atoi reads an unsigned decimal without allocating.
func atoi(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		next := v*10 + uint64(c-'0')
		if v > (1<<64-1)/10 || next < v {
			return 0, false
		}
		v = next
	}
	return v, true
}

// Status is what /proc/PID/status says, as far as it is used here.
type Status struct {
	UID, EUID uint32
	GID, EGID uint32
	NSPID     uint32 // pid in the innermost pid namespace, 0 = not shown (before Linux 4.1)
}

var errStatus = errors.New("malformed status")

// ParseStatus decodes /proc/PID/status.
func ParseStatus(b []byte) (Status, error) {
	var s Status
	var uids, gids bool
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		name, value, _ := bytes.Cut(line, []byte{':'})
		switch string(name) {
		case "Uid":
			uids = ids(value, &s.UID, &s.EUID)
		case "Gid":
			gids = ids(value, &s.GID, &s.EGID)
		case "NSpid":
			value = bytes.TrimSpace(value)
			if v, ok := atoi(value[bytes.LastIndexAny(value, " \t")+1:]); ok && v <= 1<<31-1 {
				s.NSPID = uint32(v)
			}
		}
	}
	if !uids || !gids {
		return Status{}, fmt.Errorf("%w: no Uid or no Gid", errStatus)
	}
	return s, nil
}

// ids takes the real and the effective one of "real effective saved fs".
func ids(b []byte, ruid, euid *uint32) bool {
	for _, p := range [...]*uint32{ruid, euid} {
		b = bytes.TrimLeft(b, " \t")
		end := bytes.IndexAny(b, " \t")
		if end < 0 {
			end = len(b)
		}
		v, ok := atoi(b[:end])
		if !ok || v > 1<<32-1 {
			return false
		}
		*p, b = uint32(v), b[end:]
	}
	return true
}
