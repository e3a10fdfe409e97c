package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/config"
	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/store"
)

type queryCmd struct {
	rangeFlags `embed:""`

	SQL     string        `arg:"" optional:"" help:"One SELECT over the views (execs, forks, exits, processes, gaps, alerts, ...); - reads it from standard input. Without it a terminal is asked for queries."`
	Param   []string      `sep:"none" help:"Value of :NAME in the query, as in SQL (5, NULL, 'text'); what is nothing of that is text. May be repeated." placeholder:"NAME=VALUE"`
	Limit   int64         `help:"Print at most N rows, and say whether there are more; 0 is no limit." placeholder:"N"`
	Explain bool          `help:"Print how the query would be run, and which columns it reads, instead of running it."`
	Output  string        `short:"o" help:"table, json, csv or markdown (default: table on a terminal, else json)." enum:",table,json,csv,markdown" default:""`
	Timeout time.Duration `help:"How long the query may run, its output included; 0 is no limit." default:"30s" placeholder:"DURATION"`
}

// Run answers one query, or those that a terminal gives.
func (q *queryCmd) Run(ctx context.Context, c *config.Config, std streams) error {
	if q.Timeout < 0 {
		return cli.Usagef("--timeout=%v: want 0 (no limit) or more", q.Timeout)
	}
	if q.Limit < 0 {
		return cli.Usagef("--limit=%d: want 0 (no limit) or more", q.Limit)
	}
	p, err := parseParams(q.Param)
	if err != nil {
		return err
	}
	switch q.SQL {
	case "":
		return q.shell(ctx, c, std, p)
	case "-":
		b, err := io.ReadAll(io.LimitReader(std.in, 64<<10))
		if err != nil {
			return err
		}
		q.SQL = string(b)
	}
	return q.answer(ctx, c, std, func(stmt *sqlite.Stmt) error { return p.bind(stmt, "--param") })
}

// answer prints what the query gives, and whether the record that it was run over
// is whole. bind gives the parameters of the statement their values.
func (q *queryCmd) answer(ctx context.Context, c *config.Config, std streams, bind func(*sqlite.Stmt) error) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := openSession(ctx, c.DataDir)
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := q.apply(s, time.Now())
	if err != nil {
		return err
	}
	stmt, reads, err := s.Prepare(q.SQL)
	if err != nil {
		return cli.Usage(fmt.Errorf("query: %w", explainSQL(s, q.SQL, err)))
	}
	defer stmt.Finalize()
	if q.Explain {
		return q.explain(s, reads, std)
	}
	if err := bind(stmt); err != nil {
		return err
	}
	question := question{dir: c.DataDir, r: r}
	question.catchUp(ctx, time.Now())
	columns := columnNames(stmt)
	out := newOutput(std.out, q.Output, columns)
	values := make([]any, len(columns))
	var writeErr error
	cut := false
	err = s.WithDeadline(ctx, q.Timeout, func() error {
		for n := int64(0); ; n++ {
			more, err := stmt.Step()
			if err != nil || !more {
				return err
			}
			if cut = q.Limit > 0 && n == q.Limit; cut {
				return stmt.Reset() // it holds the log
			}
			for i := range values {
				values[i] = columnValue(stmt, i)
			}
			if writeErr = out.row(values...); writeErr != nil {
				return writeErr
			}
		}
	})
	if closeErr := out.close(); writeErr == nil {
		writeErr = closeErr
	}
	switch {
	case isBrokenPipe(writeErr):
		return nil
	case writeErr != nil:
		return fmt.Errorf("query: %w", writeErr)
	case errors.Is(err, store.ErrDeadline) && ctx.Err() == nil:
		return fmt.Errorf("query: it ran for more than %v, and was stopped (sentineld query --timeout gives it more)", q.Timeout)
	case ctx.Err() != nil:
		return errors.New("query: interrupted")
	case err != nil:
		err = fmt.Errorf("query: %w", safeError(err))
		switch sqlite.ErrCode(err).ToPrimary() {
		case sqlite.ResultError, sqlite.ResultTooBig, sqlite.ResultMismatch: // what it computes cannot be
			return cli.Usage(err)
		}
		return err
	}
	if cut {
		fmt.Fprintf(std.err, "there are more rows than the limit of %d\n", q.Limit)
	}
	if readsView(q.SQL, reads, func(string) bool { return true }) {
		question.gaps = !readsView(q.SQL, reads, func(view string) bool { return view != "gaps" })
		question.failures = readsView(q.SQL, reads, func(view string) bool { return view == "exec_failures" })
		question.alerts = readsView(q.SQL, reads, func(view string) bool { return view == "alerts" })
		return tellMissing(ctx, s, question, std.err)
	}
	return nil
}

// explain prints SQLite's plan and what the query depends on.
func (q *queryCmd) explain(s *store.Session, reads []store.Read, std streams) error {
	plan, err := s.Plan(q.SQL)
	if err != nil {
		return fmt.Errorf("query: %w", safeError(err))
	}
	out := newOutput(std.out, q.Output, []string{"step", "detail"})
	for _, p := range plan {
		if err := out.row("plan", strings.Repeat("  ", p.Depth)+p.Detail); err != nil {
			return err
		}
	}
	for _, r := range reads {
		if err := out.row("reads", strings.TrimSuffix(r.Table+"."+r.Column, ".")); err != nil {
			return err
		}
	}
	return out.close()
}

// columnNames are the names of the result's columns, each different: a JSON
// object with one key twice loses one of them. Of columns with one name the
// driver knows that of the last, and says "" for the others.
func columnNames(stmt *sqlite.Stmt) []string {
	columns := make([]string, stmt.ColumnCount())
	for i := range columns {
		columns[i] = stmt.ColumnName(i)
	}
	for i, name := range columns {
		if name != "" {
			continue
		}
		for name = fmt.Sprintf("column_%d", i+1); slices.Contains(columns, name); {
			name += "_"
		}
		columns[i] = name
	}
	return columns
}

// columnValue is a column as output wants it.
func columnValue(stmt *sqlite.Stmt, i int) any {
	switch stmt.ColumnType(i) {
	case sqlite.TypeInteger:
		return stmt.ColumnInt64(i)
	case sqlite.TypeFloat:
		return stmt.ColumnFloat(i)
	case sqlite.TypeText:
		return stmt.ColumnText(i)
	case sqlite.TypeBlob:
		b := make([]byte, stmt.ColumnLen(i))
		stmt.ColumnBytes(i, b)
		return b
	}
	return nil
}

// openSession opens the store for reading, and says what to do when it cannot.
func openSession(ctx context.Context, dir string) (*store.Session, error) {
	st, err := os.Stat(dir)
	if err == nil && !st.IsDir() {
		return nil, cli.Usagef("data directory %s is a file (choose another with --data-dir)", dir)
	}
	s, err := store.OpenSession(ctx, dir, store.SessionOptions{})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no store in %s: has sentineld run there? (choose another with --data-dir)", dir)
	}
	return s, err
}

func shortTime(ns int64) string { return strings.Replace(event.FormatTime(ns)[:19], "T", " ", 1) + "Z" }

// isBrokenPipe reports whether whoever read our output has gone.
func isBrokenPipe(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}
