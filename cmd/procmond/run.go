package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/collect"
	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/procfs"
	"github.com/sentineld/sentineld/internal/source"
	"github.com/sentineld/sentineld/internal/wire"
)

const (
	defaultSocket = "/run/sentineld/procmond.sock"

	// drainTime is how long a client may take to make room for what the kernel's
	// buffer holds at the first signal, and then to store it.
	drainTime = 5 * time.Second

	// quietLeast is more than a busy machine keeps a program from running, and, where
	// windows of FlushDelay are short, than procconn.SettleTime and the two windows after
	// which procconn has handed an event on.
	quietLeast = 60 * time.Millisecond
)

type runCmd struct {
	sourceFlags `embed:""`
	hashFlags   `embed:""`

	Output     string `help:"frames serves sentineld, json prints one JSON object an event, with arguments as they are, unredacted." enum:"frames,json" default:"frames"`
	Socket     string `help:"Unix socket to serve on (default ${socket})." placeholder:"PATH" xor:"where"`
	Stdio      bool   `help:"Serve one client on standard input and output and end with it." xor:"where"`
	QueueBytes int    `help:"Events held in memory until sentineld has stored them (default ${default})." default:"8388608" placeholder:"BYTES"`
}

func quiet(flush time.Duration) time.Duration { return max(3*flush, quietLeast) }

func (r *runCmd) Validate() error {
	if r.QueueBytes < 1<<18 || r.QueueBytes > 1<<30 {
		return fmt.Errorf("--queue-bytes=%d: want 262144 to 1073741824", r.QueueBytes)
	}
	return errors.Join(r.sourceFlags.Validate(), r.hashFlags.Validate())
}

// Run wires the collector: 1 the way out, 2 the source, 3 the collector
// between them. It stops in the order of the flow: the source first.
func (r *runCmd) Run(ctx context.Context, log *slog.Logger, std streams) error {
	// The work is one stream. On one thread it costs a third less CPU, since its
	// stages do not wake each other on other CPUs, and takes those from nobody.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	drain, abort, stop := cli.Signals(ctx)
	defer stop()

	// 1: claim the way out before the kernel is asked for anything.
	var listener *listener
	if r.Output == "frames" && !r.Stdio {
		var err error
		if listener, err = listen(cmp.Or(r.Socket, filepath.FromSlash(defaultSocket))); err != nil {
			return err
		}
		defer listener.Close()
	}

	// 2
	src, boot, err := r.open(abort, log)
	if err != nil {
		return err
	}
	for _, x := range src.Refused() {
		log.Warn("better source not usable", "source", x.Name.String(), "reason", x.Err)
	}
	log.Info("collecting", "source", src.Name().String(), "detail", src.Detail())

	// 3
	if err := procfs.HostCgroups(); err != nil {
		log.Warn(err.Error())
	}
	if why := src.Blind()[event.KindExecFailed.String()]; why != "" {
		log.Warn(why, "flag", "--exec-failures")
	}
	m := &monitor{started: time.Now(), src: src, hashRate: r.HashRate, failures: r.ExecFailures}
	m.collector = collect.New(collect.Options{
		Snapshot: r.snapshot(boot), Lookup: r.lookup(boot), Quiet: quiet(r.FlushDelay), Log: log,
		Hash: collect.HashOptions{Rate: r.HashRate, MaxBytes: r.HashMax},

		Hidden: procfs.FS{}.Hidden,
	})
	var sink collect.Sink
	if r.Output == "json" {
		sink = &printer{w: std.out}
	} else {
		m.server = wire.NewServer(wire.ServerOptions{
			Boot: boot, QueueBytes: r.QueueBytes, Status: m.status, NeedSync: m.collector.NeedSync,
		})
		sink = m.server
	}
	collected := make(chan error, 1)
	go func() { collected <- m.collector.Run(abort, src, sink) }()

	served := make(chan error, 1)
	switch {
	case r.Output == "json":
	case r.Stdio:
		go func() { served <- m.server.Serve(abort, stdio{std.in, std.out}) }()
	default:
		go listener.serve(abort, m.server, log)
	}

	// The first of: a signal, the end of the only client, the end of the source.
	var result error
	select {
	case <-drain.Done():
		log.Info("draining")
	case err := <-served:
		_ = src.Close()
		stop() // nobody is left to drain to
		return errors.Join(err, ignoreCanceled(<-collected))
	case result = <-collected:
		collected <- nil
		if result == nil {
			result = errors.New("source ended unasked")
		}
		var closed brokenPipe
		if errors.As(result, &closed) {
			result = nil // whoever read our output has seen enough
		}
	}
	result = m.finish(abort, collected, result)
	m.logTotals(log)
	return result
}

