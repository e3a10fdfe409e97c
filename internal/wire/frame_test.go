package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sentineld/sentineld/internal/event"
)

func TestFrameRoundTrip(t *testing.T) {
	for _, f := range []Frame{
		{Type: TypeAck, Seq: 1<<64 - 1},
		{Type: TypeBatch, Seq: 1, Payload: []byte("x")},
		{Type: TypeSync, Seq: 2, Payload: bytes.Repeat([]byte{0xff}, MaxPayload)},
		{Type: TypeHello, Payload: []byte("{}")},
	} {
		got, err := readFrame(bytes.NewReader(appendFrame(nil, f)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(f, got); diff != "" {
			t.Errorf("type %d (-sent +got):\n%s", f.Type, diff)
		}
	}
}

func TestFrameErrors(t *testing.T) {
	good := appendFrame(nil, Frame{Type: TypeBatch, Seq: 7, Payload: []byte("payload")})
	change := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	for _, test := range []struct {
		name string
		in   []byte
		want error
		text string
	}{
		{"nothing", nil, io.EOF, ""},
		{"part of a header", good[:headerSize-1], ErrFrame, "ends inside a header"},
		{"no payload", good[:headerSize], ErrFrame, "ends inside a payload"},
		{"part of a payload", good[:len(good)-1], ErrFrame, "ends inside a payload"},
		{"other magic", change(0, 'X'), ErrFrame, `starts with "XDW`},
		{"other version", change(3, Version+1), ErrVersion, "peer speaks 4, this program 3 (install procmond and sentineld of the same release)"},
		{"too long", change(10, 0xff), ErrFrame, "at most 1048576"},
		{"other checksum", change(12, good[12]+1), ErrFrame, "checksum of frame 7 differs"},
		{"other payload", change(len(good)-1, 0), ErrFrame, "checksum of frame 7 differs"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := readFrame(bytes.NewReader(test.in))
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error %v, want %v with %q", err, test.want, test.text)
			}
		})
	}
}

// A length that is out of bounds is refused on sight of the header: neither is
// memory made for it nor a byte of it read.
func TestFrameLengthIsCheckedFirst(t *testing.T) {
	h := appendFrame(nil, Frame{Type: TypeBatch})
	binary.LittleEndian.PutUint32(h[8:], MaxPayload+1)
	r := bytes.NewReader(append(h, "more"...))
	if _, err := readFrame(r); !errors.Is(err, ErrFrame) {
		t.Fatal(err)
	}
	if r.Len() != 4 {
		t.Errorf("%d bytes behind the header are left, want 4", r.Len())
	}
}

// A server with a full payload must never make a frame that its client refuses:
// the largest event fits, however much was gathered before it.
func TestLargestEventFits(t *testing.T) {
	path := strings.Repeat("p", 4096)
	args := strings.Repeat("a", 131072) // --args-max at most
	e := event.Event{Kind: event.KindExec, Time: -1 << 63, StartNS: 1<<64 - 1, Exec: &event.Exec{
		Exe: path, Invoked: path, Interpreter: path, Cwd: path, Comm: path, Cgroup: path, Args: args, ContainerID: path, SHA256: path,
		Env: args, // what procfs keeps at most
	}}
	if n := frameTarget + len(event.Codec{}.Append(nil, &e)); n > MaxPayload {
		t.Errorf("a frame may reach %d bytes, at most %d", n, MaxPayload)
	}
}

func FuzzReadFrame(f *testing.F) {
	c := event.Codec{Boot: testBoot}
	f.Add([]byte{})
	f.Add(appendFrame(nil, Frame{Type: TypeHello, Payload: []byte(`{"session":"x","seq":3}`)}))
	batch := appendEvents(nil, c, append(forks(1, 2), numbered(event.KindExec, 3, 10)))
	f.Add(appendFrame(appendFrame(nil, Frame{Type: TypeBatch, Seq: 9, Payload: batch}), Frame{Type: TypeSyncEnd, Seq: 10}))
	f.Add([]byte("SDW\x03\x04\x00\x00\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		for {
			before := r.Len()
			fr, err := readFrame(r)
			if err == io.EOF {
				if before != 0 {
					t.Fatalf("EOF with %d bytes left", before)
				}
				return
			}
			if err != nil {
				if !errors.Is(err, ErrFrame) && !errors.Is(err, ErrVersion) {
					t.Fatalf("error %v has no kind", err)
				}
				return
			}
			if len(fr.Payload) > MaxPayload {
				t.Fatalf("payload of %d bytes", len(fr.Payload))
			}
			read := bytes.Clone(b[len(b)-before : len(b)-r.Len()])
			clear(read[5:8]) // reserved
			if again := appendFrame(nil, fr); !bytes.Equal(again, read) {
				t.Fatalf("read %q, writes %q", read, again)
			}
			if _, err := decodeEvents(c, fr.Payload); err != nil && !errors.Is(err, event.ErrCodec) {
				t.Fatalf("decode: %v", err)
			}
		}
	})
}
