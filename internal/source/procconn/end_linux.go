package procconn

import (
	"slices"

	"github.com/sentineld/sentineld/internal/event"
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
