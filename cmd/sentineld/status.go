package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/config"
	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/store"
)

type statusCmd struct {
	Output string `short:"o" help:"table (readable lines) or json (default: lines on a terminal, else json)." enum:",table,json" default:""`
}

// Run asks the agent, and the store. Exit code 3: degraded, the store cannot be
// read, or no agent runs; 1: the agent has failed.
func (s *statusCmd) Run(ctx context.Context, c *config.Config, std streams) error {
	a, err := askAgent(ctx, c.DataDir)
	if errors.Is(err, errNoAgent) {
		a = &health.Agent{State: health.Stopped, Reasons: []string{err.Error()}, Version: cli.ThisBuild().Version, DataDir: c.DataDir}
	} else if err != nil {
		return err
	}
	if err := figures(ctx, c.DataDir, &a.Store); err != nil {
		if a.State == health.Stopped {
			return err
		}
		a.Store.Error = err.Error()
		a.State = a.State.Worse(health.Degraded)
		a.Reasons = append(a.Reasons, "the store cannot be read: "+err.Error())
	}
	if outputMode(std.out, s.Output) == "json" {
		b, err := json.Marshal(a)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(std.out, "%s\n", b); err != nil {
			return err
		}
	} else if err := printStatus(std.out, a, time.Now()); err != nil {
		return err
	}
	switch a.State {
	case health.Healthy:
		return nil
	case health.Failed:
		return errors.New("the agent has failed: " + strings.Join(a.Reasons, "; "))
	}
	return cli.ErrIncomplete
}

// figures counts what the store holds.
func figures(ctx context.Context, dir string, f *health.Store) error {
	s, err := openSession(ctx, dir)
	if err != nil {
		return err
	}
	defer s.Close()
	f.Bytes = 0
	for _, name := range []string{store.FileName, store.FileName + "-wal"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil {
			f.Bytes += st.Size()
		}
	}
	for _, q := range []struct {
		sql string
		to  []*int64
	}{
		{`SELECT (SELECT count(*) FROM execs) + (SELECT count(*) FROM exec_failures) + (SELECT count(*) FROM forks)
			+ (SELECT count(*) FROM exits) + (SELECT count(*) FROM gaps)`, []*int64{&f.Events}},
		{"SELECT count(*), coalesce(sum(ended IS NULL), 0) FROM processes", []*int64{&f.Processes, &f.Alive}},
		{"SELECT count(*) FROM gaps", []*int64{&f.Gaps}},
		{"SELECT count(*) FROM alerts", []*int64{&f.Alerts}},
		{`SELECT coalesce(min(first), 0), coalesce(max(last), 0) FROM (
			SELECT (SELECT min(ts) FROM execs) AS first, (SELECT max(ts) FROM execs) AS last UNION ALL
			SELECT (SELECT min(ts) FROM exec_failures), (SELECT max(ts) FROM exec_failures) UNION ALL
			SELECT (SELECT min(ts) FROM forks), (SELECT max(ts) FROM forks) UNION ALL
			SELECT (SELECT min(ts) FROM exits), (SELECT max(ts) FROM exits) UNION ALL
			SELECT (SELECT min(ts) FROM gaps), (SELECT max(until) FROM gaps))`, []*int64{&f.First, &f.Last}},
	} {
		stmt, _, err := s.Prepare(q.sql)
		if err != nil {
			return err
		}
		err = s.WithDeadline(ctx, 10*time.Second, func() error {
			if _, err := stmt.Step(); err != nil {
				return err
			}
			for i, to := range q.to {
				*to = stmt.ColumnInt64(i)
			}
			return nil
		})
		stmt.Finalize()
		if err != nil {
			return fmt.Errorf("count what the store holds: %w", err)
		}
	}
	return lastGap(ctx, s, f)
}

// lastGap finds the gap that began last.
func lastGap(ctx context.Context, s *store.Session, f *health.Store) error {
	stmt, _, err := s.Prepare("SELECT ts, until, kind, lost, cause FROM gaps ORDER BY ts DESC LIMIT 1")
	if err != nil {
		return err
	}
	defer stmt.Finalize()
	return s.WithDeadline(ctx, 10*time.Second, func() error {
		found, err := stmt.Step()
		if err != nil || !found {
			return err
		}
		f.LastGap = &health.Gap{Time: stmt.ColumnInt64(0), Until: stmt.ColumnInt64(1), Kind: stmt.ColumnText(2), Cause: stmt.ColumnText(4)}
		if !stmt.ColumnIsNull(3) {
			n := stmt.ColumnInt64(3)
			f.LastGap.Lost = &n
		}
		return stmt.Reset()
	})
}

var stateMarks = map[health.State]string{health.Healthy: "●", health.Degraded: "▲", health.Failed: "✗", health.Stopped: "○"}
var stateColours = map[health.State]string{health.Healthy: "\x1b[32m", health.Degraded: "\x1b[33m", health.Failed: "\x1b[31m", health.Stopped: "\x1b[2m"}

