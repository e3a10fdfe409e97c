package procconn

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

// datagram is a message as the kernel sends it.
func datagram(what uint32, data ...uint32) []byte {
	ne := binary.NativeEndian
	b := request(0, 41, 0) // of the right length up to the event
	b = b[:nlmsgHead+cnMsgHead]
	b = ne.AppendUint32(b, what)
	b = ne.AppendUint32(b, 1) // cpu
	b = ne.AppendUint64(b, 7_000_000_001)
	for _, d := range data {
		b = ne.AppendUint32(b, d)
	}
	ne.PutUint32(b, uint32(len(b)))
	ne.PutUint16(b[32:], uint16(len(b)-nlmsgHead-cnMsgHead))
	return b
}

func TestDecode(t *testing.T) {
	const at = 7_000_000_001
	for name, c := range map[string]struct {
		in   []byte
		want []message
	}{
		"fork":     {datagram(evFork, 10, 9, 12, 11, 0, 0), []message{{what: evFork, time: at, parentTGID: 9, pid: 12, tgid: 11, ack: 41}}},
		"exec":     {datagram(evExec, 12, 11, 0, 0, 0, 0), []message{{what: evExec, time: at, pid: 12, tgid: 11, ack: 41}}},
		"exit":     {datagram(evExit, 12, 11, 0x8b, 17, 8, 7), []message{{what: evExit, time: at, pid: 12, tgid: 11, status: 0x8b, parentTGID: 7, ack: 41}}},
		"old exit": {datagram(evExit, 12, 11, 256, 17), []message{{what: evExit, time: at, pid: 12, tgid: 11, status: 256, ack: 41}}},
		"answer":   {datagram(evNone, 1, 0, 0, 0, 0, 0), []message{{what: evNone, time: at, errno: 1, ack: 41}}},
		"comm":     {datagram(0x200, 12, 11, 1, 2, 3, 4), nil},
		"two": {slices.Concat(datagram(evExec, 1, 1), datagram(evExec, 2, 2)),
			[]message{{what: evExec, time: at, pid: 1, tgid: 1, ack: 41}, {what: evExec, time: at, pid: 2, tgid: 2, ack: 41}}},
		"no operation":      {func() []byte { b := make([]byte, 18); b[0], b[4] = 18, nlmsgNoop; return b }(), nil},
		"another connector": {func() []byte { b := datagram(evExec, 1, 1); b[16]++; return b }(), nil},
		"nothing":           {nil, nil},
	} {
		got, err := decode(nil, c.in)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

func TestDecodeMalformed(t *testing.T) {
	change := func(at int, v byte) []byte {
		b := datagram(evFork, 1, 1, 2, 2, 0, 0)
		b[at] = v
		return b
	}
	for want, in := range map[string][]byte{
		"15 bytes, want at least 16":                    make([]byte, 15),
		"length 0 in 76 bytes":                          change(0, 0),
		"length 255 in 76 bytes":                        change(0, 255),
		"type 2 of 76 bytes":                            change(4, 2),
		"connector message: 19 bytes":                   {35, 0, 0, 0, nlmsgDone, 34: 0},
		"connector message: length 255 in 40":           change(32, 255),
		"process event: 15 bytes":                       change(32, 15),
		"event 0x1: 15 bytes of data, want at least 16": change(32, 31),
	} {
		if got, err := decode(nil, in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v, want %q", got, err, want)
		}
	}
}

func TestRequest(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the bytes below are for little-endian machines")
	}
	for want, got := range map[string][]byte{
		"28000000" + "0300000000000000" + "00000000" + "0100000001000000" + "00000000" + "05000000" + "04000000" + "02000000":              request(mcastIgnore, 5),
		"2c000000" + "0300000000000000" + "00000000" + "0100000001000000" + "00000000" + "05000000" + "08000000" + "01000000" + "03000080": request(mcastListen, 5, evFork, evExec, evExit),
	} {
		if hex.EncodeToString(got) != want {
			t.Errorf("got %x, want %s", got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(datagram(evFork, 1, 1, 2, 2, 0, 0))
	f.Add(slices.Concat(datagram(evExec, 1, 1), datagram(evExit, 2, 2, 256, 17, 0, 0)))
	f.Add(request(mcastListen, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := slices.Clone(b)
		got, err := decode(nil, b)
		if !slices.Equal(b, before) {
			t.Error("the input was changed")
		}
		if len(got) > len(b)/(nlmsgHead+cnMsgHead+procEvHead) {
			t.Errorf("%d messages in %d bytes, %v", len(got), len(b), err)
		}
		for _, m := range got {
			if dataSize(m.what) == 0 {
				t.Errorf("message of kind %#x", m.what)
			}
		}
	})
}

// TestWait has the statuses of threads in the order of their ends, the first
// thread's marked, and what waitpid(2) tells.
func TestWait(t *testing.T) {
	type end struct {
		leader bool
		status uint32
	}
	const l, o = true, false
	for name, c := range map[string]struct {
		ends []end
		want int // -1 = not known
	}{
		"alone":                             {[]end{{l, 0x700}}, 0x700},
		"core, alone":                       {[]end{{l, 0x8b}}, 0x8b},
		"others before, same":               {[]end{{o, 0x700}, {o, 0x700}, {l, 0x700}}, 0x700},
		"others before, another":            {[]end{{o, 0}, {l, 0x700}}, -1}, // either may have been the last to begin its end
		"others before, differing":          {[]end{{o, 0}, {o, 0x700}, {l, 0x700}}, -1},
		"others before, then a signal":      {[]end{{o, 0}, {o, 9}, {l, 9}}, 9},
		"others before by a signal":         {[]end{{o, 9}, {l, 0x700}}, -1},
		"seccomp ends the first thread":     {[]end{{o, 0}, {l, 31}}, -1},
		"all killed":                        {[]end{{o, 9}, {l, 9}, {o, 9}}, 9},
		"first thread first, same":          {[]end{{l, 0}, {o, 0}}, 0},
		"first thread first, another":       {[]end{{l, 0}, {o, 0x300}}, -1},
		"first thread first, then a signal": {[]end{{l, 0}, {o, 0}, {o, 15}}, 15},
		"seccomp ends the last thread":      {[]end{{l, 0}, {o, 31}}, -1},
		"core by another, after":            {[]end{{l, 11}, {o, 11}, {o, 0x8b}}, 0x8b},
		"core by another, before":           {[]end{{o, 0x8b}, {l, 11}}, 0x8b},
		"core after the first thread":       {[]end{{l, 0}, {o, 6}, {o, 0x86}, {o, 6}}, 0x86},
		"first thread not seen":             {[]end{{o, 0}}, -1},
	} {
		var s statuses
		for _, e := range c.ends {
			s.add(e.leader, e.status)
		}
		got, ok := s.wait()
		if !ok && c.want != -1 || ok && int(got) != c.want {
			t.Errorf("%s: %#x, %v, want %#x", name, got, ok, c.want)
		}
	}
}
