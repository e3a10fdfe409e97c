// Package event is the vocabulary of SentinelD: what can happen to a process,
// how a process is named so that no other one has the same name, which
// fields of a record are real, and the stable encoding of all of it.
//
// Every other package speaks in these types; this one imports nothing but the
// standard library.
package event

import (
	"math"
	"strings"
)

// Kind says what happened.
type Kind uint8

// The kinds are stored and sent: never renumber them.
const (
	KindExec       Kind = 1 // a program was executed, or was found running (SourceSnapshot)
	KindFork       Kind = 2 // a process (never a thread) was created
	KindExit       Kind = 3 // a process ended: its last thread is gone
	KindExecFailed Kind = 4 // execve or execveat returned an error
	KindGap        Kind = 5 // events were lost, or could not be seen
	KindHash       Kind = 6 // the executable of an earlier exec was hashed
)

// NumKinds is one more than the largest Kind, for tables indexed by it.
const NumKinds = 7

var kindNames = [NumKinds]string{"", "exec", "fork", "exit", "exec_failed", "gap", "hash"}

func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return "unknown"
	}
	return kindNames[k]
}

// Source names the facility that an event was read from.
type Source uint8

// The sources are stored and sent: never renumber them.
const (
	SourceEBPF     Source = 1 // Linux: CO-RE programs on scheduler tracepoints
	SourceProcconn Source = 2 // Linux: netlink process connector
	SourcePoll     Source = 3 // anywhere: two looks at the process list, compared
	SourceSnapshot Source = 4 // the process was already there when somebody looked
	SourceAgent    Source = 5 // the agent itself: gaps that only it can know of
)

var sourceNames = [...]string{"", "ebpf", "procconn", "poll", "snapshot", "agent"}

func (s Source) String() string {
	if s == 0 || int(s) >= len(sourceNames) {
		return "unknown"
	}
	return sourceNames[s]
}

// Event is one record. Which of Exec, Fork, Exit, Gap and Hash are set follows from Kind;
// which fields of them are real is told by Known, and a field that is not
// known holds its zero value and means nothing.
//
// An Event and what it points to are not changed after they were sent on; the
// strings share memory with the batch they came in.
type Event struct {
	Kind   Kind
	Source Source
	Known  Known

	// Time is in Unix nanoseconds: when it happened (Known has Time), else
	// when it was noticed. For a gap it is the start of the range.
	Time int64

	Process ProcessKey
	StartNS uint64     // exact start on the boot clock, ns (Known has Start)
	Parent  ProcessKey // the kernel's parent at that moment (Known has Parent)

	Exec *Exec // exec, exec_failed
	Fork *Fork // fork whose Parent did not make the process (Known has Maker), else nil
	Exit *Exit // exit
	Gap  *Gap  // gap
	Hash *Hash // hash
}

// Exec describes an executed program and who executed it.
type Exec struct {
	UID, GID   uint32 // real ids (Known has UID)
	EUID, EGID uint32 // effective ids (Known has EUID)
	AUID       uint32 // login uid; AUIDUnset when nobody logged in
	SID        uint32 // session id, a pid
	TTY        uint32 // controlling terminal as a device number, 0 = none; see TTYName
	Argc       uint32 // number of arguments as the kernel counted them

	Exe         string // resolved path of the executable
	Invoked     string // path as it was given to execve
	Interpreter string // what the kernel ran instead of Invoked, if it is another file
	Cwd         string
	Comm        string
	Cgroup      string // path below the cgroup root, or its nearest levels

	// Args holds the arguments as the kernel keeps them: each one followed by
	// a NUL byte. When Truncated, ArgsLen is the true length, or no more than
	// what is kept where nobody knows it, and the last argument may be cut. Use
	// Argv to split it.
	Args      string
	ArgsLen   uint64 // bytes of all arguments with their NULs, before any cut; see Counted
	Truncated bool

	ContainerID string // 64 hex digits, "" = not in a container
	PIDNS       uint32 // inode of the namespace
	MntNS       uint32
	NSPID       uint32 // pid inside its own pid namespace
	Dev         uint64 // device of the executable, as stat(2) gives it; from eBPF that of its file system, which differs on btrfs and overlayfs
	Inode       uint64
	Nlink       uint32
	Fileless    bool // executed from memory: a memfd, or a file of tmpfs, ramfs or hugetlbfs without a link or in no mount namespace
	Deleted     bool // the name in Exe was removed, or the executable has none
	Gained      Gained

	// What tells one content of a file from the next, with Dev and Inode.
	Size         uint64 // bytes (Known has FileTimes)
	MTime, CTime int64  // Unix ns

	// Layout is where the kernel placed the program in memory, as one number, 0 = not
	// known; see ExecID. It is never shown.
	Layout uint64

	SHA256 string // 32 raw bytes
	Errno  int32  // exec_failed only

	// Env holds the variables that were asked for, NAME=VALUE, each followed by
	// a NUL byte, in the order of the process. Of an environment that was not read to its end
	// they are the first, the last of them may be cut, and none is not known.
	Env string

	Redacted bool // secrets in Args or Env were replaced, see package pipeline

	User string // name of UID; the agent looks it up, it is not encoded
}