// printStatus shows a status to people.
func printStatus(w io.Writer, a *health.Agent, now time.Time) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-10s %s\n", name, safe(fmt.Sprintf(format, args...)))
	}
	state := stateMarks[a.State] + " " + string(a.State)
	if useColour(w) {
		state = stateColours[a.State] + state + "\x1b[0m"
	}
	fmt.Fprintf(&b, "%s\n", state)
	for _, r := range a.Reasons {
		fmt.Fprintf(&b, "  ! %s\n", safe(r))
	}
	if a.PID != 0 {
		line("agent", "%s, pid %d, up %s", a.Version, a.PID, age(now.Sub(time.Unix(0, a.Started))))
	}
	if c := a.Collector; c != nil {
		source := c.Source
		if c.Detail != "" {
			source += " (" + c.Detail + ")"
		}
		line("collector", "%s, procmond %s pid %d, %d live processes, %d restarts", source, c.Version, c.PID, c.Live, a.Restarts)
		events := maps.Clone(c.Events)
		delete(events, event.KindHash.String()) // nothing that happened
		line("events", "%s", counts(events))
		line("lost", "%s", lossText(a, now))
		line("snapshots", "%d, %d of them after a loss", c.Syncs, c.Resyncs)
		line("hashes", "%s", hashes(c))
	}
	if p := a.Pipeline; p != nil {
		behind := ""
		if c := a.Collector; c != nil && c.Buffer > 0 {
			behind = fmt.Sprintf(", %s of %s in the kernel", humanize.IBytes(uint64(c.Backlog)), humanize.IBytes(uint64(c.Buffer)))
		}
		line("pipeline", "%d received, %d stored, %d waiting, lag %v%s", p.Events, p.Stored, p.Queued, time.Duration(p.LagNS).Round(time.Millisecond), behind)
	}
	s := a.Store
	if s.Error != "" {
		line("store", "cannot be read: %s", s.Error)
	} else {
		line("store", "%s in %s: %s events of %s processes, %s alive", humanize.IBytes(uint64(s.Bytes)), a.DataDir,
			humanize.Comma(s.Events), humanize.Comma(s.Processes), humanize.Comma(s.Alive))
		if s.First != 0 {
			line("recorded", "%s to %s, %s", shortTime(s.First), shortTime(s.Last), plural(s.Gaps, "gap"))
		}
		if g := s.LastGap; g != nil {
			lost := ""
			if g.Lost != nil {
				lost = fmt.Sprintf("%s %s lost, ", humanize.Comma(*g.Lost), kindWord(g.Kind))
			}
			line("last gap", "%s to %s: %s%s", shortTime(g.Time), shortTime(g.Until), lost, g.Cause)
		}
		line("alerts", "%d", s.Alerts)
	}
	if len(a.Rules) > 0 {
		bad, missed := 0, ""
		for _, r := range a.Rules {
			if r.State != "ok" {
				bad++
			}
		}
		if n := len(missedSome(a.Rules, store.TimeRange{})); n > 0 {
			missed = fmt.Sprintf("; %d did not look at everything", n)
		}
		line("rules", "%d, %d of them not running%s", len(a.Rules), bad, missed)
		for _, r := range a.Rules {
			if r.State != "ok" {
				fmt.Fprintf(&b, "    %s: %s: %s\n", r.ID, r.State, safe(r.Error))
			}
			if m := r.Missed; m.From != 0 {
				fmt.Fprintf(&b, "    %s: did not look at everything from %s to %s%s\n", r.ID, shortTime(m.From), shortTime(m.Until), safe(missedText(m)))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// lossText says what was lost since the agent started.
func lossText(a *health.Agent, now time.Time) string {
	l := a.Loss
	if l.Gaps == 0 {
		return "none"
	}
	parts := []string{counts(l.Events)}
	if len(l.Events) == 0 {
		parts = nil
	}
	if l.Uncounted > 0 {
		parts = append(parts, fmt.Sprintf("an unknown number in %s", plural(int64(l.Uncounted), "gap")))
	}
	return fmt.Sprintf("%s; last %s ago: %s", strings.Join(parts, ", "), age(max(0, now.Sub(time.Unix(0, l.Last)))), l.Cause)
}

// hashes shows what became of the executables.
func hashes(c *health.Collector) string {
	if c.HashRate == 0 {
		return "off"
	}
	text := fmt.Sprintf("%s files hashed (%s), %s execs of known ones, %s waiting", humanize.Comma(int64(c.Hashed)),
		humanize.IBytes(c.HashedBytes), humanize.Comma(int64(c.HashHits)), humanize.Comma(int64(c.HashQueue)))
	without := maps.Clone(c.HashSkipped)
	if n := c.Dropped[event.KindHash.String()]; n > 0 { // hashed, and no room for it while sentineld was away
		if without == nil {
			without = map[string]uint64{}
		}
		without["dropped"] = n
	}
	if len(without) > 0 {
		text += "; without: " + counts(without)
	}
	return text
}

// counts shows numbers by kind, in one order always.
func counts(m map[string]uint64) string {
	if len(m) == 0 {
		return "none"
	}
	var parts []string
	for k, n := range m {
		parts = append(parts, fmt.Sprintf("%s %s", humanize.Comma(int64(n)), k))
	}
	slices.SortFunc(parts, func(a, b string) int {
		return strings.Compare(a[strings.IndexByte(a, ' '):], b[strings.IndexByte(b, ' '):])
	})
	return strings.Join(parts, ", ")
}
