package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/sentineld/sentineld/internal/alert"
	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/detect"
	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/pipeline"
	"github.com/sentineld/sentineld/internal/rule"
	"github.com/sentineld/sentineld/internal/store"
)

// itemsQueued is how many pieces of the stream may wait for the store, each of
// some 64 KiB; what is behind them waits in procmond.
const itemsQueued = 16

// agentOptions are what `sentineld run` runs with.
type agentOptions struct {
	DataDir    string
	Link       linkOptions
	Rules      []rule.Rule
	Deadline   time.Duration // of one rule's evaluation
	BatchRows  int
	BatchDelay time.Duration
	Fold       time.Duration
	Redactor   *pipeline.Redactor
	Unredacted bool // secrets are stored as they are
	Failures   bool // failed execs are wanted
	Sinks      []alert.Sink
	Live       io.Writer // nil = do not print events
	Log        *slog.Logger
}

// agent is the running pipeline and what is asked about it.
type agent struct {
	o         agentOptions
	started   time.Time
	db        *store.DB
	link      *link
	pipeline  *pipeline.Pipeline
	detection *detection
	live      *livePrinter // nil = none
	losses    losses
	failures  bool // as the run is recorded; owned by the link from begin on
}

// runAgent runs the stages, which are started last to first and stopped first to
// last: the link to procmond ends when drain does, its channel closes, and what
// is in the pipeline is stored, then evaluated, then delivered. abort ends
// everything at once; what was acknowledged to procmond is stored even then.
func runAgent(drain, abort context.Context, o agentOptions) (err error) {
	// 1: the data directory is ours alone.
	lock, err := lockDir(o.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()

	// 2: the store.
	a := &agent{o: o, started: time.Now()}
	if a.db, err = store.Open(drain, store.Options{Dir: o.DataDir, Log: o.Log, BootTime: bootTime, Unredacted: o.Unredacted}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.db.Close()) }()
	if err := a.losses.load(drain, o.DataDir); err != nil {
		return err
	}

	// 3: the rules.
	engine, err := detect.New(drain, detect.Options{
		Rules: o.Rules, Deadline: o.Deadline, Log: o.Log,
		Open: func(ctx context.Context) (detect.Session, error) { return openDetectSession(ctx, o.DataDir) },
	})
	if err != nil {
		return err
	}
	a.detection, err = newDetection(drain, o.DataDir, &detection{db: a.db, evaluator: engine, sinks: o.Sinks, fold: o.Fold, log: o.Log})
	if err != nil {
		return errors.Join(err, engine.Close())
	}
	stored, detected := make(chan struct{}), make(chan error, 1)
	go func() { detected <- a.detection.run(abort, stored) }()
	defer func() {
		close(stored)
		select {
		case e := <-detected:
			err = errors.Join(err, e)
		case <-after(abort, abortGrace):
			err = errors.Join(err, errors.New("stop rules: an output takes no alerts"))
		}
	}()
	if o.Live != nil {
		if a.live, err = startLive(abort, o.DataDir, o.Live, o.Log); err != nil {
			return err
		}
		defer a.live.stop(abort)
	}

	// 4: the pipeline and the link that feeds it.
	users := &pipeline.Users{}
	a.pipeline = pipeline.New(sink{a}, pipeline.Options{
		BatchRows: o.BatchRows, BatchDelay: o.BatchDelay, User: users.Lookup, Log: o.Log,
		Redactor: o.Redactor, Unredacted: o.Unredacted,
		Fatal: func(err error) bool { return errors.Is(err, store.ErrFatal) },
	})
	items := make(chan pipeline.Item, itemsQueued)
	a.link = newLink(o.Link, items)
	a.link.opened = a.opened

	// 5: people may ask, also while procmond starts, which takes a slow machine long.
	stopControl, err := serveControl(o.DataDir, a.status, o.Log)
	if err != nil {
		o.Log.Warn("`sentineld status` will not see this agent", "err", err)
	} else {
		defer stopControl()
	}

	// 6: go.
	if err := a.begin(drain); err != nil {
		if drain.Err() != nil {
			return nil // told to end before there was anything to record
		}
		return err
	}
	drain, cancel := context.WithCancel(drain)
	defer cancel()
	piped := make(chan error, 1)
	go func() {
		piped <- a.pipeline.Run(abort, items)
		cancel() // without a pipeline there is nothing to read for
		for range items {
		}
	}()
	a.link.run(drain, abort)
	if err := <-piped; err != nil {
		return fmt.Errorf("store events: %w", err)
	}
	return a.db.EndRun(abort, store.End{At: time.Now().UnixNano(), Covered: a.link.covered.unixNano(), Outage: a.link.outage})
}

// abortGrace is how long a stage may take to end after everything was told to.
const abortGrace = time.Second

// after is closed some time after ctx ended.
func after(ctx context.Context, d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(d, func() { close(done) }) })
	return done
}

// begin connects to procmond where the last run left the stream, and records
// that a new run began.
func (a *agent) begin(ctx context.Context) error {
	session, seq, err := a.db.Position(ctx)
	if err != nil {
		return err
	}
	a.link.resume(session, seq, 0, "")
	if err := a.link.open(ctx, false); err != nil {
		return err
	}
	a.failures = a.link.failures()
	previous, err := a.db.BeginRun(ctx, store.Begin{Boot: a.link.client.Boot, At: a.started.UnixNano(), Failures: a.failures})
	if err != nil {
		a.link.hangUp()
		return err
	}
	if previous.Reached == 0 {
		return nil
	}
	cause := causeStopped
	switch {
	case previous.Ended == 0:
		cause = causeCrashed
	case previous.Outage != "":
		cause = previous.Outage + "; then " + causeStopped
	}
	a.link.resume(session, seq, previous.Reached, cause)
	return nil
}