// AUIDUnset is the login uid of a process that does not belong to a login
// (audit(7): (uid_t)-1).
const AUIDUnset = math.MaxUint32

// Argv splits Args. Empty arguments are kept; no arguments give nil.
func (x *Exec) Argv() []string {
	if x.Args == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(x.Args, "\x00"), "\x00")
}

// Counted tells whether ArgsLen and Argc are known, if Args is. They are not where
// arguments were cut that nobody has counted, as those of a failed exec; both are
// then 0.
func (x *Exec) Counted() bool { return !x.Truncated || x.ArgsLen > 0 }

// Environ splits Env; none gives nil.
func (x *Exec) Environ() []string {
	if x.Env == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(x.Env, "\x00"), "\x00")
}

// Cmdline is Args joined by one space, as shown to people and matched by rules.
func (x *Exec) Cmdline() string {
	return strings.ReplaceAll(strings.TrimSuffix(x.Args, "\x00"), "\x00", " ")
}

// Name is the last element of Exe.
func (x *Exec) Name() string { return x.Exe[strings.LastIndexByte(x.Exe, '/')+1:] }

// Gained is the set of privileges that a process has after an exec and did not
// have before it.
type Gained uint8

// The bits are stored: never renumber them.
const (
	GainedSetuid Gained = 1 << iota
	GainedSetgid
	GainedCaps
)

// Names lists what was gained.
func (g Gained) Names() []string {
	var names []string
	for i, n := range [...]string{"setuid", "setgid", "caps"} {
		if g&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// Fork tells who made a process of which Parent, as the kernel says, is another one
// (CLONE_PARENT of clone(2)). Until its first exec the process runs what Maker runs.
type Fork struct{ Maker ProcessKey }

// Exit describes the end of a process as waitpid(2) tells it.
type Exit struct {
	Code     uint8 // exit(3) code (Known has Code)
	Signal   uint8 // terminating signal, 0 = none (Known has Code)
	Core     bool  // dumped core (Known has Code)
	Presumed bool  // not witnessed: the process was found to be gone

	// DurationNS is how long the process lived, on the boot clock, which nobody
	// sets (Known has Duration).
	DurationNS int64
}

// Hash tells the content of the file that an earlier exec event executed, when
// it was not known yet at the exec. Its event's Process is that of the exec.
type Hash struct {
	ExecTime   int64  // Time of the exec event, Unix ns
	SHA256     string // 32 raw bytes
	Exe        string // resolved path, as in the exec event; "" where it is not known there
	Dev, Inode uint64 // as in Exec
	Size       uint64 // bytes
	MTime      int64  // Unix ns
}

// Gap is a range of time in which events were lost or could not be seen. It
// starts at the event's Time.
type Gap struct {
	Until int64  // Unix ns
	Of    Kind   // what was lost; 0 = any kind
	Lost  uint64 // how many (Known has Lost)
	Cause string

	// Healed: the source has told by itself what is different now, as one does
	// that looks at everything each time, so that nobody has to look again. It is
	// not encoded.
	Healed bool
}

// Newest is until when a batch tells what happened, Unix ns; 0 = of no time. What
// happened before a hash, before a counted loss or one of a single kind was told, or
// before a snapshot saw a process, may still be on its way.
func Newest(batch []Event) (at int64) {
	at = NewestEvent(batch)
	for i := range batch {
		switch e := &batch[i]; {
		case e.Gap == nil:
		case e.Known.Has(KnownLost):
			at = max(at, e.Time)
		case e.Gap.Of == 0:
			at = max(at, e.Gap.Until)
		}
	}
	return at
}

// NewestEvent is when the newest of what happened in a batch did, Unix ns; 0 = nothing
// did. What happened before that was told before. A gap does not count: it may be told
// ahead of events from before its end that still wait in the source.
func NewestEvent(batch []Event) (at int64) {
	for i := range batch {
		if e := &batch[i]; e.Kind != KindHash && e.Kind != KindGap && e.Source != SourceSnapshot {
			at = max(at, e.Time)
		}
	}
	return at
}