// finish closes the source and hands over what it has told until then. result is
// the error that ended the collection, if one did.
func (m *monitor) finish(abort context.Context, collected <-chan error, result error) error {
	closeErr := m.src.Close()
	last := abort // printing may take as long as its reader likes
	if m.server != nil {
		var cancel context.CancelFunc
		last, cancel = context.WithTimeout(abort, drainTime)
		defer cancel()
	}
	select {
	case err := <-collected:
		if err != nil && result == nil && !errors.As(err, new(brokenPipe)) {
			result = err
		}
		if m.server != nil {
			ctx, cancel := context.WithTimeout(abort, drainTime)
			defer cancel()
			result = errors.Join(result, m.server.Drain(ctx))
		}
	case <-last.Done(): // the collector may be stuck in its output
		result = errors.Join(result, fmt.Errorf("drain: the output does not take what was collected: %w", last.Err()))
	}
	return errors.Join(result, closeErr)
}

// ignoreCanceled drops the error of a stage that was told to stop at once.
func ignoreCanceled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// monitor is what is asked for the status.
type monitor struct {
	started   time.Time
	src       *source.Ladder
	collector *collect.Collector
	server    *wire.Server
	hashRate  int64
	failures  bool // failed execs were asked for
}

func (m *monitor) status() json.RawMessage {
	c := m.collector.Stats()
	h := health.Collector{
		Version: cli.ThisBuild().Version, PID: os.Getpid(), Started: m.started.UnixNano(),
		Source: m.src.Name().String(), Detail: m.src.Detail(), Live: c.Live, Held: c.Held + m.src.Held(), Syncs: c.Syncs, Resyncs: c.Resyncs,
		Events: byKind(c.Events), Lost: byKind(c.Lost), Blind: m.src.Blind(), Failures: m.failures,
		HashRate: m.hashRate, Hashed: c.Hash.Files, HashedBytes: c.Hash.Bytes, HashHits: c.Hash.Hits,
		HashSkipped: skips(c.Hash.Skipped), HashQueue: c.Hash.Waiting,
	}
	dropped := m.server.Dropped()
	h.Dropped, h.Gaps = byKind(dropped.Events), c.Events[event.KindGap]+dropped.Gaps
	h.Backlog, h.Buffer = m.src.Backlog()
	for _, r := range m.src.Refused() {
		h.Refused = append(h.Refused, health.Refusal{Source: r.Name.String(), Reason: r.Err.Error()})
	}
	if err := procfs.HostCgroups(); err != nil {
		h.Cgroups = err.Error()
	}
	_, h.Queue = m.server.Queued()
	b, err := json.Marshal(h)
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}

// logTotals says at the end what was collected, and what was not.
func (m *monitor) logTotals(log *slog.Logger) {
	var events, lost uint64
	s := m.collector.Stats()
	for k := range s.Events {
		events += s.Events[k]
		lost += s.Lost[k]
	}
	log.Info("stopped", "events", events, "lost", lost, "gaps", s.Events[event.KindGap], "snapshots", s.Syncs)
}

func skips(counts [collect.NumHashSkips]uint64) map[string]uint64 {
	m := map[string]uint64{}
	for why, n := range counts {
		if n > 0 {
			m[collect.HashSkip(why).String()] = n
		}
	}
	return m
}

func byKind(counts [event.NumKinds]uint64) map[string]uint64 {
	m := map[string]uint64{}
	for k, n := range counts {
		switch {
		case n == 0:
		case k == 0:
			m["any"] = n
		default:
			m[event.Kind(k).String()] = n
		}
	}
	return m
}

// stdio makes one connection of the two standard streams.
type stdio struct {
	io.Reader
	io.Writer
}

// Close closes both streams, as far as they can be, so that a peer that waits
// for us sees the end.
func (s stdio) Close() error {
	for _, x := range []any{s.Reader, s.Writer} {
		if c, ok := x.(io.Closer); ok {
			_ = c.Close()
		}
	}
	return nil
}
