package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/sentineld/sentineld/internal/alert"
	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/config"
	"github.com/sentineld/sentineld/internal/store"
)

type tailCmd struct {
	N      int      `short:"n" help:"How many of the newest events to print first." default:"10"`
	Follow bool     `short:"f" help:"Go on printing events as they are stored."`
	Kind   []string `help:"Kinds of events to print: exec, fork, exit, gap." default:"exec,exit,gap" enum:"exec,fork,exit,gap"`
	Output string   `short:"o" help:"table (readable lines) or json (default: lines on a terminal, else json)." enum:",table,json" default:""`
}

// followEvery is how often the store is asked whether it has changed, which
// costs no more than a look at a counter.
const followEvery = 100 * time.Millisecond

// Run prints, and follows until it is interrupted.
func (t *tailCmd) Run(ctx context.Context, c *config.Config, std streams) error {
	if t.N < 0 {
		return cli.Usagef("-n %d: want 0 or more", t.N)
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	f, err := newFollower(ctx, c.DataDir, t.Kind, std.out, t.Output)
	if err != nil {
		return err
	}
	defer f.close()
	err = f.newest(ctx, t.N)
	for t.Follow && err == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
		if err = f.changed(); err == errUnchanged {
			err = nil
			continue
		}
		if err == nil {
			err = f.step(ctx)
		}
	}
	if isBrokenPipe(err) || ctx.Err() != nil {
		return nil
	}
	return err
}

// tailColumns are what the kinds have in common, and what each has of its own.
var tailColumns = []string{
	"seq", "ts", "time", "kind", "process", "pid", "ppid", "user", "uid", "exe", "cmdline", "args", "parent_name",
	"code", "signal", "presumed", "duration_ns", "until", "lost", "cause", "source",
}

// tailViews say where the columns of each kind are found; the others are NULL.
var tailViews = []struct{ kind, view, columns string }{
	{"exec", "execs", "seq ts time process pid ppid user uid exe cmdline args parent_name source"},
	{"fork", "forks", "seq ts time process pid ppid source"},
	{"exit", "exits", "seq ts time process pid code signal presumed duration_ns source"},
	{"gap", "gaps", "seq ts time until lost cause source"},
}

// follower prints events of a store in the order in which they were stored. It
// belongs to one goroutine.
type follower struct {
	s    *store.Session
	w    io.Writer
	buf  bytes.Buffer // of what was read and not yet printed, at most chunk events
	json *output      // into buf; nil = readable lines
	// One statement over all views sees one state of the store, so that no
	// event slips in between two of them.
	news, version *sqlite.Stmt
	kinds         []string

	seq, ts int64            // newest printed
	state   int64            // of the store, see changed
	names   map[int64]string // commands by pid, for their exits; emptied when there are namesMax
}

const namesMax = 4096

// slack is how much earlier than the newest printed event one that is stored
// later may have happened.
const slack = 10 * time.Minute

