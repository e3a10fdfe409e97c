package event

// Known is the set of fields of an Event that are real. What is not in it was
// not seen, and is NULL wherever it is shown.
type Known uint64

// The bits are stored and sent: never renumber them.
const (
	KnownTime        Known = 1 << iota // Time is when it happened, not when it was noticed
	KnownStart                         // StartNS
	KnownParent                        // Parent
	KnownUID                           // UID, GID
	KnownEUID                          // EUID, EGID
	KnownAUID                          // AUID
	KnownSID                           // SID
	KnownTTY                           // TTY
	KnownExe                           // Exe
	KnownInvoked                       // Invoked
	KnownInterpreter                   // Interpreter
	KnownArgs                          // Args, ArgsLen, Truncated, Argc
	KnownCwd                           // Cwd
	KnownComm                          // Comm
	KnownCgroup                        // Cgroup
	KnownContainer                     // ContainerID
	KnownNS                            // PIDNS, MntNS
	KnownNSPID                         // NSPID
	KnownFile                          // Dev, Inode
	KnownNlink                         // Nlink, Deleted
	KnownFileless                      // Fileless
	KnownGained                        // Gained
	KnownSHA256                        // SHA256
	KnownCode                          // Code, Signal, Core
	KnownLost                          // Gap.Lost
	KnownUser                          // User
	KnownFileTimes                     // Size, MTime, CTime
	KnownEnv                           // Env
	KnownDuration                      // DurationNS
	KnownMaker                         // Fork
)

// knownNames has the view's column names of each bit, in bit order.
var knownNames = [...][]string{
	{"time"}, {"start"}, {"parent"}, {"uid", "gid"}, {"euid", "egid"}, {"auid"}, {"sid"}, {"tty"},
	{"exe"}, {"invoked"}, {"interpreter"}, {"args"}, {"cwd"}, {"comm"}, {"cgroup"}, {"container_id"},
	{"pid_ns", "mnt_ns"}, {"ns_pid"}, {"dev", "inode"}, {"nlink", "deleted"}, {"fileless"}, {"gained"},
	{"sha256"}, {"code", "signal", "core"}, {"lost"}, {"user"},
	{"size", "mtime", "ctime"}, {"env"}, {"duration_ns"}, {"maker"},
}

// Has reports whether all of the fields are known.
func (k Known) Has(fields Known) bool { return k&fields == fields }

// Names lists the known fields by the names of their columns.
func (k Known) Names() []string {
	names := make([]string, 0, 32)
	for bit, n := range knownNames {
		if k&(1<<bit) != 0 {
			names = append(names, n...)
		}
	}
	return names
}
