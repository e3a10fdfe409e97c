package wire

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

// Client is sentineld's end. Next belongs to one goroutine; Ack, Ask and Close
// may be called from others.
type Client struct {
	Welcome Welcome
	Boot    event.BootID

	conn io.ReadWriteCloser
	r    *bufio.Reader

	mu sync.Mutex // of writes to conn
}

// greetTimeout bounds how long a server may take to answer. A procmond that is
// just being started answers when its source is open: on a slow machine an old
// kernel takes many seconds to verify BPF programs, and on a busy one minutes.
const greetTimeout = 5 * time.Minute

var errNoAnswer = fmt.Errorf("no answer in %v", greetTimeout)

// Dial shakes hands over conn, which it closes on failure and takes over
// otherwise. It fails when ctx ends and after five minutes without an answer.
func Dial(ctx context.Context, conn io.ReadWriteCloser, h Hello) (_ *Client, err error) {
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	hello, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, greetTimeout, errNoAnswer)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	// A busy server refuses and hangs up without waiting for a hello, so what it
	// said counts more than that this could not be written.
	_, writeErr := conn.Write(appendFrame(nil, Frame{Type: TypeHello, Payload: hello}))
	c := &Client{conn: conn, r: bufio.NewReaderSize(conn, 2*frameTarget)}
	f, err := readFrame(c.r)
	switch {
	case err == nil && f.Type == TypeRefuse && string(f.Payload) == ErrBusy.Error():
		return nil, ErrBusy
	case err == nil && f.Type == TypeRefuse:
		return nil, fmt.Errorf("greet procmond: refused: %.200q", f.Payload)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("greet procmond: %w", context.Cause(ctx))
	case writeErr != nil:
		return nil, fmt.Errorf("greet procmond: %w", writeErr)
	case err != nil:
		return nil, fmt.Errorf("greet procmond: %w", err)
	case f.Type != TypeWelcome:
		return nil, fmt.Errorf("greet procmond: %w: type %d: %.100q", ErrFrame, f.Type, f.Payload)
	}
	if err := json.Unmarshal(f.Payload, &c.Welcome); err != nil {
		return nil, fmt.Errorf("greet procmond: %w: %v", ErrFrame, err)
	}
	if c.Boot, err = event.ParseBootID(c.Welcome.Boot); err != nil {
		return nil, fmt.Errorf("greet procmond: %w: %v", ErrFrame, err)
	}
	return c, nil
}

// Message is one frame from the server, decoded.
type Message struct {
	Type   Type
	Seq    uint64
	Events []event.Event   // Batch and Sync; they own their memory
	Status json.RawMessage // Status
}

// Next waits for the next message. io.EOF means that the server hung up
// between two frames.
func (c *Client) Next() (Message, error) {
	f, err := readFrame(c.r)
	if err != nil {
		return Message{}, err
	}
	m := Message{Type: f.Type, Seq: f.Seq}
	switch f.Type {
	case TypeBatch, TypeSync:
		m.Events, err = decodeEvents(event.Codec{Boot: c.Boot}, f.Payload)
	case TypeStatus:
		m.Status = f.Payload
	case TypeSyncEnd:
	default:
		err = fmt.Errorf("%w: type %d from the server", ErrFrame, f.Type)
	}
	return m, err
}

// Ack tells the server that all frames up to seq are stored.
func (c *Client) Ack(seq uint64) error { return c.write(Frame{Type: TypeAck, Seq: seq}) }

// Ask asks for a Status message, which Next will return.
func (c *Client) Ask() error { return c.write(Frame{Type: TypeAsk}) }

func (c *Client) write(f Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.conn.Write(appendFrame(nil, f))
	return err
}

// Close hangs up; a Next that waits returns an error.
func (c *Client) Close() error { return c.conn.Close() }
