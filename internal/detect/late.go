package detect

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"
)

// The hash of an executable may come after its exec was evaluated. What a rule
// finds only with it is found then, once, and what it had found without it is not
// found again: of a new exec, a rule sees the hash that it came with, and NULL
// where the hash comes late even if that is in the store already; of one whose
// hash came, it is asked twice, without the hash and with it, and what is new in
// the second answer counts. So what is found does not depend on how soon rules
// are evaluated.

// hashUse is what a rule reads of hashes.
type hashUse struct {
	execs bool // execs.sha256
	state bool // binaries, or the hash of processes: what they said earlier is not known any more
}

func (u *hashUse) note(view, column string) {
	u.execs = u.execs || view == "execs" && column == "sha256"
	u.state = u.state || view == "binaries" || view == "processes" && column == "sha256"
}

// again reports whether c looks at execs again when their hash comes. A rule that
// reads no events looks each time anyway.
func (u hashUse) again(c *compiled) bool {
	return (u.execs || u.state) && slices.Contains(c.views, "execs")
}

// late evaluates the rules that read hashes over the execs whose hash came in the
// range.
//
// A rule that joins execs with binaries or with the hash of processes finds all
// that it finds with the hashes: what it had found of it before is remembered. A
// restart forgets it, at the cost of a count that is too high by one.
func (f *fresh) late(ctx context.Context, e *Engine, r Range, res *Result) error {
	i := slices.IndexFunc(f.tables, func(t *freshTable) bool { return t.late != "" })
	if i < 0 {
		return nil
	}
	t := f.tables[i]
	defer f.empty()
	err := f.WithDeadline(ctx, fillFactor*e.o.Deadline, func() error {
		unreadable, err := f.load(t, t.late, r)
		res.Unreadable += len(unreadable)
		for _, seq := range unreadable {
			if err := f.note(e, t.lateAt, seq, r, func(c *compiled) bool { return c.hashes.again(c) }); err != nil {
				return err
			}
		}
		return err
	})
	if err != nil || t.rows == 0 {
		return err
	}
	var probes, jobs []*job
	for _, c := range f.rules {
		if !c.hashes.again(c) {
			continue
		}
		j := &job{c: c, lo: t.lo, hi: t.hi, unhashed: map[uint64]int{}}
		jobs = append(jobs, j)
		if !c.hashes.state {
			probes = append(probes, &job{c: c, lo: t.lo, hi: t.hi, unhashed: j.unhashed, probe: true})
		}
	}
	if err := e.run(ctx, f.side, probes, res); err != nil {
		return err
	}
	for _, p := range probes { // without its first answer there is no second
		if p.skip {
			jobs = slices.DeleteFunc(jobs, func(j *job) bool { return j.c == p.c })
		}
	}
	if t.add != "" {
		if err := f.WithDeadline(ctx, fillFactor*e.o.Deadline, func() error { return f.each(t.add, nil) }); err != nil {
			return err
		}
	}
	if err := e.run(ctx, f.side, jobs, res); err != nil {
		return err
	}
	return e.raise(ctx, &maker{side: f.side, tables: f.tables, r: r}, jobs, res)
}

// foundBefore reports whether a look at execs whose hash came late finds what the
// rule has found of them before, and remembers what is found. A range that is
// evaluated again gives the same again.
func (c *compiled) foundBefore(id string, r Range, late bool) bool {
	if to, ok := c.found[id]; ok && late && (to <= r.FromSeq || to == r.ToSeq) {
		return true
	}
	if c.found == nil || len(c.found) >= maxReported {
		c.found = map[string]int64{}
	}
	c.found[id] = r.ToSeq
	return false
}

var subjectSeed = maphash.MakeSeed()

// subject is what a row is about, the same with a hash and without: the event,
// else all columns but the hash. The process alone would not do: of two of its
// execs one may be found by its name, and the other by its hash.
func (r *row) subject() uint64 {
	var h maphash.Hash
	h.SetSeed(subjectSeed)
	if r.seq != 0 {
		maphash.WriteComparable(&h, r.seq)
		return h.Sum64()
	}
	for _, v := range r.values {
		if !isHash(v.column) {
			maphash.WriteComparable(&h, v)
		}
	}
	return h.Sum64()
}

func isHash(column string) bool { return strings.EqualFold(column, "sha256") }

// newest is the time of the newest event up to a time that a rule may see.
func (w *windows) newest(c *compiled, until int64) (ts int64, err error) {
	for _, view := range c.views {
		err = w.each("SELECT max(ts) FROM main."+view+" WHERE ts <= ?1", func(s *sqlite.Stmt) { ts = max(ts, s.ColumnInt64(0)) }, until)
		if err != nil {
			return 0, err
		}
	}
	return ts, nil
}

// spans are the times of the execs whose hash came in the range, in rising order;
// those that are not further apart than gap are one.
func (w *windows) spans(r Range, gap int64) (spans []span, err error) {
	const late = "SELECT ts FROM main.late_hashes WHERE seq > ?1 AND seq <= ?2 ORDER BY ts"
	err = w.each(late, func(s *sqlite.Stmt) {
		ts := s.ColumnInt64(0)
		if n := len(spans); n > 0 && ts-spans[n-1].hi <= gap {
			spans[n-1].hi = ts
			return
		}
		spans = append(spans, span{ts, ts})
	}, r.FromSeq, r.ToSeq)
	return spans, err
}
