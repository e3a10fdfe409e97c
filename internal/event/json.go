package event

import (
	"encoding/hex"
	"strconv"
	"time"
	"unicode/utf8"
)

// AppendJSON appends e as one JSON object, with the names and forms of the
// columns of the views: times in Unix ns beside RFC 3339, processes as text,
// argv as an array. A field that is not known is left out.
func AppendJSON(dst []byte, e *Event) []byte {
	o := object{append(dst, '{')}
	o.string("kind", e.Kind.String())
	o.int("ts", e.Time)
	o.string("time", FormatTime(e.Time))
	o.string("source", e.Source.String())
	if !e.Process.IsZero() {
		o.string("process", e.Process.String())
		o.int("pid", int64(e.Process.PID))
	}
	if e.Known.Has(KnownStart) {
		o.int("start_ns", int64(e.StartNS))
	}
	if e.Known.Has(KnownParent) && !e.Parent.IsZero() {
		o.string("parent", e.Parent.String())
		o.int("ppid", int64(e.Parent.PID))
	}
	switch e.Kind {
	case KindExec, KindExecFailed:
		o.exec(e.Known, e.Exec)
	case KindFork:
		if e.Known.Has(KnownMaker) {
			o.string("maker", e.Fork.Maker.String())
		}
	case KindExit:
		if e.Known.Has(KnownCode) {
			o.int("code", int64(e.Exit.Code))
			o.int("signal", int64(e.Exit.Signal))
			o.bool("core", e.Exit.Core)
		}
		if e.Known.Has(KnownDuration) {
			o.int("duration_ns", e.Exit.DurationNS)
		}
		o.bool("presumed", e.Exit.Presumed)
	case KindGap:
		o.int("until", e.Gap.Until)
		if e.Gap.Of != 0 {
			o.string("of", e.Gap.Of.String())
		}
		if e.Known.Has(KnownLost) {
			o.int("lost", int64(e.Gap.Lost))
		}
		o.string("cause", e.Gap.Cause)
	case KindHash:
		o.int("exec_ts", e.Hash.ExecTime)
		o.string("sha256", hex.EncodeToString([]byte(e.Hash.SHA256)))
		if e.Hash.Exe != "" {
			o.string("exe", e.Hash.Exe)
		}
		o.int("dev", int64(e.Hash.Dev))
		o.int("inode", int64(e.Hash.Inode))
		o.int("size", int64(e.Hash.Size))
		o.int("mtime", e.Hash.MTime)
	}
	return append(o.b, '}')
}

// FormatTime shows Unix ns as RFC 3339 in UTC with nine digits of fraction, so
// that texts sort as times.
func FormatTime(ns int64) string {
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000000Z")
}

// object appends the members of a JSON object.
type object struct{ b []byte }

func (o *object) key(name string) {
	if o.b[len(o.b)-1] != '{' {
		o.b = append(o.b, ',')
	}
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

func (o *object) string(name, v string) { o.key(name); o.b = AppendJSONString(o.b, v) }
func (o *object) int(name string, v int64) {
	o.key(name)
	o.b = strconv.AppendInt(o.b, v, 10)
}
func (o *object) bool(name string, v bool) { o.key(name); o.b = strconv.AppendBool(o.b, v) }
func (o *object) strings(name string, v []string) {
	o.key(name)
	o.b = AppendJSONStrings(o.b, v)
}

func (o *object) exec(k Known, x *Exec) {
	for _, f := range [...]struct {
		known Known
		name  string
		value uint32
	}{
		{KnownUID, "uid", x.UID}, {KnownUID, "gid", x.GID}, {KnownEUID, "euid", x.EUID}, {KnownEUID, "egid", x.EGID},
		{KnownSID, "sid", x.SID}, {KnownNS, "pid_ns", x.PIDNS}, {KnownNS, "mnt_ns", x.MntNS}, {KnownNSPID, "ns_pid", x.NSPID},
		{KnownNlink, "nlink", x.Nlink},
	} {
		if k.Has(f.known) {
			o.int(f.name, int64(f.value))
		}
	}
	if k.Has(KnownAUID) && x.AUID != AUIDUnset {
		o.int("auid", int64(x.AUID))
	}
	tty := TTYName(x.TTY)
	for _, f := range [...]struct {
		known       Known
		name, value string
	}{
		{KnownUser, "user", x.User}, {KnownTTY, "tty", tty}, {KnownExe, "exe", x.Exe}, {KnownInvoked, "invoked", x.Invoked},
		{KnownInterpreter, "interpreter", x.Interpreter}, {KnownCwd, "cwd", x.Cwd}, {KnownComm, "comm", x.Comm},
		{KnownCgroup, "cgroup", x.Cgroup}, {KnownContainer, "container_id", x.ContainerID},
		{KnownSHA256, "sha256", hex.EncodeToString([]byte(x.SHA256))},
	} {
		if k.Has(f.known) && f.value != "" {
			o.string(f.name, f.value)
		}
	}
	if k.Has(KnownArgs) {
		o.strings("args", x.Argv())
		if x.Counted() {
			o.int("argc", int64(x.Argc))
			o.int("args_len", int64(x.ArgsLen))
		}
		o.bool("truncated", x.Truncated)
	}
	if k.Has(KnownFile) {
		o.int("dev", int64(x.Dev))
		o.int("inode", int64(x.Inode))
	}
	if k.Has(KnownFileTimes) {
		o.int("size", int64(x.Size))
		o.int("mtime", x.MTime)
		o.int("ctime", x.CTime)
	}
	if k.Has(KnownFileless) {
		o.bool("fileless", x.Fileless)
	}
	if k.Has(KnownNlink) {
		o.bool("deleted", x.Deleted)
	}
	if k.Has(KnownGained) {
		o.strings("gained", x.Gained.Names())
	}
	if k.Has(KnownEnv) {
		o.strings("env", x.Environ())
	}
	if x.Redacted {
		o.bool("redacted", true)
	}
	if x.Errno != 0 {
		o.int("errno", int64(x.Errno))
	}
}

// AppendJSONStrings appends a JSON array of strings, nil as [].
func AppendJSONStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendJSONString(dst, s)
	}
	return append(dst, ']')
}

// AppendJSONString appends s as a JSON string. A byte that is not UTF-8 is
// shown as the four characters \xNN, which keeps the JSON valid and the byte
// visible; somebody who really typed these four characters looks the same, and
// the exact bytes are in the store's columns that are not JSON.
func AppendJSONString(dst []byte, s string) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		i++
		start = i
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			dst = append(dst, '\\', '\\', 'x', digits[c>>4], digits[c&15])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
