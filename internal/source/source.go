// Package source is what a source of process events is: one kernel facility
// that is opened, delivers batches until it is closed or lost, and says
// honestly which fields it knows.
package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

// Source is an open facility. It delivers from the moment that Open returned:
// nothing that happens afterwards is missed without being counted.
//
// What it has not given yet it tells, if it can, by
//
//	Backlog() (waiting, size int) // bytes in the kernel's buffer, and its size
//	Held() int                    // events that have left it and were not given yet
//	Given() uint64                // batches that were
//
// all of them safe for concurrent use. A batch is counted before it is sent, and before
// its events are held no more: whoever asks in this order misses none.
type Source interface {
	Name() event.Source

	// Events yields batches in the order in which the kernel recorded them.
	// The source alone closes the channel: after Close, when all that had been
	// recorded is delivered, or when the facility was lost (see Err).
	Events() <-chan []event.Event

	// Err is why Events was closed, nil if by Close. Valid once it is closed.
	Err() error

	// Close stops recording and lets Events drain and close. It does not wait
	// for that, so the caller goes on reading. It may be called more than once.
	Close() error
}

// Options are for all sources; the zero value is usable.
type Options struct {
	Boot         event.BootID  // of this boot
	RingBytes    int           // kernel buffer, bytes, a power of two; 0 = 8 MiB
	ArgsMax      int           // bytes of arguments kept of one exec; 0 = 64 KiB
	Env          []string      // names of the variables to keep of each exec; see procfs.SelectEnv
	ExecFailures bool          // failed execs too, where the source can see them
	BTF          string        // file with the kernel's types, for a kernel that has none itself; "" = its own
	FlushDelay   time.Duration // how long a record may wait for company; 0 = 50 ms
	PollInterval time.Duration // between two looks, for sources that poll; 0 = 1 s
	Log          *slog.Logger  // nil = discard
}

// FillDefaults replaces zero values by the defaults.
func (o *Options) FillDefaults() {
	if o.RingBytes == 0 {
		o.RingBytes = 8 << 20
	}
	if o.ArgsMax == 0 {
		o.ArgsMax = 64 << 10
	}
	if o.FlushDelay == 0 {
		o.FlushDelay = 50 * time.Millisecond
	}
	if o.PollInterval == 0 {
		o.PollInterval = time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Candidate is a source that could be opened. Open returns an error that says
// what is missing and how to get it; one that wraps errors.ErrUnsupported
// means that this system never has it.
type Candidate struct {
	Name event.Source
	Open func(context.Context, Options) (Source, error)
}

// Refusal is a candidate that did not open, and why.
type Refusal struct {
	Name event.Source
	Err  error
}

func (r Refusal) String() string { return fmt.Sprintf("%s: %v", r.Name, r.Err) }

// First opens the first candidate that can be opened, best first, and tells
// why the ones before it could not. The error is non-nil when none could.
func First(ctx context.Context, o Options, candidates []Candidate) (Source, []Refusal, error) {
	o.FillDefaults()
	var refused []Refusal
	for _, c := range candidates {
		s, err := c.Open(ctx, o)
		if err == nil {
			return s, refused, nil
		}
		if ctx.Err() != nil {
			return nil, refused, ctx.Err()
		}
		refused = append(refused, Refusal{c.Name, err})
	}
	var why []string
	for _, r := range refused {
		why = append(why, r.String())
	}
	if len(why) == 0 {
		return nil, nil, errors.New("open source: there is none to try")
	}
	return nil, refused, fmt.Errorf("open source: %s", strings.Join(why, "; "))
}