// opened notes of each procmond whether the run still records failed execs.
func (a *agent) opened(ctx context.Context, c *health.Collector) error {
	if c.Failures || !a.failures {
		return nil
	}
	err := a.db.NoFailures(ctx)
	a.failures = err != nil
	return err
}

// sink is the store as the pipeline sees it. What was stored wakes the rules and
// the live output.
type sink struct{ a *agent }

func (s sink) Append(ctx context.Context, batch []event.Event, session string, seq uint64) error {
	var added store.Appended
	var err error
	if session == "" { // the agent's own
		added, err = s.a.db.Append(ctx, batch)
	} else {
		added, err = s.a.db.AppendFrom(ctx, batch, session, seq)
	}
	if err == nil {
		s.a.losses.stored(batch)
	}
	s.a.stored(added)
	return err
}

func (s sink) Reconcile(ctx context.Context, live []event.Event, now int64) error {
	added, err := s.a.db.Reconcile(ctx, live, now)
	s.a.stored(added)
	return err
}

func (a *agent) stored(added store.Appended) {
	a.detection.stored(added)
	if a.live != nil && added.Rows > 0 {
		a.live.wake()
	}
}

// ruleCacheKiB is the page cache of the rules' reader. It keeps nothing from one look to
// the next: SQLite empties a reader's cache when the writer has added something.
const ruleCacheKiB = 2000

// ruleDepth lets a rule use a CTE beside the views that stand in for the store's: behind
// each column that any rule reads is a whole view, and execs with all of them is 480 tables.
const ruleDepth = 1000

// askProcmond is how long the status waits for procmond's part: within controlTimeout.
const askProcmond = time.Second

// status says how the agent is.
func (a *agent) status() health.Agent {
	collector, silent := a.link.ask(askProcmond)
	h := health.Agent{
		State: health.Healthy, Version: cli.ThisBuild().Version, PID: os.Getpid(), Started: a.started.UnixNano(),
		DataDir: a.o.DataDir, Collector: collector, Restarts: a.link.restarts.Load(),
	}
	worse := func(s health.State, format string, args ...any) {
		h.State = h.State.Worse(s)
		h.Reasons = append(h.Reasons, fmt.Sprintf(format, args...))
	}
	if why := a.link.down.Load(); why != nil {
		h.NoEvents = *why
	} else if !silent.IsZero() && a.link.blocked() {
		h.NoEvents = fmt.Sprintf("what procmond tells has waited for the store since %s", shortTime(silent.UnixNano()))
	} else if !silent.IsZero() {
		h.NoEvents = fmt.Sprintf("procmond has not answered since %s", shortTime(silent.UnixNano()))
	}
	if h.NoEvents != "" {
		worse(health.Degraded, "no events come in: %s", h.NoEvents)
	} else if collector == nil {
		worse(health.Degraded, "%s", notUnderstood)
	}
	if c := h.Collector; c != nil {
		if why := c.Blind[event.KindExecFailed.String()]; why != "" {
			worse(health.Degraded, "%s", why)
		}
		if a.o.Failures && !c.Failures { // one that we start is told
			worse(health.Degraded, "procmond on %s runs without --exec-failures", a.o.Link.Socket)
		}
		if c.Cgroups != "" {
			worse(health.Degraded, "%s", c.Cgroups)
		}
		for _, r := range c.Refused {
			worse(health.Degraded, "source %s is not used: %s", r.Source, r.Reason)
		}
	}
	var lossy string
	if h.Loss, lossy = a.losses.status(time.Now()); lossy != "" {
		worse(health.Degraded, "%s", lossy)
	}
	if a.o.Unredacted {
		worse(health.Degraded, "secrets in arguments and environment are stored as they are (redact.enabled is false)")
	}
	p, failure := a.pipeline.Status()
	h.Pipeline = &p
	if failure != "" {
		worse(health.Failed, "the store takes no events: %s", failure)
	}
	rules, failure := a.detection.status()
	if failure != "" {
		worse(health.Degraded, "rules are not evaluated: %s", failure)
	}
	for _, r := range rules {
		h.Rules = append(h.Rules, health.Rule{
			ID: r.ID, State: string(r.State), Error: r.Err, Matches: r.Matches, Evaluations: r.Evaluations, BusyNS: int64(r.Busy), Missed: r.Missed,
		})
		if r.State != detect.StateOK && !r.Off {
			why, _, _ := strings.Cut(r.Err, "\n") // below it stands the piece of the file
			worse(health.Degraded, "rule %s (%s): %s", r.ID, r.State, why)
		}
	}
	if why := missedLately(h.Rules, time.Now()); why != "" {
		worse(health.Degraded, "%s", why)
	}
	s := a.db.Stats()
	h.Store.Bytes, h.Store.Alive = s.Bytes+s.WALBytes, int64(s.Live)
	return h
}

// detectSession is a store.Session as package detect wants it.
type detectSession struct{ *store.Session }

func openDetectSession(ctx context.Context, dir string) (detect.Session, error) {
	s, err := store.OpenSession(ctx, dir, store.SessionOptions{CacheKiB: ruleCacheKiB, MaxDepth: ruleDepth})
	if err != nil {
		return nil, err
	}
	return detectSession{s}, nil
}

func (s detectSession) Prepare(sql string) (*sqlite.Stmt, [][2]string, error) {
	stmt, reads, err := s.Session.Prepare(sql)
	pairs := make([][2]string, len(reads))
	for i, r := range reads {
		pairs[i] = [2]string{r.Table, r.Column}
	}
	return stmt, pairs, err
}
