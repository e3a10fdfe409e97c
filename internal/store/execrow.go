package store

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unsafe"

	"github.com/sentineld/sentineld/internal/event"
	"zombiezen.com/go/sqlite"
)

// The columns of exec_rows, in order; in failure_rows errno stands before env, which
// is the last.
const (
	colTS = 1 + iota
	colSeq
	colProc
	colExecNo
	colParent
	colParentImage
	colAncestors
	colSource
	colKnown
	colUID
	colGID
	colEUID
	colEGID
	colAUID
	colUser
	colSID
	colTTY
	colExe
	colInvoked
	colInterpreter
	colCmdline
	colSplits
	colArgsLen
	colArgc
	colCwd
	colComm
	colCgroup
	colContainer
	colPIDNS
	colMntNS
	colNSPID
	colDev
	colInode
	colNlink
	colFlags
	colSHA256
	colEnv
	colLayout

	execColumns   = colLayout
	colErrno      = colEnv
	colFailureEnv = colEnv + 1
)

// The bits of exec_rows.flags; event.Gained has three of them from gainedShift on.
const (
	flagFileless = 1 << iota
	flagDeleted
	flagTruncated
	gainedShift  = iota
	flagRedacted = 1 << 6 // above event.Gained
	flagLateHash = 1 << 7
)

// insertExec stores an exec or exec_failed, with what is above it, and returns its
// key.
func (db *DB) insertExec(e *event.Event, p, parent *process, above *lineage, no int64, a *Appended) (int64, error) {
	s, env := db.st.exec, colEnv
	if e.Kind == event.KindExecFailed {
		s, env = db.st.failure, colFailureEnv
		s.BindInt64(colErrno, int64(e.Exec.Errno))
	} else {
		bindKnown(s, colLayout, int64(e.Exec.Layout), e.Exec.Layout != 0)
	}
	s.BindInt64(colSeq, db.nextSeq())
	s.BindInt64(colProc, p.id)
	s.BindInt64(colExecNo, no)
	s.BindInt64(colSource, int64(e.Source))
	s.BindInt64(colKnown, int64(e.Known))
	if err := db.bindLineage(s, above, parent); err != nil {
		return 0, err
	}
	if err := db.bindStrings(s, e); err != nil {
		return 0, err
	}
	bindNumbers(s, e.Exec, e.Known)
	db.bindArgs(s, e.Exec, e.Known.Has(event.KnownArgs))
	s.BindNull(env)
	if e.Known.Has(event.KnownEnv) {
		s.BindText(env, e.Exec.Env)
	}
	ts, err := db.keys[e.Kind].insert(s, e.Time)
	if err != nil {
		return 0, err
	}
	db.count(a, e.Kind, ts)
	return ts, nil
}

func (db *DB) bindLineage(s *sqlite.Stmt, above *lineage, parent *process) error {
	s.BindNull(colParent)
	s.BindNull(colParentImage)
	if parent != nil {
		s.BindInt64(colParent, parent.id)
		if parent.image != nil {
			s.BindInt64(colParentImage, parent.image.ts)
		}
	}
	return db.bindAncestors(s, colAncestors, above)
}

// bindAncestors binds the id of a lineage, which it stores when it is new.
func (db *DB) bindAncestors(s *sqlite.Stmt, param int, above *lineage) error {
	if above == nil {
		s.BindNull(param)
		return nil
	}
	if above.id == 0 {
		db.scratch = event.AppendJSONStrings(db.scratch[:0], above.exes)
		text, err := db.intern(unsafe.String(&db.scratch[0], len(db.scratch)))
		if err != nil {
			return err
		}
		above.id = text.id
	}
	s.BindInt64(param, above.id)
	return nil
}

