package procconn

import (
	"errors"
	"os"
	"slices"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
)

// ending is an end that /proc told: when it was asked, the process had ended. What
// ended it may be a later message than the one that was asked about: its last thread
// may have executed another program first. So the exit is held until what was sent
// before the question is read.
type ending struct {
	index int    // of the exit in out; -1: it is not told
	start uint64 // of the process
	done  int64  // when it was asked, CLOCK_MONOTONIC
}

// exit is called for every thread. rest are the messages behind m.
func (t *tracker) exit(m *message, rest []message) {
	t.goesOn(m.tgid)
	p, ok := t.procs[m.tgid]
	leader := m.pid == m.tgid
	if !ok && !leader {
		return // it ended while others of its process, which is told, were on their way out
	}
	if !ok {
		if p, ok = t.identify(m); !ok {
			t.unnamed[event.KindExit]++
			return
		}
	}
	if leader && p.before != 0 {
		t.out = append(t.out, t.exited(m, proc{start: p.before}))
		p.before = 0
		t.procs[m.tgid] = p
		return
	}
	p.threads--
	switch {
	case !leader && p.late > 0:
		p.late--
	case leader || !p.single || t.unsure:
		p.ended.add(leader, m.status)
	}
	over, told := t.over(m, &p, rest)
	t.procs[m.tgid] = p
	if !over {
		return
	}
	if t.out = append(t.out, t.exited(m, p)); told {
		delete(t.procs, m.tgid)
	} else {
		t.ends[m.tgid] = ending{index: len(t.out) - 1, start: p.start, done: mono()}
	}
}

// over tells whether m was the end of a process: of its last thread. Where the
// threads were counted the messages told that; else /proc is asked, once the first
// thread is gone and no other end of a thread waits in rest: see ending.
func (t *tracker) over(m *message, p *proc, rest []message) (over, told bool) {
	if !p.ended.gone {
		return false, false
	}
	if p.counted && !t.unsure {
		return p.threads <= 0, true
	}
	if endsIn(rest, m.tgid) {
		return false, false
	}
	st, err := t.fs.Stat(int(m.tgid))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return true, false
	case err != nil:
		return false, false
	case st.Start != p.start:
		return true, false
	case !st.Zombie(): // the first thread made way for one that is executing a program
		p.ended.gone = false
		return false, false
	}
	return t.allEnded(st), false
}

// allEnded reports whether a process whose first thread has ended has no other that
// lives. Threads that a tracer has not waited for count on, and no message of them is to
// come.
func (t *tracker) allEnded(st procfs.Stat) bool {
	if st.Ended() {
		return true
	}
	ended, err := t.fs.ThreadsEnded(st)
	return ended || errors.Is(err, procfs.ErrGone)
}

// endsIn reports whether a thread of the process ends among messages: of this one, not of
// the next that has its pid.
func endsIn(messages []message, tgid uint32) bool {
	for i := range messages {
		switch r := &messages[i]; {
		case r.tgid != tgid:
		case r.what == evExit:
			return true
		case r.what == evFork && r.pid == tgid:
			return false
		}
	}
	return false
}

func (t *tracker) exited(m *message, p proc) event.Event {
	t.setParentOfExit(m, &p)
	e := t.event(event.KindExit, m, p)
	e.Exit = &event.Exit{}
	if status, ok := p.ended.wait(); ok {
		*e.Exit = event.Exit{Code: uint8(status >> 8), Signal: uint8(status & statusSignal), Core: status&statusCore != 0}
		e.Known |= event.KnownCode
	}
	if p.forked != 0 && !t.clocks.moved { // else it is not known when on the boot clock it was
		e.Exit.DurationNS = max(0, m.time+t.clocks.boot-p.forked)
		e.Known |= event.KnownDuration
	}
	return e
}

// setParentOfExit takes the parent that the exit itself tells of, if it does.
func (t *tracker) setParentOfExit(m *message, p *proc) {
	if q, ok := t.procs[m.parentTGID]; ok && m.parentTGID != 0 && q.start <= p.start {
		p.parentPID, p.parentStart, p.hasParent = m.parentTGID, q.start, true
	}
}

// goesOn is called with each message of a process: where its end is held, the
// message that ended it is not the one that was thought to be it.
func (t *tracker) goesOn(pid uint32) {
	e, ok := t.ends[pid]
	if !ok {
		return
	}
	delete(t.ends, pid)
	if p, ok := t.procs[pid]; ok && p.start == e.start && e.index >= 0 {
		t.take(e.index)
	}
}

// finish makes the end of a process final, if one is held.
func (t *tracker) finish(pid uint32) {
	e, ok := t.ends[pid]
	if !ok {
		return
	}
	delete(t.ends, pid)
	if p, ok := t.procs[pid]; ok && p.start == e.start {
		delete(t.procs, pid)
	}
}

// finishUntil makes all ends final that were asked about until settled.
func (t *tracker) finishUntil(settled int64) {
	for pid, e := range t.ends {
		if e.done <= settled {
			t.finish(pid)
		}
	}
}

// alive is what is known of a process that has not ended, as far as is known.
func (t *tracker) alive(pid uint32) (p proc, ok bool) {
	if _, ended := t.ends[pid]; ended {
		return p, false
	}
	p, ok = t.procs[pid]
	return p, ok
}

// take takes one event out of those that are held.
func (t *tracker) take(index int) {
	t.out = slices.Delete(t.out, index, index+1)
	behind := func(i *int) {
		if *i > index {
			*i--
		}
	}
	for pid, l := range t.execs {
		behind(&l.index)
		if l.before != nil {
			behind(&l.before.index)
		}
		t.execs[pid] = l
	}
	for pid, e := range t.ends {
		behind(&e.index)
		t.ends[pid] = e
	}
}

// begin forgets what was told before the source was opened: that is in the seed, or
// over.
func (t *tracker) begin() {
	t.forgetGone()
	t.out, t.execs, t.unnamed = nil, map[uint32]look{}, [event.NumKinds]uint64{}
	for pid, e := range t.ends {
		e.index = -1
		t.ends[pid] = e
	}
}
