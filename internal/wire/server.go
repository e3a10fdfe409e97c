package wire

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

// ServerOptions has a usable zero value.
type ServerOptions struct {
	Boot       event.BootID
	QueueBytes int                    // held for the client at most; 0 = 8 MiB
	Status     func() json.RawMessage // answer to Ask; nil = null
	NeedSync   func()                 // called when a client needs the list of live processes
}

// Server is procmond's end: it takes events from one producer and serves them
// to one client at a time.
type Server struct {
	o       ServerOptions
	session string
	queue   *queue
	busy    atomic.Bool
}

// NewServer makes a server with a session of its own.
func NewServer(o ServerOptions) *Server {
	if o.QueueBytes == 0 {
		o.QueueBytes = 8 << 20
	}
	if o.Status == nil {
		o.Status = func() json.RawMessage { return json.RawMessage("null") }
	}
	if o.NeedSync == nil {
		o.NeedSync = func() {}
	}
	return &Server{o: o, session: rand.Text(), queue: newQueue(event.Codec{Boot: o.Boot}, o.QueueBytes)}
}

// Put hands on events. It waits while the queue is full and a client is there,
// and drops and counts while there is none. The error is ctx's.
func (s *Server) Put(ctx context.Context, batch []event.Event) error {
	_, err := s.queue.put(ctx, TypeBatch, batch)
	return err
}

// Sync hands on the list of all live processes; the client finds the news in it
// by itself. No Put may run meanwhile.
func (s *Server) Sync(ctx context.Context, live, _ []event.Event) error {
	if dropped, err := s.queue.put(ctx, TypeSync, live); err != nil || dropped {
		return err
	}
	_, err := s.queue.putFrame(ctx, TypeSyncEnd, nil, nil)
	return err
}

// Queued is how many frames and bytes are not acknowledged.
func (s *Server) Queued() (frames, bytes int) { return s.queue.size() }

// Dropped is what was not put since there was no room and no client.
func (s *Server) Dropped() Dropped { return s.queue.totals() }

// Drain waits until the client has acknowledged everything, ctx ends, or no
// client is there to do it.
func (s *Server) Drain(ctx context.Context) error {
	for {
		done, changed := s.queue.drained()
		if done || !s.busy.Load() {
			return nil
		}
		select {
		case <-changed:
		case <-time.After(100 * time.Millisecond): // the client may have gone
		case <-ctx.Done():
			return fmt.Errorf("drain to client: %w", ctx.Err())
		}
	}
}

// handshakeTimeout bounds how long a client may take to say who it is.
const handshakeTimeout = 5 * time.Second

// Serve talks to one client until it goes, ctx ends or it breaks the protocol,
// and closes conn. The error is nil when the client went in order. A client
// that comes while another is served is refused.
func (s *Server) Serve(ctx context.Context, conn io.ReadWriteCloser) error {
	defer conn.Close()
	r := bufio.NewReader(conn)
	if !s.busy.CompareAndSwap(false, true) {
		_, _ = conn.Write(appendFrame(nil, Frame{Type: TypeRefuse, Payload: []byte(ErrBusy.Error())}))
		return ErrBusy
	}
	defer s.busy.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()

	timer := time.AfterFunc(handshakeTimeout, func() { conn.Close() })
	defer timer.Stop()
	hello, err := readHello(r)
	var at uint64
	if hello.Session == s.session {
		at = hello.Seq
	}
	var resumed, told bool
	if err == nil {
		resumed, told, err = s.queue.attach(at)
	}
	if err != nil {
		_, _ = conn.Write(appendFrame(nil, Frame{Type: TypeRefuse, Payload: []byte(err.Error())}))
		return err
	}
	timer.Stop()
	defer s.queue.detach()
	if !resumed {
		s.o.NeedSync()
	}

	var mu sync.Mutex // of writes to conn
	write := func(b []byte) error {
		mu.Lock()
		defer mu.Unlock()
		_, err := conn.Write(b)
		return err
	}
	welcome, err := json.Marshal(Welcome{Session: s.session, Boot: s.o.Boot.String(), Resumed: resumed, Told: told, Status: s.o.Status()})
	if err != nil {
		return err
	}
	if err := write(appendFrame(nil, Frame{Type: TypeWelcome, Payload: welcome})); err != nil {
		return err
	}

	readErr := make(chan error, 1)
	go func() {
		defer cancel()
		readErr <- s.readClient(r, write)
	}()
	for {
		f, err := s.queue.next(ctx, at)
		if err == nil {
			err = write(f.data)
		}
		if err != nil {
			break
		}
		at = f.seq
	}
	conn.Close()
	return <-readErr
}

func (s *Server) readClient(r io.Reader, write func([]byte) error) error {
	for {
		f, err := readFrame(r)
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		switch f.Type {
		case TypeAck:
			s.queue.ack(f.Seq)
		case TypeAsk:
			if err := write(appendFrame(nil, Frame{Type: TypeStatus, Payload: s.o.Status()})); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: type %d from a client", ErrFrame, f.Type)
		}
	}
}

func readHello(r io.Reader) (h Hello, err error) {
	f, err := readFrame(r)
	if err != nil {
		return h, fmt.Errorf("read hello: %w", err)
	}
	if f.Type != TypeHello {
		return h, fmt.Errorf("%w: type %d instead of hello", ErrFrame, f.Type)
	}
	if err := json.Unmarshal(f.Payload, &h); err != nil {
		return h, fmt.Errorf("%w: hello: %v", ErrFrame, err)
	}
	return h, nil
}
