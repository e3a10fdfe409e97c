package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

var testBoot = event.BootID{0xab, 0xcd, 0xef, 0x01, 5: 7}

// numbered is an event that carries n, with size bytes of arguments when it is
// an exec.
func numbered(k event.Kind, n uint64, size int) event.Event {
	e := event.Event{
		Kind: k, Source: event.SourceEBPF, Known: event.KnownTime | event.KnownStart, Time: int64(n) + 1,
		Process: event.ProcessKey{Boot: testBoot, PID: 1, Start: 1}, StartNS: n,
	}
	switch k {
	case event.KindExec, event.KindExecFailed:
		e.Exec = &event.Exec{Args: string(make([]byte, size))}
	case event.KindExit:
		e.Exit = &event.Exit{}
	}
	return e
}

// forks are n events, numbered from first.
func forks(first uint64, n int) []event.Event {
	list := make([]event.Event, n)
	for i := range list {
		list[i] = numbered(event.KindFork, first+uint64(i), 0)
	}
	return list
}

// execs are n events of size bytes.
func execs(n, size int) []event.Event {
	list := make([]event.Event, n)
	for i := range list {
		list[i] = numbered(event.KindExec, uint64(i+1), size)
	}
	return list
}

// sockets gives the two ends of a unix socket, which buffers, unlike net.Pipe.
func sockets(t testing.TB) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("unix", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

// serve serves conn and gives the channel of Serve's result.
func serve(ctx context.Context, s *Server, conn io.ReadWriteCloser) <-chan error {
	result := make(chan error, 1)
	go func() { result <- s.Serve(ctx, conn) }()
	return result
}

// connect serves one end of a pipe and dials over the other.
func connect(t testing.TB, s *Server, h Hello) (*Client, <-chan error) {
	t.Helper()
	server, client := net.Pipe()
	result := serve(t.Context(), s, server)
	c, err := Dial(t.Context(), client, h)
	if err != nil {
		t.Fatal(err)
	}
	return c, result
}

// next reads one message and fails the test on an error.
func next(t testing.TB, c *Client) Message {
	t.Helper()
	m, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// within bounds a wait for something real, which would hang when it fails.
func within[T any](t testing.TB, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: not within 20 s", what)
		panic("not reached")
	}
}

// gone reports whether a read failed because the peer is not there any more.
func gone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrClosed) || errors.Is(err, ErrFrame)
}
