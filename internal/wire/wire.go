// Package wire carries events from procmond to its one client: framed,
// versioned, length-limited and checked, over any byte stream (a unix socket or
// a pair of pipes).
//
// The client opens with Hello and says up to where it has stored the stream of
// which session. The server answers with Welcome and sends every frame behind
// that point which it still holds. A frame is held until the client has
// acknowledged it, so a client that was killed loses nothing as long as the
// server's queue had room; what did not fit is counted and told as a gap,
// followed by a complete list of the live processes (a sync). The
// acknowledgements are the flow control too: with a full queue of
// unacknowledged frames the server takes no more, and the events wait in the
// kernel's buffer.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/sentineld/sentineld/internal/event"
)

// Version of the protocol. Peers of different versions do not talk.
const Version = 3

// MaxPayload is the most bytes in a frame; a single event of the largest size
// fits with room to spare.
const MaxPayload = 1 << 20

var (
	// ErrFrame is wrapped by errors about bytes that are not a valid frame.
	ErrFrame = errors.New("malformed frame")
	// ErrVersion is wrapped when the peer speaks another version.
	ErrVersion = errors.New("other protocol version")
	// ErrBusy is wrapped when the server already has its one client.
	ErrBusy = errors.New("procmond already has a client")
)

// Type of a frame.
type Type uint8

// Frames from the client: Hello, Ack, Ask. All others are the server's.
const (
	TypeHello   Type = 1 // JSON Hello
	TypeWelcome Type = 2 // JSON Welcome
	TypeRefuse  Type = 3 // text: why the server hangs up
	TypeBatch   Type = 4 // events
	TypeSync    Type = 5 // events: a part of the list of all live processes
	TypeSyncEnd Type = 6 // the list is complete; no payload
	TypeAck     Type = 7 // no payload; Seq is the last frame that is stored
	TypeAsk     Type = 8 // ask for a Status
	TypeStatus  Type = 9 // JSON, whatever the server's owner says of itself
)

// Frame is one message. Batch, Sync and SyncEnd frames are numbered from 1 in
// the order of the stream; Seq is 0 in the others but Ack. The Sync frames of a
// list and its SyncEnd follow each other; a list that a Batch interrupts was
// given up and means nothing.
type Frame struct {
	Type    Type
	Seq     uint64
	Payload []byte
}

// The header is magic (4 bytes), type (1), three zero bytes, payload length
// (4), CRC-32C of payload (4), seq (8); little-endian.
const headerSize = 24

var magic = [4]byte{'S', 'D', 'W', Version}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrame encodes f behind dst.
func appendFrame(dst []byte, f Frame) []byte {
	dst = append(dst, magic[:]...)
	dst = append(dst, byte(f.Type), 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(f.Payload)))
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(f.Payload, castagnoli))
	dst = binary.LittleEndian.AppendUint64(dst, f.Seq)
	return append(dst, f.Payload...)
}

// readFrame reads one frame into memory of its own. The error is io.EOF only
// between frames.
func readFrame(r io.Reader) (Frame, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return Frame{}, fmt.Errorf("%w: ends inside a header", ErrFrame)
		}
		return Frame{}, err
	}
	if [3]byte(h[:3]) != [3]byte(magic[:3]) {
		return Frame{}, fmt.Errorf("%w: starts with %q", ErrFrame, h[:4])
	}
	if h[3] != Version {
		return Frame{}, fmt.Errorf("%w: peer speaks %d, this program %d (install procmond and sentineld of the same release)", ErrVersion, h[3], Version)
	}
	n := binary.LittleEndian.Uint32(h[8:])
	if n > MaxPayload {
		return Frame{}, fmt.Errorf("%w: payload of %d bytes, at most %d", ErrFrame, n, MaxPayload)
	}
	f := Frame{Type: Type(h[4]), Seq: binary.LittleEndian.Uint64(h[16:])}
	if n > 0 {
		f.Payload = make([]byte, n)
		if _, err := io.ReadFull(r, f.Payload); err != nil {
			return Frame{}, fmt.Errorf("%w: ends inside a payload", ErrFrame)
		}
	}
	if crc32.Checksum(f.Payload, castagnoli) != binary.LittleEndian.Uint32(h[12:]) {
		return Frame{}, fmt.Errorf("%w: checksum of frame %d differs", ErrFrame, f.Seq)
	}
	return f, nil
}

// Hello is the client's opening.
type Hello struct {
	Session string `json:"session,omitempty"` // of the frames below; "" = none stored
	Seq     uint64 `json:"seq,omitempty"`     // last frame of that session that is stored
}

// Welcome is the server's answer.
type Welcome struct {
	Session string          `json:"session"` // of this run of the server
	Boot    string          `json:"boot"`    // event.BootID of all events
	Resumed bool            `json:"resumed"` // nothing is missing behind Hello's point
	Told    bool            `json:"told"`    // what is missing behind it, the stream tells as gaps
	Status  json.RawMessage `json:"status"`
}

// appendEvents encodes a batch as payload: the events one after the other.
func appendEvents(dst []byte, c event.Codec, batch []event.Event) []byte {
	for i := range batch {
		dst = c.Append(dst, &batch[i])
	}
	return dst
}

// decodeEvents is the reverse. The events share payload's memory.
func decodeEvents(c event.Codec, payload []byte) ([]event.Event, error) {
	batch := make([]event.Event, 0, len(payload)/96+1)
	for len(payload) > 0 {
		var e event.Event
		var err error
		if payload, err = c.Decode(payload, &e); err != nil {
			return nil, fmt.Errorf("decode batch, event %d: %w", len(batch), err)
		}
		batch = append(batch, e)
	}
	return batch, nil
}
