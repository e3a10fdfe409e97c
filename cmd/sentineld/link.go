package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/pipeline"
	"github.com/sentineld/sentineld/internal/wire"
)

// linkOptions say where procmond is, or how to start it.
type linkOptions struct {
	Socket  string   // of a running procmond; tried first
	Program string   // "" = beside this program, else in PATH
	Args    []string // of `procmond run --stdio`
	Given   []string // options among them, and Program, that somebody set, and where: one that runs already does not get them
	Stderr  io.Writer
	Log     *slog.Logger
}

// link keeps a connection to procmond, starting it when none runs, and turns
// what it says into pipeline items. When the connection is lost it comes back,
// and tells as a gap what may have been missed.
type link struct {
	o      linkOptions
	items  chan<- pipeline.Item
	opened func(context.Context, *health.Collector) error // what is to be done with the first that each procmond says of itself; nil = nothing

	// Owned by open and run, which do not overlap.
	client  *wire.Client
	child   *child // nil when procmond was running already
	heard   bool   // procmond has said how it is
	session string // place in the stream up to which everything was handed on
	seq     uint64 //
	seen    moment // of the newest event handed on
	live    []event.Event
	inSync  bool
	outage  string // why events may be missing until the connection is back, "" = none are
	covered moment // after run: up to when nothing is missing unsaid

	asked    atomic.Pointer[moment] // when the child was told to end
	restarts atomic.Uint64
	down     atomic.Pointer[string] // why there is no connection at the moment

	mu      sync.Mutex
	current *wire.Client      // for ask
	latest  *health.Collector // what it said last; nil = nothing that was understood
	asking  *wire.Client      // owes ask an answer; owned by it
	silent  time.Time         // since when it does not answer; zero = it does
	answers chan struct{}     // capacity 1: latest is an answer
}

func newLink(o linkOptions, items chan<- pipeline.Item) *link {
	l := &link{o: o, items: items, answers: make(chan struct{}, 1)}
	starting := "procmond is being started"
	l.down.Store(&starting)
	return l
}

// resume tells where the stream was left by an earlier run, before open. seen is
// up to when that run has seen what happened, Unix ns, 0 = it has seen nothing; outage is the cause of
// the gap from there, if there turns out to be one.
func (l *link) resume(session string, seq uint64, seen int64, outage string) {
	l.session, l.seq, l.seen, l.outage = session, seq, moment{}, outage
	if seen != 0 {
		l.seen = momentAt(seen)
	}
}

// open connects: to a procmond that serves, else to one that it starts, unless
// there must be one that serves.
func (l *link) open(ctx context.Context, serving bool) error {
	conn, child, err := l.connect(ctx, serving)
	if err != nil {
		return err
	}
	client, err := wire.Dial(ctx, conn, wire.Hello{Session: l.session, Seq: l.seq})
	if err != nil {
		if child != nil {
			err = fmt.Errorf("%s did not serve: %s; its reason stands above (%w)", child.path, child.end(), err)
		}
		return err
	}
	l.heard = false
	if err := l.hear(ctx, client.Welcome.Status); err != nil {
		client.Close()
		if child != nil {
			child.end()
		}
		return err
	}
	l.client, l.child = client, child
	l.down.Store(nil)
	l.mu.Lock()
	l.current = client
	l.mu.Unlock()
	return nil
}

const notUnderstood = "what procmond says of itself is not understood"

// hear takes what procmond says of itself. What is not understood says nothing, neither
// that it is without something: events are recorded all the same.
func (l *link) hear(ctx context.Context, said json.RawMessage) error {
	var status *health.Collector
	if err := json.Unmarshal(said, &status); err != nil {
		status = nil
		l.o.Log.Warn("read procmond's status", "err", err)
	}
	l.mu.Lock()
	l.latest = status
	l.mu.Unlock()
	if status == nil || l.heard {
		return nil
	}
	l.heard = true
	if l.opened == nil {
		return nil
	}
	return l.opened(ctx, status)
}

// failures reports whether procmond was asked for failed execs, as it said in the
// beginning.
func (l *link) failures() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest != nil && l.latest.Failures
}

