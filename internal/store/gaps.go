package store

import (
	"github.com/sentineld/sentineld/internal/event"
	"zombiezen.com/go/sqlite"
)

// gapKey is what two gaps that may be one have in common, besides the cause.
type gapKey struct {
	source event.Source
	of     event.Kind
}

// gap is a row of gap_rows of which nobody knows how much was lost.
type gap struct {
	ts, until int64
	cause     string
}

// gapsLoaded is how many of the newest gaps are looked at for those that may go
// on. One that is missed costs a row.
const gapsLoaded = 1000

// loadGaps finds the newest gap of each source and kind.
func (db *DB) loadGaps() error {
	db.gaps = make(map[gapKey]gap) // bounded by sources and kinds
	const newest = `SELECT g.source, g.kind, g.ts, g.until, g.lost, s.s
		FROM (SELECT * FROM gap_rows ORDER BY ts DESC LIMIT ?) g LEFT JOIN strings s ON s.id = g.cause ORDER BY g.ts`
	return query(db.conn, newest, func(s *sqlite.Stmt) {
		k := gapKey{event.Source(s.ColumnInt64(0)), event.Kind(s.ColumnInt64(1))}
		if !s.ColumnIsNull(4) {
			delete(db.gaps, k)
			return
		}
		db.gaps[k] = gap{ts: s.ColumnInt64(2), until: s.ColumnInt64(3), cause: s.ColumnText(5)}
	}, int64(gapsLoaded))
}

// applyGap stores a gap. One that goes on where the newest of its source, kind
// and cause ended makes that one longer: a year of polling is one row.
func (db *DB) applyGap(e *event.Event, a *Appended) error {
	if err := db.hurtAlerts(e.Time, e.Gap.Until); err != nil {
		return err
	}
	k := gapKey{e.Source, e.Gap.Of}
	counted := e.Known.Has(event.KnownLost)
	if last, ok := db.gaps[k]; ok && !counted && last.cause == e.Gap.Cause && last.ts <= e.Time && e.Time <= last.until {
		db.stats.GapsExtended++
		if e.Gap.Until <= last.until {
			return nil
		}
		s := db.st.gapExtend
		s.BindInt64(1, last.ts)
		s.BindInt64(2, e.Gap.Until)
		last.until = e.Gap.Until
		db.gaps[k] = last
		return step(s)
	}
	s := db.st.gap
	s.BindInt64(2, db.nextSeq())
	s.BindInt64(3, e.Gap.Until)
	s.BindInt64(4, int64(e.Gap.Of))
	bindKnown(s, 5, int64(e.Gap.Lost), counted)
	s.BindNull(6)
	if e.Gap.Cause != "" {
		if err := db.bindString(s, 6, e.Gap.Cause, true); err != nil {
			return err
		}
	}
	s.BindInt64(7, int64(e.Source))
	ts, err := db.keys[event.KindGap].insert(s, e.Time)
	if err != nil {
		return err
	}
	db.count(a, event.KindGap, ts)
	if counted {
		delete(db.gaps, k)
	} else {
		db.gaps[k] = gap{ts: ts, until: e.Gap.Until, cause: e.Gap.Cause}
	}
	return nil
}

// hurtAlerts marks the alerts that looked at a range in which events were lost, as
// is known only now. What was closed was decided on what was known
// then.
func (db *DB) hurtAlerts(from, until int64) error {
	s := db.st.alertHurt
	s.BindInt64(1, from)
	s.BindInt64(2, until)
	return step(s)
}

// lostIn reports whether a gap touches a range of time.
func (db *DB) lostIn(from, until int64) (bool, error) {
	s := db.st.gapIn
	s.BindInt64(1, from)
	s.BindInt64(2, until)
	found, err := s.Step()
	if err != nil {
		return false, err
	}
	return found, s.Reset()
}
