package procconn

import (
	"errors"
	"os"
	"slices"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
)

const settleTime = int64(SettleTime)

// startSlack is what a start may seem to be after its fork event by the error of
// the clocks' offset.
const startSlack = int64(time.Millisecond)

// proc is what is remembered of a live process.
type proc struct {
	start       uint64 // ticks, of its key
	forked      int64  // CLOCK_BOOTTIME, ns; 0 = its fork was not told, or the time not known
	parentPID   uint32
	parentStart uint64
	hasParent   bool // the parent is known, as of the fork or the seed

	// before is the start of the process that had this pid before and whose
	// exit is still to come: the kernel sends it after the pid became free.
	before uint64

	counted bool  // the fork was told, and every thread's since
	threads int32 // if counted
	late    int32 // threads from before the last exec whose exits may still come
	single  bool  // no thread's fork was told since the last exec, and none lost: others are from before it
	ended   statuses
}

// look is the last exec of a process among the events that are held.
type look struct {
	index  int           // in out
	done   int64         // when its details had been read, CLOCK_MONOTONIC; 0 = not yet
	layout procfs.Layout // of the program they are of
	before *doubt        // until its own details are read
}

// doubt is an exec whose details may be those of the next one. They were taken
// from it if that came within settleTime.
type doubt struct {
	index  int // in out
	taken  bool
	exec   *event.Exec
	known  event.Known
	layout procfs.Layout
}

// tracker turns messages into events. It knows every live process.
type tracker struct {
	fs      procfs.FS
	boot    event.BootID
	argsMax int
	clocks  clocks

	procs  map[uint32]proc   // by pid; bounded by the live processes, forgotten at exit
	gone   map[uint32]uint64 // starts of those that the last seed did not find alive; until forgetGone
	unsure bool              // messages are missing since the last seed: nothing counts as counted

	out     []event.Event     // held back, in order
	execs   map[uint32]look   // by pid; bounded by out
	ends    map[uint32]ending // by pid; bounded by out and what begin left
	unnamed [event.NumKinds]uint64
}

// seed reads all live processes from /proc. Processes that are not there, or that have
// ended but for threads that a tracer has not waited for, stay until forgetGone: messages
// that wait may tell of their ends. So do hidden ones, until their end.
func (t *tracker) seed() error {
	pids, err := t.fs.PIDs()
	if err != nil {
		return err
	}
	old := t.procs
	t.procs, t.gone = make(map[uint32]proc, 2*len(pids)), map[uint32]uint64{}
	parents := make(map[uint32]uint32, len(pids))
	for _, n := range pids {
		st, err := t.fs.Stat(n)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) { // hidepid=1 shows no start
			continue
		} else if err != nil {
			t.procs = old
			return err
		}
		pid, p := uint32(n), proc{start: st.Start}
		// Threads that ended unseen may have had any status.
		p.ended.gone = st.Zombie()
		p.ended.unseen = p.ended.gone
		if o := old[pid]; o.start == p.start {
			p.forked, p.parentPID, p.parentStart, p.hasParent = o.forked, o.parentPID, o.parentStart, o.hasParent
		}
		t.procs[pid], parents[pid] = p, uint32(st.PPID)
		if p.ended.gone && t.allEnded(st) {
			t.gone[pid] = p.start
		}
	}
	for pid, p := range t.procs {
		if !p.hasParent {
			t.setParent(&p, parents[pid])
			t.procs[pid] = p
		}
	}
	for pid, o := range old {
		if _, ok := t.procs[pid]; !ok {
			o.counted = false
			t.procs[pid] = o
			if !t.fs.Hidden(int(pid)) {
				t.gone[pid] = o.start
			}
		}
	}
	t.unsure = false
	return nil
}

// forgetGone is due when all messages from before the last seed were applied.
func (t *tracker) forgetGone() {
	for pid, start := range t.gone {
		if p, ok := t.procs[pid]; ok && p.start == start {
			delete(t.procs, pid)
		}
	}
	t.gone = nil
}