func (l *link) connect(ctx context.Context, serving bool) (io.ReadWriteCloser, *child, error) {
	if l.o.Socket != "" {
		if conn, err := (&net.Dialer{}).DialContext(ctx, "unix", l.o.Socket); err == nil {
			l.o.Log.Info("using the procmond that runs", "socket", l.o.Socket)
			if len(l.o.Given) > 0 {
				l.o.Log.Warn("the procmond that runs has options of its own", "socket", l.o.Socket, "not_used", strings.Join(l.o.Given, ", "))
			}
			return conn, nil, nil
		} else if errors.Is(err, os.ErrPermission) {
			l.o.Log.Warn("a procmond runs, but its socket may not be used", "err", err)
		} else if serving {
			return nil, nil, err
		}
	}
	c, err := startChild(l.o)
	if err != nil {
		return nil, nil, err
	}
	return c, c, nil
}

// run hands on what the open connection gives, and opens it again when it is
// lost, until drain ends; procmond then gets the time to hand over what it has.
// It closes the channel of items. abort ends it at once.
func (l *link) run(drain, abort context.Context) {
	defer close(l.items)
	for {
		err := l.serve(drain, abort)
		if drain.Err() != nil || abort.Err() != nil {
			l.covered = l.seen
			if err == nil && l.child != nil && l.child.end() == endedWell { // it has handed over all until then
				if asked := l.asked.Load(); asked != nil { // else it ended by itself
					l.covered = later(l.seen, *asked)
				}
			}
			return
		}
		why := "procmond hung up"
		if err != nil {
			why = err.Error()
		}
		if l.child != nil {
			why = "procmond ended: " + l.child.end()
		}
		l.o.Log.Error("lost procmond", "reason", why)
		l.outage = why
		l.down.Store(&why)
		if !l.reopen(drain) {
			l.covered = l.seen
			return
		}
		l.restarts.Add(1)
	}
}

// restartTime is how long a procmond that served on the socket may take to be
// back. Without that a restart of it would leave us with one of our own, which may
// have fewer privileges, for good.
const restartTime = 10 * time.Second

// reopen opens the connection again, with growing pauses. False: drain ended.
func (l *link) reopen(drain context.Context) bool {
	served, lost := l.child == nil, time.Now()
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 100*time.Millisecond, 10*time.Second
	for {
		err := l.open(drain, served && time.Since(lost) < restartTime)
		if err == nil {
			return true
		}
		if drain.Err() != nil {
			return false
		}
		wait := pause.NextBackOff()
		l.o.Log.Error("reach procmond", "err", err, "again_in", wait.Round(time.Millisecond))
		select {
		case <-time.After(wait):
		case <-drain.Done():
			return false
		}
	}
}

// serve reads one connection to its end.
func (l *link) serve(drain, abort context.Context) error {
	defer l.hangUp()
	stopDrain := context.AfterFunc(drain, func() {
		if l.child != nil {
			asked := momentAt(time.Now().UnixNano())
			l.asked.Store(&asked)
			l.child.terminate() // it hands over what it has, and hangs up
			l.child.killAfter(childDrain)
		} else {
			l.client.Close() // what we do not read stays with it
		}
	})
	defer stopDrain()
	stopAbort := context.AfterFunc(abort, func() { l.client.Close() })
	defer stopAbort()

	if err := l.tellOutage(abort); err != nil {
		return err
	}
	l.session, l.live, l.inSync = l.client.Welcome.Session, nil, false
	for {
		m, err := l.client.Next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := l.take(abort, m); err != nil {
			return err
		}
	}
}

// tellOutage hands on a gap if the stream does not go on where it was left.
func (l *link) tellOutage(ctx context.Context) error {
	w := l.client.Welcome
	if w.Session == l.session && (w.Resumed || w.Told) {
		l.outage = ""
		return nil
	}
	if l.seen.isZero() { // nothing was ever recorded: there is nothing to be missing from
		l.seq = 0
		return nil
	}
	cause := l.outage
	if cause == "" {
		cause = "procmond no longer had the events"
	}
	l.seq, l.outage = 0, ""
	now := time.Now().UnixNano()
	return l.send(ctx, pipeline.Item{Events: []event.Event{{
		Kind: event.KindGap, Source: event.SourceAgent, Known: event.KnownTime, Time: min(l.seen.unixNano(), now),
		Gap: &event.Gap{Until: now, Cause: cause},
	}}})
}

