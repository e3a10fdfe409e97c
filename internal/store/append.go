package store

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/sentineld/sentineld/internal/event"
)

// Appended says what a call stored. The zero value is nothing. FirstTS is the
// smallest key in time among the rows, so that a reader finds all of them at
// ts >= FirstTS AND seq >= FirstSeq. Hashes that came late have numbers, too, but
// their exec may be of long ago: hash_rows says which it is.
type Appended struct {
	FirstSeq, LastSeq int64
	Rows              int
	FirstTS           int64
}

// Append stores a batch in one transaction. An error wraps ErrRetry or
// ErrFatal.
//
// An exec or exit of a process that is not known makes it known. Not stored,
// but counted in Stats, are a second fork of a process, a second exit, and an
// exec with SourceSnapshot of a process that is known to run just that, whatever
// title it gave itself since. One of which neither executable nor arguments are
// known makes the process known, and is no exec.
func (db *DB) Append(ctx context.Context, batch []event.Event) (Appended, error) {
	return db.append(ctx, batch, nil)
}

// AppendFrom is Append and records, in the same transaction, that the
// collector's stream is stored up to sessionSeq of session; see Position.
func (db *DB) AppendFrom(ctx context.Context, batch []event.Event, session string, sessionSeq uint64) (Appended, error) {
	return db.append(ctx, batch, func() error { return db.writePosition(batch, session, sessionSeq) })
}

func (db *DB) append(ctx context.Context, batch []event.Event, also func() error) (a Appended, err error) {
	if len(batch) == 0 && also == nil {
		return Appended{}, ctx.Err()
	}
	err = db.locked(ctx, func() error {
		for i := range batch {
			if err := db.apply(&batch[i], batch[i].Source == event.SourceSnapshot, &a); err != nil {
				return err
			}
		}
		if also != nil {
			if err := also(); err != nil {
				return err
			}
		}
		return db.reach(event.Newest(batch))
	})
	if err != nil {
		return Appended{}, fmt.Errorf("append %d events: %w", len(batch), err)
	}
	return a, nil
}

// apply stores one event. running says that it tells of a process that was
// found running, and not of an exec.
func (db *DB) apply(e *event.Event, running bool, a *Appended) error {
	if !valid(e) {
		db.stats.Invalid++
		return nil
	}
	if e.Kind == event.KindGap {
		return db.applyGap(e, a)
	}
	if err := db.useBoot(e.Process.Boot); err != nil {
		return err
	}
	switch e.Kind {
	case event.KindExec:
		return db.applyExec(e, running, a)
	case event.KindExecFailed:
		p, parent, err := db.process(e)
		if err != nil {
			return err
		}
		if err := db.seenAlive(e, p, false); err != nil {
			return err
		}
		above := p.above
		if parent != nil {
			above = parent.lineageOfChildren()
		}
		_, err = db.insertExec(e, p, parent, above, p.execs, a)
		return err
	case event.KindFork:
		return db.applyFork(e, a)
	case event.KindHash:
		return db.applyHash(e, a)
	default:
		return db.applyExit(e, a)
	}
}

func valid(e *event.Event) bool {
	switch e.Kind {
	case event.KindExec, event.KindExecFailed:
		return e.Exec != nil && !e.Process.IsZero()
	case event.KindFork:
		return !e.Process.IsZero()
	case event.KindExit:
		return e.Exit != nil && !e.Process.IsZero()
	case event.KindGap:
		return e.Gap != nil
	case event.KindHash:
		return e.Hash != nil && len(e.Hash.SHA256) == sha256.Size && !e.Process.IsZero()
	}
	return false
}

// process finds the process of an event and its parent at that moment (nil =
// not known, or none), makes rows for those that are new, and adds what the
// event tells for the first time.
func (db *DB) process(e *event.Event) (p, parent *process, err error) {
	t := &db.procs
	if e.Known.Has(event.KnownParent) && !e.Parent.IsZero() {
		if parent, err = db.find(e.Parent); err != nil {
			return nil, nil, err
		}
		if parent == nil {
			parent = t.add(e.Parent)
			db.setStart(parent)
		}
	}
	if e.Kind == event.KindFork {
		p = t.m[e.Process] // is new, and costs no search
	} else if p, err = db.find(e.Process); err != nil {
		return nil, nil, err
	}
	if p == nil {
		p = t.add(e.Process)
	}
	if p.firstTS == unknown {
		p.firstTS = e.Time
		t.touch(p)
	}
	if p.startNS == unknown && e.Known.Has(event.KnownStart) {
		p.startNS = int64(e.StartNS)
		t.touch(p)
	}
	if p.started == unknown {
		db.setStart(p)
	}
	if p.ppid == unknown && e.Known.Has(event.KnownParent) {
		p.ppid = int64(e.Parent.PID)
		if parent != nil {
			p.parent = parent.id
			p.above = parent.lineageOfChildren()
		} else {
			p.above = &lineage{} // nothing is above it
		}
		t.touch(p)
	}
	return p, parent, nil
}

// setStart computes when a process started from its start on the boot clock.
func (db *DB) setStart(p *process) {
	boot := db.bootTime
	switch {
	case boot == 0:
		return
	case p.startNS != unknown:
		p.started = boot + p.startNS
	case p.key.Start != 0:
		p.started = boot + int64(p.key.Start)*event.TickNS
	default:
		return
	}
	db.procs.touch(p)
}

