package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"zombiezen.com/go/sqlite"
)

// Reconcile brings the store in step with the list of all living processes,
// each an exec event of the snapshot, in one transaction. A process that is
// not known, or runs something else than is known, is stored as by Append. A
// process that the store thinks alive, that is not in the list and was first
// seen by now (Unix ns, when the list was made) has ended unseen: it gets a
// presumed exit at now, and one of an earlier boot at the last event of that
// boot.
func (db *DB) Reconcile(ctx context.Context, live []event.Event, now int64) (a Appended, err error) {
	if len(live) == 0 {
		return Appended{}, errors.New("reconcile: the list of living processes is empty")
	}
	// Parents first, so that lineages are whole. What a batch is in is not ours
	// to reorder.
	live = slices.Clone(live)
	slices.SortStableFunc(live, func(a, b event.Event) int { return cmp.Compare(a.Process.Start, b.Process.Start) })
	err = db.locked(ctx, func() error {
		seen := make(map[event.ProcessKey]bool, len(live))
		for i := range live {
			seen[live[i].Process] = true
			if err := db.apply(&live[i], true, &a); err != nil {
				return err
			}
		}
		// A parent in the list that came up as one only is alive too: the list
		// holds it, or it ended while the list was made.
		var gone []*process
		for key, p := range db.procs.m {
			if p.endedTS == unknown && !seen[key] && db.seenBy(p, now) {
				gone = append(gone, p)
			}
		}
		slices.SortFunc(gone, func(a, b *process) int { return cmp.Compare(a.id, b.id) })
		for _, p := range gone {
			if err := db.end(p, presumedExit(p.key, now), &a); err != nil {
				return err
			}
		}
		return db.endOldBoots(&a)
	})
	if err != nil {
		return Appended{}, fmt.Errorf("reconcile %d processes: %w", len(live), err)
	}
	return a, nil
}

// seenBy tells whether a process was seen first by a time, Unix ns by the clock of
// now. Where that was set since then, the boot clock tells; a process of which it
// does not tell to the tick was seen later.
func (db *DB) seenBy(p *process, now int64) bool {
	if db.bootTime == 0 || p.firstTS == unknown || p.started == unknown {
		return p.firstTS <= now
	}
	start := p.startNS
	if start == unknown {
		start = int64(p.key.Start+1) * event.TickNS
	}
	set := db.bootTime - (p.started - start)
	if max(set, -set) < int64(time.Second) { // what slewing and reading it twice give
		set = 0
	}
	return p.firstTS+set <= now
}

func presumedExit(key event.ProcessKey, ts int64) *event.Event {
	return &event.Event{
		Kind: event.KindExit, Source: event.SourceAgent, Time: ts, Process: key, Exit: &event.Exit{Presumed: true},
	}
}

// endOldBoots ends what the store thinks alive of boots that are over. Only
// the first reconciliation after a boot finds something.
func (db *DB) endOldBoots(a *Appended) error {
	current := db.procs.boot
	var boots []event.BootID
	const unfinished = `SELECT uuid FROM boots b WHERE b.id <> ? AND EXISTS (SELECT 1 FROM procs WHERE boot = b.id AND ended_ts IS NULL) ORDER BY id`
	err := query(db.conn, unfinished, func(s *sqlite.Stmt) {
		var b event.BootID
		s.ColumnBytes(0, b[:])
		boots = append(boots, b)
	}, db.procs.bootID)
	if err != nil || len(boots) == 0 {
		return err
	}
	for _, boot := range boots {
		if err := db.useBoot(boot); err != nil {
			return err
		}
		var last int64
		err := query(db.conn, "SELECT max(coalesce(max(first_ts), 0), coalesce(max(image), 0), coalesce(max(ended_ts), 0)) FROM procs WHERE boot = ?",
			func(s *sqlite.Stmt) { last = s.ColumnInt64(0) }, db.procs.bootID)
		if err != nil {
			return err
		}
		for _, p := range db.procs.m {
			if p.endedTS == unknown {
				if err := db.end(p, presumedExit(p.key, last), a); err != nil {
					return err
				}
			}
		}
	}
	return db.useBoot(current)
}
