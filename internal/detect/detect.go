// Package detect evaluates rules over the event store and makes alerts of what
// they match.
//
// A rule without a window sees every event once, when it is new: its views
// execs, exec_failures, forks, exits and gaps hold nothing but the events since
// the last evaluation. One that reads hashes sees an exec once more when its hash
// comes after it, and what it finds is found once (see late.go). A rule with a
// window sees the events of that time, again and again, when some were added;
// what it has reported of a window it does not report again. Looking at a whole
// window costs more the more happens, so the more it costs the longer the next
// look is put off, up to 10 s. Where an outage has left many windows, they are looked
// at from the oldest on, a second in a row at most. The views processes, alerts and
// binaries are always whole.
//
// All rules that match fire. A rule that fails or takes too long costs itself,
// not the others.
package detect

import (
	"context"
	"log/slog"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/rule"
)

// Session is a read-only connection to the event store. It is used by one
// goroutine at a time.
type Session interface {
	Conn() *sqlite.Conn
	// Trusted lets fn prepare and run our own statements: temporary tables and
	// views, and what fills them. They stand in for the views of the same name.
	Trusted(fn func() error) error
	// Prepare compiles a rule's SQL, and says which columns of which views it
	// reads: {view, column} in lower case, column "" for rows without a column.
	Prepare(sql string) (*sqlite.Stmt, [][2]string, error)
	// WithDeadline stops what runs in fn after d (0 = never) or when ctx ends.
	WithDeadline(ctx context.Context, d time.Duration, fn func() error) error
	Close() error
}

// Range is a stretch of the event stream, new since the last evaluation.
type Range struct {
	FromSeq, ToSeq int64 // after FromSeq, up to ToSeq
	FromTS         int64 // no event of it is older, Unix ns: the store is ordered by time
	// Final says that nothing may follow for long: nothing is put off, but for what takes
	// longer than 10 s.
	Final bool
}

// Result is what one evaluation gave.
type Result struct {
	Alerts     []event.Alert
	Cut        int // matches over a limit, which have no alert
	Unreadable int // events that no rule without a window saw, since their row is longer than the session may read
	Failed     int // rules that failed or ran out of time: they may have missed matches

	// Stalled is why rules with a window were not evaluated, through no fault of theirs;
	// "" = they were. They are put off.
	Stalled string

	// PutOff says that rules with a window have not seen the events after this
	// seq yet, -1 = they have. They are looked at in an Evaluate from Again on,
	// which may have an empty Range. Whoever starts anew starts there: what is
	// found a second time has the same id.
	PutOff int64
	Again  time.Time
}

// Evaluator evaluates rules over new events, in this process or another one.
// Evaluate and Close are called by one goroutine, Status by any.
type Evaluator interface {
	Evaluate(ctx context.Context, r Range) (Result, error)
	Status() []RuleStatus
	Close() error
}

var _ Evaluator = (*Engine)(nil)

// State is what became of a rule.
type State string

const (
	StateOK       State = "ok"
	StateError    State = "error"    // the last evaluation failed; it will be tried again
	StateDisabled State = "disabled" // switched off, does not compile, or failed too often
)

// RuleStatus tells how a rule is doing.
type RuleStatus struct {
	ID          string
	State       State
	Off         bool   // disabled by its own file
	Strikes     int    // failures in a row
	Err         string // of the last failure, or why it is disabled
	Evaluations uint64
	Matches     uint64 // result rows
	Missed      health.Missed
	Busy        time.Duration
}

// Options of an Engine. Only Open has to be set.
type Options struct {
	Rules []rule.Rule
	// Open opens a session; an engine holds at most two, until Close.
	Open func(ctx context.Context) (Session, error)
	Log  *slog.Logger

	Deadline time.Duration // of one rule's evaluation; default 2 s
	Strikes  int           // failures in a row that disable a rule; default 3
	MaxRows  int           // alerts per rule and evaluation; default 1,000
	MaxBytes int           // bytes of result rows per rule and evaluation; default 1 MiB
	Now      func() time.Time
}

func (o *Options) fillDefaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Deadline == 0 {
		o.Deadline = 2 * time.Second
	}
	if o.Strikes == 0 {
		o.Strikes = 3
	}
	if o.MaxRows == 0 {
		o.MaxRows = 1000
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// eventViews are the views with one row for each event, which are narrowed to
// what a rule may see.
var eventViews = []string{"execs", "exec_failures", "forks", "exits", "gaps"}

// stateViews are read as they are.
var stateViews = []string{"processes", "binaries", "alerts"}

// maxValueBytes is how much of a command line rules match: no operation of
// SQLite can be stopped, and some take time with the square of the length.
const maxValueBytes = 16 << 10