// apply takes messages in their order. details says whether to read those of
// new programs.
func (t *tracker) apply(messages []message, details bool) {
	for i := range messages {
		switch m := &messages[i]; m.what {
		case evFork:
			t.fork(m)
		case evExec:
			t.exec(m)
		case evExit:
			t.exit(m, messages[i+1:])
		}
	}
	if !details {
		return
	}
	for i := range messages {
		if m := &messages[i]; m.what == evExec {
			if l, ok := t.execs[m.tgid]; ok && l.done == 0 {
				e := &t.out[l.index]
				l.layout = t.look(e)
				if l.before != nil {
					t.decide(l.before, e, l.layout)
				}
				l.done, l.before = mono(), nil
				t.execs[m.tgid] = l
			}
		}
	}
}

func (t *tracker) fork(m *message) {
	if m.pid != m.tgid {
		t.goesOn(m.tgid)
		if p, ok := t.procs[m.tgid]; ok {
			p.threads++
			p.single = false
			t.procs[m.tgid] = p
		}
		return
	}
	if m.tgid == 0 { // the idle task of a CPU that comes up
		return
	}
	t.finish(m.tgid)
	old, had := t.procs[m.tgid]
	start, ok := t.startOf(m)
	if !ok {
		t.unnamed[event.KindFork]++
		delete(t.procs, m.tgid)
		return
	}
	p := proc{start: start, counted: true, threads: 1}
	if !t.clocks.moved {
		p.forked = m.time + t.clocks.boot
	}
	if had && old.start != start && !t.unsure && t.gone[m.tgid] != old.start {
		p.before = old.start
	}
	t.setParent(&p, m.parentTGID)
	t.procs[m.tgid] = p
	t.out = append(t.out, t.event(event.KindFork, m, p))
}

// startOf is the start of a process that was forked just now. /proc has it
// exactly, unless the process is gone or hidden, or another one has its pid.
func (t *tracker) startOf(m *message) (ticks uint64, ok bool) {
	st, err := t.fs.Stat(int(m.tgid))
	switch {
	case err == nil && t.startedBy(st, m):
		return st.Start, true
	case err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) || t.clocks.moved:
		return 0, false
	}
	return event.TicksOf(uint64(m.time + t.clocks.boot)), true
}

// startedBy tells whether a process can be the one that m tells of.
func (t *tracker) startedBy(st procfs.Stat, m *message) bool {
	return st.Start <= event.TicksOf(uint64(m.time+t.clocks.boot+startSlack))
}

// identify finds a process that was not seen to start.
func (t *tracker) identify(m *message) (p proc, ok bool) {
	st, err := t.fs.Stat(int(m.tgid))
	if err != nil || !t.startedBy(st, m) {
		return p, false
	}
	p.start = st.Start
	t.setParent(&p, uint32(st.PPID))
	return p, true
}

// setParent looks the parent up by its pid, 0 for none.
func (t *tracker) setParent(p *proc, pid uint32) {
	p.parentPID, p.parentStart, p.hasParent = pid, 0, pid == 0
	if pid == 0 {
		return
	}
	q, ok := t.procs[pid]
	if !ok {
		st, err := t.fs.Stat(int(pid))
		q.start, ok = st.Start, err == nil
	}
	if ok && q.start <= p.start { // a younger one has the parent's pid by now
		p.parentStart, p.hasParent = q.start, true
	}
}

func (t *tracker) exec(m *message) {
	t.goesOn(m.tgid)
	p, ok := t.procs[m.tgid]
	if !ok {
		if p, ok = t.identify(m); !ok {
			t.unnamed[event.KindExec]++
			return
		}
	}
	p.ended = statuses{}
	p.late, p.single = max(p.threads-1, 0), !t.unsure
	t.procs[m.tgid] = p
	e := t.event(event.KindExec, m, p)
	e.Exec = &event.Exec{}
	next := look{index: len(t.out)}
	if l, ok := t.execs[m.tgid]; ok && l.done != 0 {
		was := &t.out[l.index]
		next.before = &doubt{index: l.index, taken: m.time <= l.done+settleTime, exec: was.Exec, known: was.Known, layout: l.layout}
		if next.before.taken {
			void(was)
		}
	}
	t.execs[m.tgid] = next
	t.out = append(t.out, e)
}

