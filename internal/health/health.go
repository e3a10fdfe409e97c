// Package health is what each stage says of itself: the status that `sentineld
// status` shows, made of plain values that travel as JSON.
package health

// State of a program or a stage.
type State string

// The states, from best to worst.
const (
	Healthy  State = "healthy"
	Degraded State = "degraded" // works, but misses something; Reasons says what
	Failed   State = "failed"
	Stopped  State = "stopped"
)

// Worse returns the worse of two states.
func (s State) Worse(t State) State {
	order := map[State]int{Healthy: 0, Degraded: 1, Stopped: 2, Failed: 3}
	if order[t] > order[s] {
		return t
	}
	return s
}

// Collector is procmond's status.
type Collector struct {
	Version  string            `json:"version"`
	PID      int               `json:"pid"`
	Started  int64             `json:"started"` // Unix ns
	Source   string            `json:"source"`  // the one that runs
	Detail   string            `json:"detail,omitempty"`
	Refused  []Refusal         `json:"refused,omitempty"` // the better ones, and why they do not
	Live     int               `json:"live"`              // processes in the table
	Events   map[string]uint64 `json:"events"`            // handed on since the start, by kind
	Lost     map[string]uint64 `json:"lost,omitempty"`    // by the source, by kind; "any" where the kind is not known
	Dropped  map[string]uint64 `json:"dropped,omitempty"` // without room in the queue while sentineld was away, by kind
	Gaps     uint64            `json:"gaps"`              // told since the start
	Blind    map[string]string `json:"blind,omitempty"`   // what the source never sees, by kind of event, and why; "any" = of each kind
	Failures bool              `json:"exec_failures"`     // failed execs were asked for
	Cgroups  string            `json:"cgroups,omitempty"` // why /proc tells none; "" = it does
	Syncs    uint64            `json:"syncs"`             // snapshots taken
	Resyncs  uint64            `json:"resyncs"`           // of these, after a loss
	Held     int               `json:"held"`              // events read, that wait for a snapshot or for their details
	Queue    int               `json:"queue_bytes"`       // not yet stored by sentineld
	Backlog  int               `json:"backlog_bytes"`     // of events in the kernel's buffer, not yet read
	Buffer   int               `json:"buffer_bytes"`      // the size of that; 0 = the source has none

	// Executables.
	HashRate    int64             `json:"hash_rate"` // bytes a second; 0 = they are not hashed
	Hashed      uint64            `json:"hashed"`    // files read
	HashedBytes uint64            `json:"hashed_bytes"`
	HashHits    uint64            `json:"hash_hits"`              // execs whose file was known
	HashSkipped map[string]uint64 `json:"hash_skipped,omitempty"` // execs without a hash, by reason
	HashQueue   int               `json:"hash_queue"`             // execs that wait for one
}

// Refusal is a source that could not be used, and why.
type Refusal struct {
	Source string `json:"source"`
	Reason string `json:"reason"`
}

// Agent is sentineld's status.
type Agent struct {
	State     State      `json:"state"`
	Reasons   []string   `json:"reasons,omitempty"`   // why it is not healthy
	NoEvents  string     `json:"no_events,omitempty"` // why none come in at the moment; "" = they do
	Version   string     `json:"version"`
	PID       int        `json:"pid,omitempty"`
	Started   int64      `json:"started,omitempty"` // Unix ns
	DataDir   string     `json:"data_dir"`
	Collector *Collector `json:"collector,omitempty"`
	Pipeline  *Pipeline  `json:"pipeline,omitempty"`
	Store     Store      `json:"store"`
	Rules     []Rule     `json:"rules,omitempty"`
	Loss      Loss       `json:"loss"`
	Restarts  uint64     `json:"collector_restarts"`
}

// Pipeline is the way from procmond to the store.
type Pipeline struct {
	Events uint64 `json:"events"` // received since the start
	Stored uint64 `json:"stored"` // in the store, durable
	Queued int    `json:"queued"` // received and not yet stored
	Newest int64  `json:"newest"` // time of the newest event, but for gaps, of the latest batch that was stored, Unix ns
	LagNS  int64  `json:"lag_ns"` // its age at that time
}

// Loss is what the agent stored gaps for since its start, whoever lost it: the
// kernel's buffer, procmond's queue, an outage.
type Loss struct {
	Gaps      uint64            `json:"gaps"`
	Events    map[string]uint64 `json:"events,omitempty"` // by kind, as far as they were counted
	Uncounted uint64            `json:"uncounted"`        // gaps of which nobody knows how much was lost
	Last      int64             `json:"last,omitempty"`   // end of the latest, also one before the start; Unix ns
	Cause     string            `json:"cause,omitempty"`  // of it
}

// Store is the event store.
type Store struct {
	Bytes     int64  `json:"bytes"` // database and its log
	Events    int64  `json:"events"`
	Processes int64  `json:"processes"`
	Alive     int64  `json:"alive"`
	Gaps      int64  `json:"gaps"`
	LastGap   *Gap   `json:"last_gap,omitempty"`
	Alerts    int64  `json:"alerts"`
	First     int64  `json:"first,omitempty"` // time of the oldest and newest event, Unix ns
	Last      int64  `json:"last,omitempty"`
	Error     string `json:"error,omitempty"`
}

// Gap is a range of time in which something was not seen.
type Gap struct {
	Time  int64  `json:"ts"` // Unix ns
	Until int64  `json:"until"`
	Kind  string `json:"kind"`
	Lost  *int64 `json:"lost"` // nil = nobody knows
	Cause string `json:"cause"`
}

// Rule is the state of one detection rule.
type Rule struct {
	ID          string `json:"id"`
	State       string `json:"state"` // ok, error, disabled
	Error       string `json:"error,omitempty"`
	Matches     uint64 `json:"matches"`
	Evaluations uint64 `json:"evaluations"`
	BusyNS      int64  `json:"busy_ns"`
	Missed      Missed `json:"missed,omitzero"`
}

// Missed is what a rule did not look at, or found and has no alert for, since the start.
// It does not look at it again.
type Missed struct {
	Evaluations uint64 `json:"evaluations"`     // that failed
	Cause       string `json:"cause,omitempty"` // of the last failure
	Matches     uint64 `json:"matches"`         // over a limit of one evaluation
	Events      uint64 `json:"events"`          // longer than a rule may read
	From        int64  `json:"from,omitempty"`  // time of the events that it is about, Unix ns; 0 = nothing was missed
	Until       int64  `json:"until,omitempty"`
	At          int64  `json:"at,omitempty"` // when something was missed last, Unix ns
}
