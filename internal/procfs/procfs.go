// Package procfs reads processes from a Linux /proc: what is running now, as
// the same record, with the same identity, that a live exec event would give.
//
// The decoders are pure functions over the bytes of the files and work on
// every platform. The methods of FS need Linux; elsewhere they return an error
// that wraps errors.ErrUnsupported.
package procfs

import (
	"fmt"
	"os"

	"github.com/sentineld/sentineld/internal/event"
)

// ErrGone means that the process ended, or that its pid went to another
// process while it was read. It wraps os.ErrNotExist.
var ErrGone = fmt.Errorf("process is gone: %w", os.ErrNotExist)

// Unreachable stands in front of a path that no root leads to, as in getcwd(2).
const Unreachable = "(unreachable)"

// FS is a mounted proc file system. It holds nothing open, and is safe for
// concurrent use. Pids, and with them process keys, are those of the pid
// namespace that the mount belongs to, which must be the initial one for them
// to equal the kernel's.
type FS struct {
	Root string // "" = /proc
	// Env names the variables to read of each process, as it was given them; see
	// SelectEnv. nil = none.
	Env []string
}

func (f FS) root() string {
	if f.Root == "" {
		return "/proc"
	}
	return f.Root
}

// Seen is a process as it was read once.
type Seen struct {
	// Event is an exec with SourceSnapshot whose Time is the wall clock of
	// ReadAt. What could not be read, for want of privileges or because there
	// is none (kernel threads have no executable), is not in Known.
	Event event.Event

	// ReadAt is on the boot clock in ns (CLOCK_BOOTTIME), taken before the
	// first read: what the process did earlier is in Event, what it did later
	// may or may not be.
	ReadAt int64

	// Stat is from the last read, after all of Event.
	Stat Stat

	// Torn: it did an exec each time it was read. What may be of another program
	// than Stat is not in Known.
	Torn bool

	// Exiting, which only Snapshot sets: the process is on its way out, and who
	// watches it may have been told its end already.
	Exiting bool
}

// key names the process that a stat is of.
func (s Stat) key(boot event.BootID) event.ProcessKey {
	return event.ProcessKey{Boot: boot, PID: uint32(s.PID), Start: s.Start}
}

// Args tells about an argument list what its kept bytes do not.
type Args struct {
	Count     uint32
	Len       uint64 // bytes of all arguments with their NULs, before any cut
	Truncated bool
}
