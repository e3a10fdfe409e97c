package collect

import (
	"context"
	"slices"
	"sync"

	"github.com/sentineld/sentineld/internal/event"
)

var testBoot = event.BootID{0xab, 0xcd, 0xef, 0x01, 5: 7}

func key(pid uint32, start uint64) event.ProcessKey {
	return event.ProcessKey{Boot: testBoot, PID: pid, Start: start}
}

func fork(k, parent event.ProcessKey) event.Event {
	return event.Event{Kind: event.KindFork, Source: event.SourceEBPF, Known: event.KnownTime | event.KnownParent, Process: k, Parent: parent}
}

func exec(k event.ProcessKey, exe string) event.Event {
	return event.Event{
		Kind: event.KindExec, Source: event.SourceEBPF, Known: event.KnownTime | event.KnownExe | event.KnownArgs, Process: k,
		Exec: &event.Exec{Exe: exe, Args: exe + "\x00"},
	}
}

// row is what a snapshot reads of a process.
func row(k, parent event.ProcessKey, exe string) event.Event {
	e := exec(k, exe)
	e.Source, e.Known, e.Parent = event.SourceSnapshot, event.KnownParent|event.KnownExe|event.KnownArgs, parent
	return e
}

func exit(k event.ProcessKey) event.Event {
	return event.Event{Kind: event.KindExit, Source: event.SourceEBPF, Known: event.KnownTime | event.KnownCode, Process: k, Exit: &event.Exit{Code: uint8(k.Start)}}
}

func gap(of event.Kind, lost uint64) event.Event {
	return event.Event{Kind: event.KindGap, Source: event.SourceEBPF, Known: event.KnownTime | event.KnownLost, Gap: &event.Gap{Of: of, Lost: lost}}
}

// channel is a source whose events a test sends.
type channel struct {
	events chan []event.Event
	err    error
}

func (c *channel) Name() event.Source           { return event.SourceEBPF }
func (c *channel) Events() <-chan []event.Event { return c.events }
func (c *channel) Err() error                   { return c.err }
func (c *channel) Close() error                 { close(c.events); return nil }

// buffered is a source that can say what it has not given yet.
type buffered struct {
	channel
	backlog func() int
	held    func() int // nil = none
}

func (b *buffered) Backlog() (waiting, size int) { return b.backlog(), 1 << 20 }

func (b *buffered) Held() int {
	if b.held == nil {
		return 0
	}
	return b.held()
}

// record is a sink that keeps what it gets.
type record struct {
	mu     sync.Mutex // guards the rest
	stream []event.Event
	lists  [][]event.Event
	err    error // of the next call
	onSync func(live, news []event.Event)
}

func (r *record) Put(_ context.Context, batch []event.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stream = append(r.stream, batch...)
	return r.err
}

func (r *record) Sync(_ context.Context, live, news []event.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stream = append(r.stream, news...)
	r.lists = append(r.lists, live)
	if r.onSync != nil {
		r.onSync(live, news)
	}
	return r.err
}

// got is the stream so far.
func (r *record) got() []event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.stream)
}