func (db *DB) applyExec(e *event.Event, running bool, a *Appended) error {
	if running {
		old, err := db.find(e.Process)
		if err != nil {
			return err
		}
		if old != nil {
			if err := db.seenAlive(e, old, true); err != nil {
				return err
			}
		}
		if old != nil && old.endedTS == unknown && old.firstTS != unknown && old.image != nil && old.image.same(db, e) {
			db.stats.Unchanged++
			return db.applyFoundHash(e, old, a)
		}
	}
	p, parent, err := db.process(e)
	if err != nil {
		return err
	}
	if err := db.seenAlive(e, p, running); err != nil {
		return err
	}
	if running && e.Known&(event.KnownExe|event.KnownArgs) == 0 {
		return nil // it is alive, and no exec is known: a kernel thread, or one that a snapshot half saw
	}
	if parent != nil {
		p.above = parent.lineageOfChildren()
	}
	ts, err := db.insertExec(e, p, parent, p.above, p.execs+1, a)
	if err != nil {
		return err
	}
	i := &image{ts: ts, id: e.ExecID(), hasExe: e.Known.Has(event.KnownExe), hasArgs: e.Known.Has(event.KnownArgs)}
	if i.hasExe {
		exe, err := db.intern(e.Exec.Exe)
		if err != nil {
			return err
		}
		i.exe = exe.s
	}
	if i.hasArgs {
		i.args = db.procs.argsHash(e.Exec.Args)
	}
	if err := db.seeExec(e, ts, running); err != nil {
		return err
	}
	p.image = i
	p.execs++
	db.procs.touch(p)
	return nil
}

func (db *DB) applyFork(e *event.Event, a *Appended) error {
	if old := db.procs.m[e.Process]; old != nil && old.firstTS != unknown {
		db.stats.Duplicates++
		return nil
	}
	p, parent, err := db.process(e)
	if err != nil {
		return err
	}
	maker := parent
	if e.Fork != nil {
		if maker, err = db.find(e.Fork.Maker); err != nil {
			return err
		}
	}
	for _, alive := range []*process{parent, maker} {
		if alive != nil {
			if err := db.seenAlive(e, alive, false); err != nil {
				return err
			}
		}
	}
	if maker != nil && p.image == nil {
		p.image = maker.image
	}
	s := db.st.fork
	s.BindInt64(2, db.nextSeq())
	s.BindInt64(3, p.id)
	s.BindInt64(4, int64(e.Source))
	if e.Known.Has(event.KnownTime) {
		p.started = e.Time
	}
	ts, err := db.keys[event.KindFork].insert(s, e.Time)
	db.count(a, event.KindFork, ts)
	return err
}

func (db *DB) applyExit(e *event.Event, a *Appended) error {
	p, _, err := db.process(e)
	if err != nil {
		return err
	}
	if p.endedTS != unknown && p.exit.Presumed && !e.Exit.Presumed {
		if err := db.revive(p); err != nil { // what was seen takes the place of what was presumed
			return err
		}
	}
	if p.endedTS != unknown {
		db.stats.Duplicates++
		return nil
	}
	return db.end(p, e, a)
}

// seenAlive is called for what a process did, or that it was found running: one that
// was presumed to have ended before that has not.
func (db *DB) seenAlive(e *event.Event, p *process, running bool) error {
	if p.endedTS == unknown || !p.exit.Presumed || !running && e.Time <= p.endedTS {
		return nil
	}
	return db.revive(p)
}

// revive takes back the presumed exit of a process.
func (db *DB) revive(p *process) error {
	s := db.st.presumed
	s.BindInt64(1, p.endedTS)
	s.BindInt64(2, p.id)
	s.BindInt64(3, movedOn)
	db.procs.revive(p)
	return step(s)
}

// end stores the exit of a process that lives.
func (db *DB) end(p *process, e *event.Event, a *Appended) error {
	t := &db.procs
	p.endedTS, p.exit, p.code = e.Time, *e.Exit, e.Known.Has(event.KnownCode)
	t.touch(p)
	t.live--
	t.keepExited(p)

	s := db.st.exit
	s.BindInt64(2, db.nextSeq())
	s.BindInt64(3, p.id)
	bindKnown(s, 4, int64(p.exit.Code), p.code)
	bindKnown(s, 5, int64(p.exit.Signal), p.code)
	bindKnown(s, 6, bit(p.exit.Core), p.code)
	bindKnown(s, 7, p.exit.DurationNS, e.Known.Has(event.KnownDuration))
	s.BindInt64(8, bit(p.exit.Presumed))
	s.BindInt64(9, int64(e.Source))
	s.BindInt64(10, int64(e.Known))
	ts, err := db.keys[event.KindExit].insert(s, e.Time)
	db.count(a, event.KindExit, ts)
	return err
}

func (db *DB) nextSeq() int64 {
	db.seq++
	return db.seq
}

// count notes a stored row, whose number is db.seq.
func (db *DB) count(a *Appended, kind event.Kind, ts int64) {
	if a.Rows == 0 {
		a.FirstSeq, a.FirstTS = db.seq, ts
	}
	a.Rows++
	a.LastSeq = db.seq
	a.FirstTS = min(a.FirstTS, ts)
	db.stats.Rows[kind]++
}