func (db *DB) bindStrings(s *sqlite.Stmt, e *event.Event) error {
	x, known := e.Exec, e.Known
	var tty string
	if known.Has(event.KnownTTY) {
		tty = event.TTYName(x.TTY)
	}
	var sum [2 * sha256.Size]byte
	hash := x.SHA256
	if known.Has(event.KnownSHA256) && len(hash) == sha256.Size {
		hash = hexOf(&sum, hash)
	}
	for _, f := range [...]struct {
		param int
		s     string
		known bool
	}{
		{colUser, x.User, known.Has(event.KnownUser)},
		{colTTY, tty, known.Has(event.KnownTTY)},
		{colExe, x.Exe, known.Has(event.KnownExe)},
		{colInvoked, x.Invoked, known.Has(event.KnownInvoked) && (x.Invoked != x.Exe || !known.Has(event.KnownExe))},
		{colInterpreter, x.Interpreter, known.Has(event.KnownInterpreter)},
		{colCwd, x.Cwd, known.Has(event.KnownCwd)},
		{colComm, x.Comm, known.Has(event.KnownComm)},
		{colCgroup, x.Cgroup, known.Has(event.KnownCgroup)},
		{colContainer, x.ContainerID, known.Has(event.KnownContainer)},
		{colSHA256, hash, known.Has(event.KnownSHA256)},
	} {
		if err := db.bindString(s, f.param, f.s, f.known); err != nil {
			return err
		}
	}
	return nil
}

// hexOf writes a hash in hex into buf, which the result is in.
func hexOf(buf *[2 * sha256.Size]byte, hash string) string {
	return unsafe.String(&buf[0], hex.Encode(buf[:], unsafe.Slice(unsafe.StringData(hash), len(hash))))
}

// bindString binds the id of a string in the dictionary.
func (db *DB) bindString(s *sqlite.Stmt, param int, text string, known bool) error {
	if !known {
		s.BindNull(param)
		return nil
	}
	e, err := db.intern(text)
	if err != nil {
		return err
	}
	s.BindInt64(param, e.id)
	return nil
}

func bindNumbers(s *sqlite.Stmt, x *event.Exec, known event.Known) {
	bindKnown(s, colUID, int64(x.UID), known.Has(event.KnownUID))
	bindKnown(s, colGID, int64(x.GID), known.Has(event.KnownUID))
	bindKnown(s, colEUID, int64(x.EUID), known.Has(event.KnownEUID))
	bindKnown(s, colEGID, int64(x.EGID), known.Has(event.KnownEUID))
	bindKnown(s, colAUID, int64(x.AUID), known.Has(event.KnownAUID))
	bindKnown(s, colSID, int64(x.SID), known.Has(event.KnownSID))
	bindKnown(s, colPIDNS, int64(x.PIDNS), known.Has(event.KnownNS))
	bindKnown(s, colMntNS, int64(x.MntNS), known.Has(event.KnownNS))
	bindKnown(s, colNSPID, int64(x.NSPID), known.Has(event.KnownNSPID))
	bindKnown(s, colDev, int64(x.Dev), known.Has(event.KnownFile))
	bindKnown(s, colInode, int64(x.Inode), known.Has(event.KnownFile))
	bindKnown(s, colNlink, int64(x.Nlink), known.Has(event.KnownNlink))

	flags := int64(x.Gained) << gainedShift
	if x.Fileless {
		flags |= flagFileless
	}
	if x.Deleted {
		flags |= flagDeleted
	}
	if x.Truncated {
		flags |= flagTruncated
	}
	if x.Redacted {
		flags |= flagRedacted
	}
	s.BindInt64(colFlags, flags)
}

func (db *DB) bindArgs(s *sqlite.Stmt, x *event.Exec, known bool) {
	if !known {
		s.BindNull(colCmdline)
		s.BindNull(colSplits)
		s.BindNull(colArgsLen)
		s.BindNull(colArgc)
		return
	}
	args := strings.TrimSuffix(x.Args, "\x00")
	db.scratch = append(db.scratch[:0], args...)
	for i, c := range db.scratch {
		if c == 0 {
			db.scratch[i] = ' '
		}
	}
	s.BindText(colCmdline, unsafe.String(unsafe.SliceData(db.scratch), len(db.scratch)))
	splits, needed := appendSplits(db.scratch[:0], x.Args)
	db.scratch = splits
	if needed {
		s.BindBytes(colSplits, splits)
	} else {
		s.BindNull(colSplits)
	}
	whole := uint64(0) // as the view computes it when the column is NULL
	if x.Args != "" {
		whole = uint64(len(args)) + 1
	}
	bindKnown(s, colArgsLen, int64(x.ArgsLen), x.ArgsLen != whole)
	bindKnown(s, colArgc, int64(x.Argc), x.Counted())
}