// decide says what becomes of details that were read before next was told, once its
// own are read: with another file they are not next's, and with the same place in
// memory they are.
func (t *tracker) decide(d *doubt, next *event.Event, layout procfs.Layout) {
	was := &t.out[d.index]
	x, y := d.exec, next.Exec
	switch {
	case d.taken && (d.known & next.Known).Has(event.KnownFile) && (x.Dev != y.Dev || x.Inode != y.Inode):
		was.Exec, was.Known = d.exec, d.known
	case !d.taken && layout.Known() && layout.SameExec(d.layout):
		void(was)
	}
}

// look reads the details of an exec, and where its program is. Where it cannot be
// told whose they are, there are none.
func (t *tracker) look(e *event.Event) (at procfs.Layout) {
	s, err := t.fs.Look(t.boot, int(e.Process.PID), t.argsMax)
	if err != nil || s.Event.Process != e.Process {
		return at // gone, or not ours to see
	}
	k := s.Event.Known
	if s.Torn || k.Has(event.KnownExe) && !k.Has(event.KnownArgs) {
		return at // in the middle of another exec
	}
	if e.Known.Has(event.KnownParent) {
		k &^= event.KnownParent
	} else if k.Has(event.KnownParent) {
		e.Parent = s.Event.Parent
	}
	e.Exec, e.Known = s.Event.Exec, e.Known|k
	return s.Stat.Layout
}

// void takes the details from an exec: they may be those of the next one.
func void(e *event.Event) {
	e.Exec, e.Known = &event.Exec{}, e.Known&(event.KnownTime|event.KnownParent)
}

// voidSince voids the execs whose details were read after settled.
func (t *tracker) voidSince(settled int64) {
	for _, l := range t.execs {
		if l.done > settled {
			void(&t.out[l.index])
		}
	}
}

// event is what all kinds have in common. A parent that has ended since it was
// noted is the parent no more.
func (t *tracker) event(kind event.Kind, m *message, p proc) event.Event {
	e := event.Event{
		Kind: kind, Source: event.SourceProcconn, Time: m.time + t.clocks.wall,
		Process: event.ProcessKey{Boot: t.boot, PID: m.tgid, Start: p.start},
	}
	if !t.clocks.moved {
		e.Known |= event.KnownTime
	}
	if !p.hasParent {
		return e
	}
	if p.parentPID == 0 {
		e.Known |= event.KnownParent
	} else if q, ok := t.alive(p.parentPID); ok && q.start == p.parentStart || kind == event.KindFork {
		e.Parent = event.ProcessKey{Boot: t.boot, PID: p.parentPID, Start: p.parentStart}
		e.Known |= event.KnownParent
	}
	return e
}

// ready takes out the events that are final: up to the first exec whose details
// were read after settled, or end that was asked about after it.
func (t *tracker) ready(settled int64) []event.Event {
	t.finishUntil(settled)
	cut := len(t.out)
	for _, e := range t.ends {
		if e.index >= 0 {
			cut = min(cut, e.index)
		}
	}
	for _, l := range t.execs {
		if l.done > settled {
			cut = min(cut, l.index)
		}
	}
	batch := t.out[:cut:cut]
	t.out = slices.Clone(t.out[cut:])
	for pid, e := range t.ends {
		if e.index >= 0 {
			e.index -= cut
			t.ends[pid] = e
		}
	}
	for pid, l := range t.execs {
		if l.index < cut {
			delete(t.execs, pid)
		} else { // without before: what was not looked at by now will not be
			t.execs[pid] = look{index: l.index - cut, done: l.done, layout: l.layout}
		}
	}
	return batch
}

// takeUnnamed are gaps for what was told of processes that have no key, since
// from.
func (t *tracker) takeUnnamed(from int64) (gaps []event.Event) {
	for kind, n := range t.unnamed {
		if n > 0 {
			gaps = append(gaps, gap(from, event.Kind(kind), n, causeUnnamed))
		}
	}
	t.unnamed = [event.NumKinds]uint64{}
	return gaps
}

// gap ends now, or, where the clock was set back since, covers what both clocks said.
// lost is 0 if nobody knows.
func gap(from int64, of event.Kind, lost uint64, cause string) event.Event {
	now := time.Now().UnixNano()
	e := event.Event{
		Kind: event.KindGap, Source: event.SourceProcconn, Known: event.KnownTime, Time: min(from, now),
		Gap: &event.Gap{Until: max(from, now), Of: of, Lost: lost, Cause: cause},
	}
	if lost > 0 {
		e.Known |= event.KnownLost
	}
	return e
}
