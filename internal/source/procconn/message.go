package procconn

import (
	"encoding/binary"
	"fmt"
)

// The layouts of linux/netlink.h, linux/connector.h and linux/cn_proc.h, in the
// byte order of the machine.
const (
	nlmsgHead  = 16 // struct nlmsghdr
	cnMsgHead  = 20 // struct cn_msg
	procEvHead = 16 // struct proc_event up to its event_data

	nlmsgNoop = 1 // NLMSG_NOOP
	nlmsgDone = 3 // NLMSG_DONE, the type of all connector messages

	cnIdxProc = 1 // CN_IDX_PROC, also the multicast group
	cnValProc = 1 // CN_VAL_PROC

	mcastListen = 1 // PROC_CN_MCAST_LISTEN
	mcastIgnore = 2 // PROC_CN_MCAST_IGNORE

	evNone = 0 // PROC_EVENT_NONE: answer to a request
	evFork = 0x00000001
	evExec = 0x00000002
	evExit = 0x80000000
)

// message is one event of the connector. Of a thread, pid is its id and tgid its
// process.
type message struct {
	what uint32
	time int64 // ns on CLOCK_MONOTONIC

	pid, tgid  uint32
	parentTGID uint32 // fork, and exit since Linux 4.18; 0 = not told
	status     uint32 // exit: as waitpid(2) has it

	ack   uint32 // none: what request it answers
	errno uint32 // none
}

// decode appends the messages of one datagram to dst. Those of other kinds than
// are used here are left out.
func decode(dst []message, b []byte) ([]message, error) {
	ne := binary.NativeEndian
	for len(b) > 0 {
		if len(b) < nlmsgHead {
			return dst, fmt.Errorf("decode netlink message: %d bytes, want at least %d", len(b), nlmsgHead)
		}
		size := ne.Uint32(b)
		if size < nlmsgHead || uint64(size) > uint64(len(b)) {
			return dst, fmt.Errorf("decode netlink message: length %d in %d bytes", size, len(b))
		}
		switch kind := ne.Uint16(b[4:]); kind {
		case nlmsgDone:
			m, use, err := decodeConnector(b[nlmsgHead:size])
			if err != nil {
				return dst, err
			}
			if use {
				dst = append(dst, m)
			}
		case nlmsgNoop:
		default:
			return dst, fmt.Errorf("decode netlink message: type %d of %d bytes", kind, size)
		}
		b = b[min((uint64(size)+3)&^3, uint64(len(b))):] // NLMSG_ALIGN
	}
	return dst, nil
}

func decodeConnector(b []byte) (m message, use bool, err error) {
	ne := binary.NativeEndian
	if len(b) < cnMsgHead {
		return m, false, fmt.Errorf("decode connector message: %d bytes, want at least %d", len(b), cnMsgHead)
	}
	if ne.Uint32(b) != cnIdxProc || ne.Uint32(b[4:]) != cnValProc {
		return m, false, nil
	}
	m.ack = ne.Uint32(b[12:])
	size := int(ne.Uint16(b[16:]))
	if size > len(b)-cnMsgHead {
		return m, false, fmt.Errorf("decode connector message: length %d in %d bytes", size, len(b)-cnMsgHead)
	}
	b = b[cnMsgHead : cnMsgHead+size]
	if len(b) < procEvHead {
		return m, false, fmt.Errorf("decode process event: %d bytes, want at least %d", len(b), procEvHead)
	}
	m.what, m.time = ne.Uint32(b), int64(ne.Uint64(b[8:]))
	need := dataSize(m.what)
	if need == 0 {
		return m, false, nil
	}
	data := b[procEvHead:]
	if len(data) < need {
		return m, false, fmt.Errorf("decode process event %#x: %d bytes of data, want at least %d", m.what, len(data), need)
	}
	switch m.what {
	case evNone:
		m.errno = ne.Uint32(data)
	case evFork:
		m.parentTGID, m.pid, m.tgid = ne.Uint32(data[4:]), ne.Uint32(data[8:]), ne.Uint32(data[12:])
	case evExec:
		m.pid, m.tgid = ne.Uint32(data), ne.Uint32(data[4:])
	case evExit:
		m.pid, m.tgid, m.status = ne.Uint32(data), ne.Uint32(data[4:]), ne.Uint32(data[8:])
		if len(data) >= 24 {
			m.parentTGID = ne.Uint32(data[20:])
		}
	}
	return m, true, nil
}

// dataSize is the least that an event of a kind has; 0 = it is not used here.
func dataSize(what uint32) int {
	switch what {
	case evNone:
		return 4
	case evFork, evExit:
		return 16
	case evExec:
		return 8
	}
	return 0
}

// request is a datagram for the kernel: op alone, which every kernel
// understands, or with the events that are wanted (struct proc_input, Linux
// 6.6). ack comes back plus one.
func request(op, ack uint32, events ...uint32) []byte {
	ne := binary.NativeEndian
	size := 4
	var want uint32
	for _, e := range events {
		size, want = 8, want|e
	}
	b := make([]byte, 0, nlmsgHead+cnMsgHead+8)
	b = ne.AppendUint32(b, uint32(nlmsgHead+cnMsgHead+size))
	b = ne.AppendUint16(b, nlmsgDone)
	b = ne.AppendUint16(b, 0) // flags
	b = ne.AppendUint32(b, 0) // sequence
	b = ne.AppendUint32(b, 0) // port: the kernel's to fill in
	b = ne.AppendUint32(b, cnIdxProc)
	b = ne.AppendUint32(b, cnValProc)
	b = ne.AppendUint32(b, 0) // sequence
	b = ne.AppendUint32(b, ack)
	b = ne.AppendUint16(b, uint16(size))
	b = ne.AppendUint16(b, 0) // flags
	b = ne.AppendUint32(b, op)
	if size == 8 {
		b = ne.AppendUint32(b, want)
	}
	return b
}
