package collect

import (
	"cmp"
	"hash/maphash"
	"slices"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

// tombstoneTime is how long an ended process is remembered, so that a second
// exit, a late child or a snapshot row read before its end find it.
const tombstoneTime = 10 * time.Second

// tombstonesMax bounds them in number.
const tombstonesMax = 1 << 16

// table holds every process that is alive, and those that ended a moment ago.
type table struct {
	procs map[event.ProcessKey]*proc // bounded by the system's processes and tombstonesMax
	byPID map[uint32]event.ProcessKey

	ended      []tombstone // in the order of their end
	live       int
	duplicates uint64
	hidden     func(pid int) bool // see Options
}

type tombstone struct {
	key event.ProcessKey
	at  int64
}

type proc struct {
	parent event.ProcessKey
	image  image
	start  uint32 // see startOf
	found  bool   // a row of a snapshot told image, and the source has told nothing since
	ended  bool
}

// image identifies what a process executes as far as a snapshot and a live event
// tell it alike.
type image struct {
	id   event.ExecID
	text uint64 // hash of exe and args; 0 = not known
}

// same reports whether a look at a process that is known to run i, which saw o, saw
// nothing new.
func (i image) same(o image) bool {
	switch {
	case i.id.Differs(o.id):
		return false
	case i.text != 0 && i.id.Same(o.id):
		return true
	}
	return o.text == 0 || i.text == o.text
}

// startOf is where in the tick of its key the process of an event started: ns, and
// 1, so that 0 is not known.
func startOf(e *event.Event) uint32 {
	if !e.Known.Has(event.KnownStart) {
		return 0
	}
	return uint32(e.StartNS%event.TickNS) + 1
}

func newTable() table {
	return table{procs: map[event.ProcessKey]*proc{}, byPID: map[uint32]event.ProcessKey{}}
}

var imageSeed = maphash.MakeSeed()

// imageOf is what an exec event tells of it.
func imageOf(e *event.Event) image {
	i := image{id: e.ExecID()}
	if !e.Known.Has(event.KnownExe | event.KnownArgs) {
		return i
	}
	var h maphash.Hash
	h.SetSeed(imageSeed)
	h.WriteString(e.Exec.Exe)
	h.WriteByte(0)
	h.WriteString(e.Exec.Args)
	i.text = h.Sum64() | 1
	return i
}

// find is apply for the row of a snapshot.
func (t *table) find(out []event.Event, r *event.Event) []event.Event {
	p := t.procs[r.Process]
	found := p != nil && p.found
	told := len(out)
	out = t.apply(out, r)
	if len(out) > told {
		found = true
	}
	if p := t.procs[r.Process]; p != nil {
		p.found = found
	}
	return out
}

// apply updates the table by one event of the source and appends to out what is
// to be handed on: the event, unless it was told before, and in front of it the
// exit of a process whose pid it shows to be in use again. When that was so soon
// that both have one key, the second cannot be told, and a gap takes its place.
func (t *table) apply(out []event.Event, e *event.Event) []event.Event {
	switch e.Kind {
	case event.KindGap, event.KindExecFailed, event.KindHash: // change no process
		return append(out, *e)
	}
	p := t.procs[e.Process]
	if p != nil {
		switch start := startOf(e); {
		case start == 0 || start == p.start:
		case p.ended && p.start != 0:
			return append(out, oneKey(e))
		case !p.ended && p.start == 0:
			p.start = start
		}
	}
	switch e.Kind {
	case event.KindFork:
		if p != nil {
			t.duplicates++
			return out
		}
		out = t.add(out, e, image{})
	case event.KindExec:
		now := imageOf(e)
		if p == nil {
			out = t.add(out, e, now)
			break
		}
		if p.ended {
			return out // told after its end: only a snapshot row can be so late
		}
		found := p.found
		p.found = false
		if e.Source == event.SourceSnapshot && p.image.same(now) {
			return out
		}
		if e.Source == event.SourcePoll && found && now.text != 0 && p.image.same(now) {
			return out // a snapshot between two looks has told it already
		}
		p.image = now
	case event.KindExit:
		switch {
		case p == nil:
			out = t.add(out, e, image{})
			p = t.procs[e.Process]
		case p.ended:
			t.duplicates++
			return out
		}
		t.end(e.Process, p, e.Time)
	}
	return append(out, *e)
}

// add enters the process of e. If another one has its pid, that one has ended
// and its exit was not seen.
func (t *table) add(out []event.Event, e *event.Event, now image) []event.Event {
	old, ok := t.byPID[e.Process.PID]
	if ok && old.Start < e.Process.Start {
		if p := t.procs[old]; p != nil && !p.ended {
			out = append(out, presumedExit(old, e.Time))
			t.end(old, p, e.Time)
		}
	}
	if e.Kind == event.KindFork {
		maker := e.Parent
		if e.Fork != nil {
			maker = e.Fork.Maker
		}
		if maker := t.procs[maker]; maker != nil {
			now = maker.image
		}
	}
	t.procs[e.Process] = &proc{parent: e.Parent, image: now, start: startOf(e)}
	if !ok || old.Start < e.Process.Start {
		t.byPID[e.Process.PID] = e.Process
	}
	t.live++
	return out
}

func (t *table) end(key event.ProcessKey, p *proc, at int64) {
	p.ended = true
	t.live--
	t.ended = append(t.ended, tombstone{key, at})
	drop := 0
	for drop < len(t.ended) && (len(t.ended)-drop > tombstonesMax || t.ended[drop].at < at-int64(tombstoneTime)) {
		k := t.ended[drop].key
		delete(t.procs, k)
		if t.byPID[k.PID] == k {
			delete(t.byPID, k.PID)
		}
		drop++
	}
	t.ended = t.ended[drop:]
}

func oneKey(e *event.Event) event.Event {
	return event.Event{
		Kind: event.KindGap, Source: e.Source, Known: event.KnownTime, Time: e.Time,
		Gap: &event.Gap{Until: e.Time, Of: e.Kind, Cause: "two processes had one identity: the pid was used again within 10 ms"},
	}
}

func presumedExit(key event.ProcessKey, at int64) event.Event {
	return event.Event{Kind: event.KindExit, Source: event.SourceSnapshot, Time: at, Process: key, Exit: &event.Exit{Presumed: true}}
}

// merge brings the table in line with a complete snapshot, whose rows were read
// while the batches in held came in; none of held has been applied yet. since is
// a time before the snapshot began. See Sink.Sync for live and news. late are the
// rows that are for catchUp, once held has been applied.
//
// The live event wins: a process whose fork is in held is not the snapshot's to
// tell, nor is one that has the pid of an older process of which held still
// tells (its own fork was lost, so that another snapshot is due). The row of one
// whose exec is in held may show the image before, the one after, or half of
// each, so its image is not used.
func (t *table) merge(rows []event.Event, held [][]event.Event, since int64) (live, news, late []event.Event) {
	born := map[event.ProcessKey]bool{}
	execed := map[event.ProcessKey]bool{}
	ends := map[event.ProcessKey]bool{}
	oldest := map[uint32]uint64{} // start of the oldest process in held, by pid
	for _, batch := range held {
		for i := range batch {
			e := &batch[i]
			if p := t.procs[e.Process]; p != nil && (p.ended || e.Kind == event.KindFork) {
				continue // told twice
			}
			if start, ok := oldest[e.Process.PID]; e.Kind != event.KindGap && (!ok || e.Process.Start < start) {
				oldest[e.Process.PID] = e.Process.Start
			}
			switch e.Kind {
			case event.KindFork:
				born[e.Process] = true
			case event.KindExec:
				if e.Source != event.SourceSnapshot {
					execed[e.Process] = true
				}
			case event.KindExit:
				ends[e.Process] = true
			}
		}
	}

	seen := make(map[event.ProcessKey]bool, len(rows))
	// Parents are older than their children, so that a child finds its parent.
	slices.SortStableFunc(rows, func(a, b event.Event) int {
		return cmp.Or(cmp.Compare(a.Process.Start, b.Process.Start), cmp.Compare(a.Process.PID, b.Process.PID))
	})
	for i := range rows {
		r := &rows[i]
		seen[r.Process] = true
		p := t.procs[r.Process]
		switch start, ok := oldest[r.Process.PID]; {
		case p != nil && p.ended:
			continue
		case p != nil: // what held tells of an older one comes too late
		case born[r.Process]:
			if !execed[r.Process] {
				late = append(late, *r)
			}
			continue
		case ok && start < r.Process.Start:
			continue
		}
		if execed[r.Process] {
			r = bare(r)
		}
		news = t.find(news, r)
		live = append(live, *r)
	}
	for key, p := range t.procs {
		switch {
		case p.ended || seen[key]:
		case ends[key] || execed[key] || t.hides(key):
			// It lives at this point of the stream; what comes tells the rest.
			live = append(live, *bare(&event.Event{Process: key, Parent: p.parent, Time: since}))
		default:
			news = append(news, presumedExit(key, since))
			t.end(key, p, since)
		}
	}
	// Of some only held tells: they live at this point, and ended before they could
	// be read. Where another process has or had the pid, the end of that one was lost,
	// and what held tells comes behind it.
	for _, batch := range held {
		for i := range batch {
			e := &batch[i]
			if !execed[e.Process] && !ends[e.Process] || born[e.Process] || seen[e.Process] || t.procs[e.Process] != nil {
				continue
			}
			if p := t.procs[t.byPID[e.Process.PID]]; p != nil && !p.ended || oldest[e.Process.PID] < e.Process.Start {
				continue
			}
			r := bare(&event.Event{Process: e.Process, Parent: e.Parent, Time: since})
			news = t.apply(news, r)
			live = append(live, *r)
		}
	}
	return live, news, late
}

// hides reports whether a process that is not in a snapshot lives all the same.
func (t *table) hides(key event.ProcessKey) bool {
	return t.hidden != nil && t.byPID[key.PID] == key && t.hidden(int(key.PID))
}

// catchUp tells the images of processes that were born while a snapshot was read
// and did no exec since. They have their parent's, which need not be known: when
// the parent did an exec meanwhile, its own row did not tell.
func (t *table) catchUp(late []event.Event) (news []event.Event) {
	for i := range late {
		if p := t.procs[late[i].Process]; p != nil {
			news = t.find(news, &late[i])
		}
	}
	return news
}

// unknown lists the pids of living processes that were forked in held, and of
// which it is not known what they run.
func (t *table) unknown(held [][]event.Event) (pids []uint32) {
	for _, batch := range held {
		for i := range batch {
			if batch[i].Kind != event.KindFork {
				continue
			}
			if p := t.procs[batch[i].Process]; p != nil && !p.ended && p.image.text == 0 {
				pids = append(pids, batch[i].Process.PID)
			}
		}
	}
	return pids
}

// settle tells what processes run that were looked up while the batches in held
// came in, none of which has been applied yet. As with merge, a row is not used
// when held tells of an exec, nor when it is of a process that is not known.
func (t *table) settle(rows []event.Event, held [][]event.Event) (news []event.Event) {
	execed := map[event.ProcessKey]bool{}
	for _, batch := range held {
		for i := range batch {
			if batch[i].Kind == event.KindExec {
				execed[batch[i].Process] = true
			}
		}
	}
	for i := range rows {
		if t.procs[rows[i].Process] != nil && !execed[rows[i].Process] {
			news = t.find(news, &rows[i])
		}
	}
	return news
}

// bare is the row of a process of which no more is known here than that it is
// alive.
func bare(r *event.Event) *event.Event {
	b := event.Event{
		Kind: event.KindExec, Source: event.SourceSnapshot, Time: r.Time,
		Process: r.Process, Parent: r.Parent, Exec: &event.Exec{},
	}
	if !r.Parent.IsZero() {
		b.Known = event.KnownParent
	}
	return &b
}