func (l *link) take(ctx context.Context, m wire.Message) error {
	item := pipeline.Item{Session: l.session, Seq: m.Seq, Ack: func() {}}
	client, seq := l.client, m.Seq
	item.Ack = func() { _ = client.Ack(seq) } // a broken connection shows in Next
	switch m.Type {
	case wire.TypeBatch:
		l.live, l.inSync = nil, false
		item.Events = m.Events
		if at := event.Newest(m.Events); at != 0 {
			l.seen = later(l.seen, momentAt(at))
		}
	case wire.TypeSync:
		l.live, l.inSync = append(l.live, m.Events...), true
		return nil // acknowledged with its end
	case wire.TypeSyncEnd:
		if !l.inSync {
			return nil
		}
		item.Live, item.Now = l.live, time.Now().UnixNano()
		if n := len(l.live); n > 0 {
			item.Now = l.live[n-1].Time
			if l.seen.isZero() { // the record begins with this list
				l.seen = momentAt(l.live[0].Time)
			}
		}
		l.live, l.inSync = nil, false
	case wire.TypeStatus:
		if err := l.hear(ctx, m.Status); err != nil {
			return err
		}
		select {
		case l.answers <- struct{}{}:
		default:
		}
		return nil
	default:
		return nil
	}
	l.seq = m.Seq
	return l.send(ctx, item)
}

func (l *link) send(ctx context.Context, item pipeline.Item) error {
	select {
	case l.items <- item:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// blocked reports whether what is received waits for the store, so that no answer is
// read either.
func (l *link) blocked() bool { return len(l.items) == cap(l.items) }

func (l *link) hangUp() {
	why := "procmond hung up"
	l.down.Store(&why)
	l.mu.Lock()
	l.current = nil
	l.mu.Unlock()
	l.client.Close()
	if l.child != nil {
		l.child.end()
	}
}

// ask gets procmond's status as it is now. When it does not answer in time, what it
// said last, and since when it does not. Safe for concurrent use with everything but
// itself.
func (l *link) ask(timeout time.Duration) (c *health.Collector, silent time.Time) {
	l.mu.Lock()
	client := l.current
	if !l.silent.IsZero() { // who asks next need not wait as long
		timeout /= 10
	}
	l.mu.Unlock()
	begin := time.Now()
	answered := client == nil || l.answer(client, time.After(timeout)) // of none others say what is wrong
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case answered:
		l.silent = time.Time{}
	case l.silent.IsZero():
		l.silent = begin
	}
	return l.latest, l.silent
}

// answer asks and waits. One question is on its way at a time: those that nobody reads
// fill the pipe, and then a write does not return.
func (l *link) answer(client *wire.Client, timeout <-chan time.Time) bool {
	select {
	case <-l.answers: // a late one
		l.asking = nil
	default:
	}
	if l.asking != client && client.Ask() != nil {
		return false
	}
	first := l.asking != client
	l.asking = client
	select {
	case <-l.answers:
	case <-timeout:
		return false
	}
	l.asking = nil
	return first || l.answer(client, timeout) // it may have been of before
}

// child is a procmond that we started, with its standard streams as the
// connection.
type child struct {
	io.Reader
	io.WriteCloser
	path string
	cmd  *exec.Cmd

	waited sync.Once
	result string
}

// childDrain is how long a child may take to hand over what it has.
const childDrain = 15 * time.Second

// childEnd is how long a child may take to end after its connection did.
const childEnd = 2 * time.Second

func startChild(o linkOptions) (*child, error) {
	path, err := findProcmond(o.Program)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, append([]string{"run", "--stdio"}, o.Args...)...)
	cmd.Stderr = o.Stderr
	cmd.SysProcAttr = childAttr()
	c := &child{path: path, cmd: cmd}
	if c.WriteCloser, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.Reader, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start procmond: %w", err)
	}
	return c, nil
}

// findProcmond looks where the two programs are installed together.
func findProcmond(program string) (string, error) {
	if program != "" {
		return program, nil
	}
	name := "procmond"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if st, err := os.Stat(beside); err == nil && !st.IsDir() {
			return beside, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find procmond: it is neither beside sentineld nor in PATH (name it with --procmond)")
	}
	return path, nil
}

// Close ends the connection: procmond ends by itself when its input does, and is
// killed when it does not.
func (c *child) Close() error {
	c.killAfter(childEnd)
	return c.WriteCloser.Close()
}

func (c *child) killAfter(d time.Duration) {
	time.AfterFunc(d, func() { _ = c.cmd.Process.Kill() }) // no harm to one that has ended
}

// endedWell is how a child ended that has handed over all that it had.
const endedWell = "exit status 0"

// end waits for the child, kills it if it takes too long, and says how it ended.
func (c *child) end() string {
	c.waited.Do(func() {
		timer := time.AfterFunc(childEnd, func() { _ = c.cmd.Process.Kill() })
		defer timer.Stop()
		if err := c.cmd.Wait(); err != nil {
			c.result = err.Error()
		} else {
			c.result = endedWell
		}
	})
	return c.result
}
