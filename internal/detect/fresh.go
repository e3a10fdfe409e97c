package detect

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"
)

// fresh holds the new events in temporary tables with only the columns that some
// rule reads, behind temporary views that have the names of the store's. Nearly
// all rules turn nearly all events down by their cheap columns, which are copied
// once for all rules; the others are looked up where a rule gets as far as to
// need them.
type fresh struct {
	*side
	tables []*freshTable
	rules  []*compiled
}

// lookedUp are the columns that cost the store a look-up or a call for each row.
var lookedUp = []string{
	"process", "parent", "ppid", "time", "args", "args_len", "ancestors", "known", "gained", "user", "tty", "cgroup", "container_id",
	"source", "interpreter", "cwd", "comm", "sha256", "parent_exe", "parent_name", "parent_cmdline", "cause",
}

type freshTable struct {
	view   string
	table  string // temporary, behind the view
	fill   string // ?1 FromTS, ?2 FromSeq, ?3 ToSeq
	late   string // as fill, with the execs whose hash came in the range, without it; "" = no rule reads one
	add    string // adds the hashes to these
	at     string // time of an event of fill
	lateAt string // and of late
	rows   int
	lo, hi int64 // ts of its rows
}

func (f *fresh) prepare(e *Engine, list []*compiled) error {
	union := e.reads(f.side, list)
	for _, view := range eventViews {
		wanted, ok := union[view]
		if !ok {
			continue
		}
		all, err := columns(f.side, view)
		if err != nil {
			return err
		}
		var copied, late, names, shown []string
		hash := false
		for _, c := range pick(all, append(wanted, "seq", "ts", "process")) {
			if c == "sha256" && view == "execs" { // as it was when the event was new
				copied = append(copied, "(SELECT h.sha256 FROM main.early_hashes h WHERE h.ts = e.ts)")
				late, names, hash = append(late, "NULL"), append(names, c), true
				shown = append(shown, "n.sha256 AS sha256")
				continue
			}
			if slices.Contains(lookedUp, c) {
				shown = append(shown, fmt.Sprintf("(SELECT %s FROM main.%s m WHERE m.ts = n.ts) AS %s", shownAs("m.", c), view, quote(c)))
				continue
			}
			if c == "seq" { // the rowid, so that an event is found by it
				shown = append(shown, "n.rowid AS seq")
				continue
			}
			copied, late, names = append(copied, shownAs("e.", c)), append(late, shownAs("e.", c)), append(names, quote(c))
			shown = append(shown, "n."+quote(c)+" AS "+quote(c))
		}
		// Made from a SELECT, it takes over how the view's columns compare.
		table := "new_" + view
		err = f.once(fmt.Sprintf("CREATE TEMP TABLE %s AS SELECT %s FROM main.%s WHERE 0", table, strings.Join(names, ", "), view))
		if err == nil {
			err = f.once(fmt.Sprintf("CREATE TEMP VIEW %s AS SELECT %s FROM temp.%s n", view, strings.Join(shown, ", "), table))
		}
		if err != nil {
			return err
		}
		t := &freshTable{view: view, table: table}
		into := fmt.Sprintf("INSERT INTO temp.%s(rowid, %s) SELECT e.seq, ", table, strings.Join(names, ", "))
		t.fill = into + fmt.Sprintf("%s FROM main.%s e WHERE e.ts >= ?1 AND e.seq > ?2 AND e.seq <= ?3", strings.Join(copied, ", "), view)
		t.at = fmt.Sprintf("SELECT ts FROM main.%s WHERE ts >= ?1 AND seq > ?2 AND seq <= ?3", view)
		t.lateAt = "SELECT ts FROM main.late_hashes WHERE seq > ?2 AND seq <= ?3"
		if view == "execs" && slices.ContainsFunc(list, func(c *compiled) bool { return c.hashes.again(c) }) {
			t.late = into + strings.Join(late, ", ") + " FROM main.late_hashes l JOIN main.execs e ON e.ts = l.ts WHERE l.seq > ?2 AND l.seq <= ?3"
		}
		if hash {
			t.add = fmt.Sprintf("UPDATE temp.%s AS n SET sha256 = (SELECT e.sha256 FROM main.execs e WHERE e.ts = n.ts)", table)
		}
		f.tables = append(f.tables, t)
	}
	f.rules = list
	e.compile(f.side, list)
	return nil
}

