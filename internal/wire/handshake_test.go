package wire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

func TestWelcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		needed := 0
		s := NewServer(ServerOptions{
			Boot: testBoot, NeedSync: func() { needed++ },
			Status: func() json.RawMessage { return json.RawMessage(`{"live":3}`) },
		})
		c, served := connect(t, s, Hello{})
		if c.Boot != testBoot || c.Welcome.Session == "" || string(c.Welcome.Status) != `{"live":3}` {
			t.Errorf("welcome %+v, boot %s", c.Welcome, c.Boot)
		}
		// A queue that never held anything has lost nothing: there is nothing to
		// make good.
		if !c.Welcome.Resumed || needed != 0 {
			t.Errorf("resumed %v, syncs asked for %d; want true and 0", c.Welcome.Resumed, needed)
		}
		if err := c.Ask(); err != nil {
			t.Fatal(err)
		}
		if m := next(t, c); m.Type != TypeStatus || string(m.Status) != `{"live":3}` {
			t.Errorf("answer to Ask: %+v", m)
		}
		c.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v when its client went in order", err)
		}
	})
}

func TestWelcomeDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{})
		c, served := connect(t, s, Hello{Session: "of another run", Seq: 99})
		if string(c.Welcome.Status) != "null" || c.Welcome.Session == NewServer(ServerOptions{}).session {
			t.Errorf("welcome %+v", c.Welcome)
		}
		c.Close()
		<-served
	})
}

// Who must be told that a sync is needed, by what the client has and the queue
// still holds. Six frames were put; acked is what an earlier client acknowledged.
func TestResumed(t *testing.T) {
	for _, test := range []struct {
		name  string
		acked uint64
		hello Hello // Session "this" stands for the server's
		want  bool
		first uint64 // frame that comes next
	}{
		{"new client, everything is held", 0, Hello{}, true, 1},
		{"new client, some is gone", 2, Hello{}, false, 3},
		{"client goes on", 2, Hello{"this", 2}, true, 3},
		{"client has more than it could acknowledge", 2, Hello{"this", 5}, true, 6},
		{"client was set back", 4, Hello{"this", 2}, false, 5},
		{"client of another session", 2, Hello{"other", 2}, false, 3},
		{"client of another session, everything is held", 0, Hello{"other", 2}, true, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				needed := 0
				s := NewServer(ServerOptions{Boot: testBoot, NeedSync: func() { needed++ }})
				for i := range 6 {
					if err := s.Put(t.Context(), forks(uint64(i+1), 1)); err != nil {
						t.Fatal(err)
					}
				}
				s.queue.ack(test.acked)
				if test.hello.Session == "this" {
					test.hello.Session = s.session
				}
				c, served := connect(t, s, test.hello)
				if c.Welcome.Resumed != test.want || c.Welcome.Told != test.want || (needed == 0) != test.want {
					t.Errorf("resumed %v, syncs asked for %d; want %v", c.Welcome.Resumed, needed, test.want)
				}
				if m := next(t, c); m.Seq != test.first || m.Events[0].StartNS != test.first {
					t.Errorf("first frame %d with event %d, want %d", m.Seq, m.Events[0].StartNS, test.first)
				}
				c.Close()
				<-served
			})
		})
	}
}

func TestServerRefusesHello(t *testing.T) {
	hello := func(json string) []byte { return appendFrame(nil, Frame{Type: TypeHello, Payload: []byte(json)}) }
	other := hello("{}")
	other[3] = Version + 1
	for _, test := range []struct {
		name string
		in   []byte
		want error
		text string
	}{
		{"nothing", nil, io.EOF, "read hello"},
		{"garbage", []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), ErrFrame, "starts with"},
		{"zeros", make([]byte, 100), ErrFrame, "starts with"},
		{"other version", other, ErrVersion, "peer speaks 4"},
		{"not a hello", appendFrame(nil, Frame{Type: TypeAck, Seq: 3}), ErrFrame, "type 7 instead of hello"},
		{"hello that is not JSON", hello("{"), ErrFrame, "hello: unexpected end"},
		{"hello of other types", hello(`{"seq":"x"}`), ErrFrame, "hello: json"},
		{"cut hello", hello("{}")[:headerSize+1], ErrFrame, "ends inside a payload"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := NewServer(ServerOptions{})
			server, client := sockets(t)
			served := serve(t.Context(), s, server)
			if _, err := client.Write(test.in); err != nil {
				t.Fatal(err)
			}
			if err := client.(*net.UnixConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if err := within(t, "Serve", served); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Serve = %v, want %v with %q", err, test.want, test.text)
			}
			if s.busy.Load() || s.queue.client {
				t.Error("the server still believes in its client")
			}
		})
	}
}

