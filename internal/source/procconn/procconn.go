// Package procconn reads process events from the netlink process connector
// (CONFIG_PROC_EVENTS) and their details from /proc. It needs CAP_NET_ADMIN and
// the initial network, pid and user namespaces, and neither BPF nor BTF.
//
// The connector tells of every fork, exec and exit at the moment it happens,
// with pids and exit status, and of nothing else. What it tells is exact: the
// order, the parent, the end of a process at its last thread. The rest is read
// from /proc a moment later, and is what the process was then:
//
//   - A program that ends before it was read is told as an exec of which only
//     the process and its parent are known. So is one that executes another
//     program before it was read.
//   - A process that is gone before its start was read is named by the time of
//     its fork; where a tick ends between the two, its key is one tick off what
//     /proc would have shown.
//   - What a program changes about itself at once (directory, ids, title) shows
//     as changed.
//   - The path as given to execve and the interpreter of a script are never
//     known, nor is the exact start. How long a process lived is counted from
//     the message of its fork, and not known where that was not seen.
//   - waitpid(2) need not tell the status of the thread that ended last. Where
//     threads ended with different statuses since the last exec, and no signal
//     decides it, the exit has no code.
//
// To find short programs alive, the first messages of a FlushDelay are read as
// they come, up to eagerReads times; only then does the reader sleep. All events
// are held until FlushDelay is over.
//
// BUG(procconn): the kernel does not tell when it has no memory for a message. It
// numbers them, but counts those that are filtered out as well. What shows up
// without having been forked is told as a gap; what never shows up is not.
package procconn

import (
	"errors"
	"time"
)

// SettleTime bounds how long before its exec event a new program can show in
// /proc: so long an event is held, and two windows of FlushDelay at most. The kernel
// sends the event last, a few microseconds later, but on a busy CPU another task may
// have the next slice or two, 3 ms each.
//
// BUG(procconn): a process that is held up there for longer (a CPU quota that is
// used up, up to 100 ms; a frozen cgroup; a tracer with PTRACE_O_TRACEEXEC) sends
// it later. If just then details of the exec before are read, they are those of
// the new program, and are told unless the next exec comes while they are held.
const SettleTime = 20 * time.Millisecond

// Causes of gaps.
const (
	causeOverflow = "process connector's buffer overflowed"
	causeUnnamed  = "process was gone before it could be identified"
)

// errNoAnswer: the kernel ignores requests from other pid and user namespaces,
// and so does one without CONFIG_PROC_EVENTS.
var errNoAnswer = errors.New("the kernel does not answer (needs CONFIG_PROC_EVENTS and the initial pid and user namespaces, or use --source=poll)")

// errSilent is the Err of a source whose subscription tells of nothing. Before
// Linux 6.6 anybody's surplus PROC_CN_MCAST_IGNORE can do that to all.
var errSilent = errors.New("the process connector tells of nothing any more (another program may have switched it off)")

// errLost is the Err of a source whose socket went away under it.
var errLost = errors.New("read process connector: its socket was closed by somebody else")
