package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"
)

// ErrCodec is wrapped by every error of Decode.
var ErrCodec = errors.New("malformed event")

// Codec encodes the events of one boot; the boot id itself travels once, with
// whatever carries the events. The encoding is unsigned varints and
// length-prefixed strings in the order of the struct fields, the same on every
// platform. Safe for concurrent use.
type Codec struct{ Boot BootID }

// Append encodes e behind dst.
func (c Codec) Append(dst []byte, e *Event) []byte {
	dst = append(dst, byte(e.Kind), byte(e.Source))
	dst = binary.AppendUvarint(dst, uint64(e.Known))
	dst = binary.AppendVarint(dst, e.Time)
	dst = binary.AppendUvarint(dst, uint64(e.Process.PID))
	dst = binary.AppendUvarint(dst, e.Process.Start)
	dst = binary.AppendUvarint(dst, e.StartNS)
	dst = binary.AppendUvarint(dst, uint64(e.Parent.PID))
	dst = binary.AppendUvarint(dst, e.Parent.Start)
	switch e.Kind {
	case KindExec, KindExecFailed:
		dst = appendExec(dst, e.Exec)
	case KindFork:
		if e.Known.Has(KnownMaker) {
			dst = binary.AppendUvarint(dst, uint64(e.Fork.Maker.PID))
			dst = binary.AppendUvarint(dst, e.Fork.Maker.Start)
		}
	case KindExit:
		dst = append(dst, e.Exit.Code, e.Exit.Signal, flags(e.Exit.Core, e.Exit.Presumed))
		dst = binary.AppendVarint(dst, e.Exit.DurationNS)
	case KindGap:
		dst = binary.AppendVarint(dst, e.Gap.Until)
		dst = append(dst, byte(e.Gap.Of))
		dst = binary.AppendUvarint(dst, e.Gap.Lost)
		dst = appendString(dst, e.Gap.Cause)
	case KindHash:
		h := e.Hash
		dst = binary.AppendVarint(dst, h.ExecTime)
		dst = appendString(dst, h.SHA256)
		dst = appendString(dst, h.Exe)
		for _, v := range [...]uint64{h.Dev, h.Inode, h.Size} {
			dst = binary.AppendUvarint(dst, v)
		}
		dst = binary.AppendVarint(dst, h.MTime)
	}
	return dst
}

func appendExec(dst []byte, x *Exec) []byte {
	for _, v := range [...]uint32{x.UID, x.GID, x.EUID, x.EGID, x.AUID, x.SID, x.TTY, x.Argc} {
		dst = binary.AppendUvarint(dst, uint64(v))
	}
	for _, s := range [...]string{x.Exe, x.Invoked, x.Interpreter, x.Cwd, x.Comm, x.Cgroup, x.Args} {
		dst = appendString(dst, s)
	}
	dst = binary.AppendUvarint(dst, x.ArgsLen)
	dst = append(dst, flags(x.Truncated, x.Fileless, x.Deleted, x.Redacted), byte(x.Gained))
	dst = appendString(dst, x.ContainerID)
	for _, v := range [...]uint64{uint64(x.PIDNS), uint64(x.MntNS), uint64(x.NSPID), x.Dev, x.Inode, uint64(x.Nlink)} {
		dst = binary.AppendUvarint(dst, v)
	}
	dst = binary.AppendUvarint(dst, x.Size)
	dst = binary.AppendVarint(dst, x.MTime)
	dst = binary.AppendVarint(dst, x.CTime)
	dst = binary.AppendUvarint(dst, x.Layout)
	dst = appendString(dst, x.SHA256)
	dst = appendString(dst, x.Env)
	return binary.AppendVarint(dst, int64(x.Errno))
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func flags(bits ...bool) (f byte) {
	for i, b := range bits {
		if b {
			f |= 1 << i
		}
	}
	return f
}

// Decode reads one event from the front of b into e and returns the rest. The
// strings of e share b's memory, so b must not be changed afterwards. Errors
// wrap ErrCodec; e is then undefined.
func (c Codec) Decode(b []byte, e *Event) (rest []byte, err error) {
	d := decoder{b: b}
	*e = Event{Kind: Kind(d.byte()), Source: Source(d.byte()), Known: Known(d.uint())}
	e.Time = d.int()
	e.Process = c.key(&d)
	e.StartNS = d.uint()
	e.Parent = c.key(&d)
	switch e.Kind {
	case KindExec, KindExecFailed:
		e.Exec = &Exec{}
		d.exec(e.Exec)
	case KindExit:
		e.Exit = &Exit{Code: d.byte(), Signal: d.byte()}
		f := d.byte()
		e.Exit.Core, e.Exit.Presumed = f&1 != 0, f&2 != 0
		e.Exit.DurationNS = d.int()
	case KindGap:
		e.Gap = &Gap{Until: d.int(), Of: Kind(d.byte()), Lost: d.uint(), Cause: d.string()}
		if e.Gap.Of >= NumKinds { // tables are indexed by it
			d.fail()
		}
	case KindHash:
		e.Hash = &Hash{ExecTime: d.int(), SHA256: d.string(), Exe: d.string(), Dev: d.uint(), Inode: d.uint(), Size: d.uint(), MTime: d.int()}
	case KindFork:
		if e.Known.Has(KnownMaker) {
			e.Fork = &Fork{Maker: c.key(&d)}
		}
	default:
		return nil, fmt.Errorf("%w: kind %d", ErrCodec, e.Kind)
	}
	if d.bad {
		return nil, fmt.Errorf("%w: %s of %d bytes ends early or a number is out of range", ErrCodec, e.Kind, len(b))
	}
	return d.b, nil
}

func (c Codec) key(d *decoder) ProcessKey {
	k := ProcessKey{Boot: c.Boot, PID: d.uint32(), Start: d.uint()}
	if k.IsZero() {
		return ProcessKey{}
	}
	return k
}

// decoder reads from b and remembers the first failure, after which it returns
// zero values only.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uint32() uint32 {
	v := d.uint()
	if v > 1<<32-1 {
		d.fail()
	}
	return uint32(v)
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return ""
	}
	if n == 0 {
		return ""
	}
	s := unsafe.String(&d.b[0], n) // b is never written again: see Decode
	d.b = d.b[n:]
	return s
}

func (d *decoder) exec(x *Exec) {
	for _, p := range [...]*uint32{&x.UID, &x.GID, &x.EUID, &x.EGID, &x.AUID, &x.SID, &x.TTY, &x.Argc} {
		*p = d.uint32()
	}
	for _, p := range [...]*string{&x.Exe, &x.Invoked, &x.Interpreter, &x.Cwd, &x.Comm, &x.Cgroup, &x.Args} {
		*p = d.string()
	}
	x.ArgsLen = d.uint()
	f := d.byte()
	x.Truncated, x.Fileless, x.Deleted = f&1 != 0, f&2 != 0, f&4 != 0
	x.Redacted = f&8 != 0
	x.Gained = Gained(d.byte())
	x.ContainerID = d.string()
	x.PIDNS, x.MntNS, x.NSPID = d.uint32(), d.uint32(), d.uint32()
	x.Dev, x.Inode, x.Nlink = d.uint(), d.uint(), d.uint32()
	x.Size, x.MTime, x.CTime = d.uint(), d.int(), d.int()
	x.Layout = d.uint()
	x.SHA256 = d.string()
	x.Env = d.string()
	errno := d.int()
	if errno != int64(int32(errno)) {
		d.fail()
	}
	x.Errno = int32(errno)
}