// A position that the stream has not reached would make the server wait for it
// and hold back everything before.
func TestServerRefusesFuture(t *testing.T) {
	s := NewServer(ServerOptions{Boot: testBoot})
	if err := s.Put(t.Context(), forks(1, 1)); err != nil {
		t.Fatal(err)
	}
	server, client := sockets(t)
	served := serve(t.Context(), s, server)
	_, err := Dial(t.Context(), client, Hello{Session: s.session, Seq: 2})
	if err == nil || !strings.Contains(err.Error(), "hello behind frame 2 of 1") {
		t.Errorf("Dial = %v", err)
	}
	if err := within(t, "Serve", served); !errors.Is(err, ErrFrame) {
		t.Errorf("Serve = %v", err)
	}
	if n, _ := s.Queued(); n != 1 {
		t.Errorf("%d frames are held, want the 1 that nobody has", n)
	}
}

func TestClientRefusesWelcome(t *testing.T) {
	frame := func(t Type, payload string) []byte { return appendFrame(nil, Frame{Type: t, Payload: []byte(payload)}) }
	other := frame(TypeWelcome, "{}")
	other[3] = Version + 1
	for _, test := range []struct {
		name string
		in   []byte
		want error // nil = any
		text string
	}{
		{"hangs up", nil, io.EOF, "greet procmond"},
		{"other version", other, ErrVersion, "peer speaks 4"},
		{"busy", frame(TypeRefuse, ErrBusy.Error()), ErrBusy, ""},
		{"refused", frame(TypeRefuse, "no \x1b[31m"), nil, `refused: "no \x1b[31m"`},
		{"not a welcome", frame(TypeBatch, ""), ErrFrame, "type 4"},
		{"not JSON", frame(TypeWelcome, "x"), ErrFrame, "invalid character"},
		{"no boot id", frame(TypeWelcome, `{"session":"s"}`), ErrFrame, "parse boot id"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, client := sockets(t)
			if _, err := server.Write(test.in); err != nil {
				t.Fatal(err)
			}
			if err := server.(*net.UnixConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			_, err := Dial(t.Context(), client, Hello{})
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("Dial = %v, want %v with %q", err, test.want, test.text)
			}
			if _, err := client.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the connection is still open: %v", err)
			}
		})
	}
}

// The second client is told that there is a first one, also when it is so slow
// that the server has hung up before it has said a word.
func TestBusy(t *testing.T) {
	s := NewServer(ServerOptions{Boot: testBoot})
	server, client := sockets(t)
	first := serve(t.Context(), s, server)
	c, err := Dial(t.Context(), client, Hello{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		server, client := sockets(t)
		if err := within(t, "Serve", serve(t.Context(), s, server)); !errors.Is(err, ErrBusy) {
			t.Errorf("Serve = %v, want busy", err)
		}
		if _, err := Dial(t.Context(), client, Hello{}); !errors.Is(err, ErrBusy) {
			t.Errorf("Dial = %v, want busy", err)
		}
	}
	// The first one has noticed nothing.
	if err := s.Put(t.Context(), forks(1, 1)); err != nil {
		t.Fatal(err)
	}
	if m := next(t, c); m.Seq != 1 {
		t.Errorf("got %+v", m)
	}
	c.Close()
	within(t, "first Serve", first)

	server, client = sockets(t)
	again := serve(t.Context(), s, server)
	if c, err = Dial(t.Context(), client, Hello{}); err != nil {
		t.Fatalf("the place is free again: %v", err)
	}
	c.Close()
	within(t, "last Serve", again)
}

// A client that connects and says nothing must not keep others out for long.
func TestSilentClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{})
		server, client := net.Pipe()
		start := time.Now()
		if err := <-serve(t.Context(), s, server); err == nil {
			t.Error("Serve = nil")
		}
		if d := time.Since(start); d != handshakeTimeout {
			t.Errorf("gave up after %s, want %s", d, handshakeTimeout)
		}
		client.Close()
	})
}

func TestSilentServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		start := time.Now()
		if _, err := Dial(t.Context(), client, Hello{}); !errors.Is(err, errNoAnswer) {
			t.Errorf("Dial without an answer: %v", err)
		}
		if d := time.Since(start); d != greetTimeout {
			t.Errorf("gave up after %s, want %s", d, greetTimeout)
		}
	})
}

func TestDialIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, server) }()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		start := time.Now()
		if _, err := Dial(ctx, client, Hello{}); !errors.Is(err, context.Canceled) || time.Since(start) != 10*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// A procmond that is being started answers late when its BPF programs take long
// to verify.
func TestSlowServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe()
		go func() {
			time.Sleep(greetTimeout - time.Second)
			_ = NewServer(ServerOptions{}).Serve(t.Context(), server)
		}()
		c, err := Dial(t.Context(), client, Hello{})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
}

// After a good hello, everything that no client says ends the connection, and
// the server is free for the next one.
func TestGarbageAfterHello(t *testing.T) {
	for name, in := range map[string][]byte{
		"garbage":      []byte(strings.Repeat("garbage ", 100)),
		"second hello": appendFrame(nil, Frame{Type: TypeHello, Payload: []byte("{}")}),
		"events":       appendFrame(nil, Frame{Type: TypeBatch, Seq: 1}),
		"type 0":       appendFrame(nil, Frame{}),
		"too long":     append([]byte("SDW\x03\x07\x00\x00\x00\xff\xff\xff\xff"), make([]byte, 12)...),
		"cut":          []byte("SDW\x03"),
	} {
		t.Run(name, func(t *testing.T) {
			s := NewServer(ServerOptions{Boot: testBoot})
			if err := s.Put(t.Context(), forks(1, 3)); err != nil {
				t.Fatal(err)
			}
			server, client := sockets(t)
			served := serve(t.Context(), s, server)
			if _, err := Dial(t.Context(), client, Hello{}); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Write(in); err != nil {
				t.Fatal(err)
			}
			if err := client.(*net.UnixConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if err := within(t, "Serve", served); !errors.Is(err, ErrFrame) {
				t.Errorf("Serve = %v, want %v", err, ErrFrame)
			}
			if n, _ := s.Queued(); n != 1 || s.busy.Load() {
				t.Errorf("%d frames held, busy %v; want 1 and false", n, s.busy.Load())
			}
		})
	}
}

// An acknowledgement of what was never sent frees what is held, but must not
// upset the numbering.
func TestAckOfTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{Boot: testBoot})
		c, served := connect(t, s, Hello{})
		if err := c.Ack(1 << 63); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i := range uint64(3) {
			if err := s.Put(t.Context(), forks(i+1, 1)); err != nil {
				t.Fatal(err)
			}
			if m := next(t, c); m.Seq != i+1 || m.Events[0].StartNS != i+1 {
				t.Errorf("frame %d with event %d, want %d", m.Seq, m.Events[0].StartNS, i+1)
			}
		}
		c.Close()
		<-served
	})
}

func TestClientRefusesFrames(t *testing.T) {
	for name, in := range map[string][]byte{
		"from a client":    appendFrame(nil, Frame{Type: TypeAck}),
		"second welcome":   appendFrame(nil, Frame{Type: TypeWelcome}),
		"malformed events": appendFrame(nil, Frame{Type: TypeBatch, Payload: []byte{1, 2, 3}}),
		"cut":              appendFrame(nil, Frame{Type: TypeSync, Payload: []byte{1, 2, 3}})[:headerSize+2],
	} {
		c := &Client{r: bufio.NewReader(bytes.NewReader(in))}
		if m, err := c.Next(); !errors.Is(err, ErrFrame) && !errors.Is(err, event.ErrCodec) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

// The end of ctx ends Serve though the client neither reads nor goes.
func TestServeAborted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(ServerOptions{Boot: testBoot})
		if err := s.Put(t.Context(), forks(1, 1)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		server, client := net.Pipe()
		served := serve(ctx, s, server)
		c, err := Dial(t.Context(), client, Hello{})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it is now stuck in writing
		cancel()
		<-served
		if _, err := c.Next(); !gone(err) {
			t.Errorf("Next = %v", err)
		}
	})
}