func newFollower(ctx context.Context, dir string, kinds []string, w io.Writer, mode string) (*follower, error) {
	s, err := openSession(ctx, dir)
	if err != nil {
		return nil, err
	}
	f := &follower{s: s, w: w, kinds: kinds, names: map[int64]string{}}
	if outputMode(w, mode) == "json" {
		f.json = newOutput(&f.buf, "json", nil)
		f.json.look = isTerminal(w)
	}
	// A gap may begin long before it is known; there are few of them.
	f.news, _, err = s.Prepare(f.sql(func(view string) string {
		if view == "gaps" {
			return "seq > ?1 AND ?2 = ?2"
		}
		return "seq > ?1 AND ts > ?2"
	}) + fmt.Sprintf(" ORDER BY 1 LIMIT %d", chunk))
	if err == nil {
		err = s.Trusted(func() (err error) {
			f.version, _, err = s.Conn().PrepareTransient("PRAGMA data_version")
			return err
		})
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return f, nil
}

// sql is the union of the wanted kinds' rows for which where holds.
func (f *follower) sql(where func(view string) string) string {
	var parts []string
	for _, v := range tailViews {
		if !slices.Contains(f.kinds, v.kind) {
			continue
		}
		has := strings.Fields(v.columns)
		list := make([]string, len(tailColumns))
		for i, c := range tailColumns {
			switch {
			case c == "kind":
				list[i] = "'" + v.kind + "' AS kind"
			case slices.Contains(has, c):
				list[i] = c
			default:
				list[i] = "NULL AS " + c
			}
		}
		parts = append(parts, fmt.Sprintf("SELECT %s FROM %s WHERE %s", strings.Join(list, ", "), v.view, where(v.view)))
	}
	return strings.Join(parts, " UNION ALL ")
}

// newest prints the n newest events. What is stored from then on is new: the
// end is looked for first, since more may be stored while this prints.
func (f *follower) newest(ctx context.Context, n int) error {
	err := f.changed()
	if err != nil && err != errUnchanged {
		return err
	}
	if err := f.position(ctx); err != nil {
		return err
	}
	// The keys are times, so that the newest of each view are found at once.
	sql := "SELECT * FROM (" + f.sql(func(view string) string {
		return fmt.Sprintf("seq <= %d AND seq IN (SELECT seq FROM %s ORDER BY ts DESC LIMIT %d)", f.seq, view, n) +
			fmt.Sprintf(" AND ts >= coalesce((SELECT min(ts) FROM (SELECT ts FROM %s ORDER BY ts DESC LIMIT %d)), 0)", view, n)
	}) + fmt.Sprintf(" ORDER BY 1 DESC LIMIT %d) ORDER BY 1", n)
	stmt, _, err := f.s.Prepare(sql)
	if err != nil {
		return err
	}
	defer stmt.Finalize()
	_, err = f.print(ctx, stmt)
	return err
}

// position goes to the end of the store without printing.
func (f *follower) position(ctx context.Context) error {
	stmt, _, err := f.s.Prepare(`SELECT max(ts), max(seq) FROM (
		SELECT max(ts) AS ts, max(seq) AS seq FROM (SELECT ts, seq FROM execs ORDER BY ts DESC LIMIT 1000) UNION ALL
		SELECT max(ts), max(seq) FROM (SELECT ts, seq FROM forks ORDER BY ts DESC LIMIT 1000) UNION ALL
		SELECT max(ts), max(seq) FROM (SELECT ts, seq FROM exits ORDER BY ts DESC LIMIT 1000) UNION ALL
		SELECT max(ts), max(seq) FROM (SELECT ts, seq FROM gaps ORDER BY ts DESC LIMIT 1000))`)
	if err != nil {
		return err
	}
	defer stmt.Finalize()
	return f.s.WithDeadline(ctx, 30*time.Second, func() error {
		if _, err := stmt.Step(); err != nil {
			return err
		}
		f.ts, f.seq = max(f.ts, stmt.ColumnInt64(0)), max(f.seq, stmt.ColumnInt64(1))
		return stmt.Reset()
	})
}

// errUnchanged is what changed returns when there is nothing new.
var errUnchanged = fmt.Errorf("nothing new")

// changed returns nil when the store was written since the last call.
func (f *follower) changed() error {
	return f.s.Trusted(func() error {
		if _, err := f.version.Step(); err != nil {
			return err
		}
		state := f.version.ColumnInt64(0)
		if err := f.version.Reset(); err != nil {
			return err
		}
		if state == f.state {
			return errUnchanged
		}
		f.state = state
		return nil
	})
}

// chunk is how many events are read before they are printed. While the output
// waits for its reader (a pager, a stopped terminal), no statement may be open:
// it would keep the writer's log from being reused, and run into its deadline.
const chunk = 1000

// step prints what was stored since the last time.
func (f *follower) step(ctx context.Context) error {
	for {
		f.news.BindInt64(1, f.seq)
		f.news.BindInt64(2, f.ts-int64(slack))
		if n, err := f.print(ctx, f.news); err != nil || n < chunk {
			return err
		}
	}
}

// print prints the events of a statement and returns how many there were.
func (f *follower) print(ctx context.Context, stmt *sqlite.Stmt) (n int, err error) {
	err = f.s.WithDeadline(ctx, 30*time.Second, func() error {
		for {
			more, err := stmt.Step()
			if err != nil || !more {
				return err
			}
			n++
			values := make(map[string]any, len(tailColumns))
			for i, c := range tailColumns {
				if v := columnValue(stmt, i); v != nil {
					values[c] = v
				}
			}
			f.seq, f.ts = max(f.seq, values["seq"].(int64)), max(f.ts, values["ts"].(int64))
			if err := f.event(values); err != nil {
				return err
			}
		}
	})
	if resetErr := stmt.Reset(); err == nil {
		err = resetErr
	}
	if err == nil && f.json != nil {
		err = f.json.flush()
	}
	if err != nil {
		return n, err
	}
	_, err = f.buf.WriteTo(f.w)
	return n, err
}

// event prints one event; NULL columns are left out.
func (f *follower) event(v map[string]any) error {
	if f.json != nil {
		f.json.columns = f.json.columns[:0]
		var row []any
		for _, c := range tailColumns {
			if x, ok := v[c]; ok {
				f.json.columns, row = append(f.json.columns, c), append(row, x)
			}
		}
		return f.json.row(row...)
	}
	f.buf.Write(append(f.line(v), '\n'))
	return nil
}

// line is an event for people, in local time.
func (f *follower) line(v map[string]any) []byte {
	str := func(c string) string { s, _ := v[c].(string); return s }
	num := func(c string) int64 { n, _ := v[c].(int64); return n }
	b := time.Unix(0, num("ts")).AppendFormat(nil, "15:04:05.000 ")
	who := str("user")
	if who == "" && v["uid"] != nil {
		who = fmt.Sprint(num("uid"))
	}
	b = fmt.Appendf(b, "%-4s %7d ", str("kind"), num("pid"))
	switch str("kind") {
	case "exec":
		b = fmt.Appendf(b, "%-8s ", who)
		what := str("cmdline")
		if what == "" {
			what = str("exe")
		}
		if len(what) > 400 {
			what = what[:400] + "…"
		}
		b = alert.AppendSafe(b, what)
		if p := str("parent_name"); p != "" {
			b = alert.AppendSafe(append(b, "  ← "...), p)
		}
		if str("source") == "snapshot" {
			b = append(b, "  (was running)"...)
		}
		if len(f.names) >= namesMax {
			clear(f.names)
		}
		f.names[num("pid")] = str("exe")
	case "fork":
		b = fmt.Appendf(b, "by %d", num("ppid"))
	case "exit":
		b = fmt.Appendf(b, "%-8s ", "")
		b = alert.AppendSafe(b, f.names[num("pid")])
		delete(f.names, num("pid"))
		switch {
		case num("presumed") != 0:
			b = append(b, " is gone (its end was not seen)"...)
		case num("signal") != 0:
			b = fmt.Appendf(b, " killed by signal %d", num("signal"))
		case v["code"] != nil:
			b = fmt.Appendf(b, " exit %d", num("code"))
		}
		if d, ok := v["duration_ns"].(int64); ok {
			b = fmt.Appendf(b, " after %v", time.Duration(d).Round(time.Millisecond))
		}
	case "gap":
		b = append(b, "events may be missing until "...)
		b = time.Unix(0, num("until")).AppendFormat(b, "15:04:05.000")
		if lost, ok := v["lost"].(int64); ok {
			b = fmt.Appendf(b, ": %d lost", lost)
		}
		b = alert.AppendSafe(append(b, ": "...), str("cause"))
	}
	return b
}

func (f *follower) close() {
	f.news.Finalize()
	f.version.Finalize()
	f.s.Close()
}