// once runs a statement that is not kept.
func (s *side) once(sql string) error {
	err := s.each(sql, nil)
	if stmt := s.own[sql]; stmt != nil {
		delete(s.own, sql)
		stmt.Finalize() // it repeats the error of Step
	}
	return err
}

// fillFactor is how much longer than one rule copying the new events may take.
const fillFactor = 5

func (f *fresh) evaluate(ctx context.Context, e *Engine, r Range, res *Result) error {
	defer f.empty()
	err := f.WithDeadline(ctx, fillFactor*e.o.Deadline, func() error {
		for _, t := range f.tables {
			unreadable, err := f.load(t, t.fill, r)
			if err != nil {
				return err
			}
			res.Unreadable += len(unreadable)
			for _, seq := range unreadable {
				if err := f.note(e, t.at, seq, r, func(c *compiled) bool { return slices.Contains(c.views, t.view) }); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	jobs := make([]*job, 0, len(f.rules))
	for _, c := range f.rules {
		if j := f.job(c, r); j != nil {
			jobs = append(jobs, j)
		}
	}
	if err := e.run(ctx, f.side, jobs, res); err != nil {
		return err
	}
	return e.raise(ctx, &maker{side: f.side, tables: f.tables, r: r}, jobs, res)
}

func (f *fresh) empty() {
	for _, t := range f.tables {
		_ = f.each("DELETE FROM temp."+t.table, nil) // if it fails, the next fill says so: the rows are there
		t.rows = 0
	}
}

// job is nil when none of the views that the rule reads has new events. A rule
// that reads none of them at all looks at the state of things, each time.
func (f *fresh) job(c *compiled, r Range) *job {
	j := &job{c: c, lo: r.FromTS, hi: r.FromTS}
	anything := len(c.views) == 0
	for _, t := range f.tables {
		j.hi = max(j.hi, t.hi)
		for _, v := range c.views {
			anything = anything || v == t.view && t.rows > 0
		}
	}
	if !anything {
		return nil
	}
	return j
}

// note tells of an event that was left out, by its number, that rules did not see it.
func (f *fresh) note(e *Engine, at string, seq int64, r Range, looks func(*compiled) bool) error {
	ts := r.FromTS
	if err := f.each(at, func(s *sqlite.Stmt) { ts = s.ColumnInt64(0) }, r.FromTS, seq-1, seq); err != nil {
		return err
	}
	e.unreadable(f.rules, looks, ts)
	return nil
}

// load copies the new events of one view. A row that is longer than the
// session may read would fail the copy of all of them: it is looked for by
// halves and left out. unreadable are the numbers of these.
func (f *fresh) load(t *freshTable, fill string, r Range) (unreadable []int64, err error) {
	err = f.each(fill, nil, r.FromTS, r.FromSeq, r.ToSeq)
	if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultTooBig {
		if r.ToSeq-r.FromSeq == 1 {
			return []int64{r.ToSeq}, nil
		}
		lower, upper := r, r
		lower.ToSeq = r.FromSeq + (r.ToSeq-r.FromSeq)/2
		upper.FromSeq = lower.ToSeq
		n, err := f.load(t, fill, lower)
		if err != nil {
			return n, err
		}
		m, err := f.load(t, fill, upper)
		return append(n, m...), err
	}
	if err != nil {
		return nil, err
	}
	return nil, f.each("SELECT count(*), min(ts), max(ts) FROM temp."+t.table, func(s *sqlite.Stmt) {
		t.rows, t.lo, t.hi = s.ColumnInt(0), s.ColumnInt64(1), s.ColumnInt64(2)
	})
}
