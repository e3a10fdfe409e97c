package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/config"
	"github.com/sentineld/sentineld/internal/event"
)

type alertsCmd struct {
	List alertsListCmd `cmd:"" help:"List alerts, newest first."`
}

type alertsListCmd struct {
	rangeFlags `embed:""`

	N      int    `short:"n" help:"How many at most." default:"50"`
	State  string `help:"Only those in this state: open, acknowledged or closed." enum:",open,acknowledged,closed" default:""`
	Output string `short:"o" help:"table, json or csv (default: table on a terminal, else json)." enum:",table,json,csv" default:""`
}

// Run lists; whether something may be missing is told as by query.
func (a *alertsListCmd) Run(ctx context.Context, c *config.Config, std streams) error {
	if a.N < 1 {
		return cli.Usagef("-n %d: want 1 or more", a.N)
	}
	s, err := openSession(ctx, c.DataDir)
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := a.apply(s, time.Now())
	if err != nil {
		return err
	}
	question := question{dir: c.DataDir, r: r, alerts: true}
	question.catchUp(ctx, time.Now())
	stmt, _, err := s.Prepare("SELECT * FROM alerts WHERE ?1 = '' OR state = ?1 ORDER BY ts DESC LIMIT ?2")
	if err != nil {
		return err
	}
	defer stmt.Finalize()
	stmt.BindText(1, a.State)
	stmt.BindInt64(2, int64(a.N))
	columns := columnNames(stmt)
	shown := columns
	table := outputMode(std.out, a.Output) != "json"
	if table {
		shown = []string{"time", "severity", "rule", "count", "complete", "process", "parent", "ancestors", "title"}
	}
	out := newOutput(std.out, a.Output, shown)
	hurt := int64(0)
	err = s.WithDeadline(ctx, 30*time.Second, func() error {
		for {
			more, err := stmt.Step()
			if err != nil || !more {
				return err
			}
			row := make([]any, len(columns))
			by := map[string]any{}
			for i, name := range columns {
				row[i] = columnValue(stmt, i)
				by[name] = row[i]
			}
			if by["complete"] == int64(0) {
				hurt++
			}
			if table {
				row = alertRow(by)
				if out.mode == "csv" { // read by programs, which want the zone
					row[0] = by["time"]
				}
			}
			if err := out.row(row...); err != nil {
				return err
			}
		}
	})
	if err = errors.Join(err, out.close()); isBrokenPipe(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("list alerts: %w", err)
	}
	if hurt > 0 {
		err = incomplete(std.err, fmt.Sprintf("events were lost in the time range of %s of these", plural(hurt, "alert")))
	}
	if missing := tellMissing(ctx, s, question, std.err); missing != nil {
		return missing
	}
	return err
}

// alertRow is an alert for people.
func alertRow(by map[string]any) []any {
	str := func(c string) string { s, _ := by[c].(string); return s }
	var e event.Evidence
	_ = json.Unmarshal([]byte(str("evidence")), &e) // what cannot be read is not shown
	ancestors := make([]string, len(e.Ancestors))
	for i, exe := range e.Ancestors {
		ancestors[i] = path.Base(exe)
	}
	ts, _ := by["ts"].(int64)
	complete := "yes"
	if by["complete"] == int64(0) {
		complete = "no: events were lost"
	}
	return []any{
		time.Unix(0, ts).Format("2006-01-02 15:04:05"), str("severity"), str("rule_id"), by["count"], complete,
		processText(e.Process), processText(e.Parent), strings.Join(ancestors, " ← "), str("title"),
	}
}

func processText(p *event.ProcessInfo) any {
	if p == nil {
		return nil
	}
	name := p.Exe
	if name == "" {
		name = "?"
	}
	return fmt.Sprintf("%d %s", p.PID, name)
}
