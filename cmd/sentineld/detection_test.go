package main

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/sentineld/sentineld/internal/alert"
	"github.com/sentineld/sentineld/internal/detect"
	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/store"
)

// once finds one alert in the first range that it gets and nothing after.
type once struct{ ranges []detect.Range }

func (o *once) Evaluate(_ context.Context, r detect.Range) (detect.Result, error) {
	o.ranges = append(o.ranges, r)
	res := detect.Result{PutOff: -1}
	if len(o.ranges) == 1 {
		res.Alerts = []event.Alert{{ID: "a", RuleID: "r", RuleName: "r", Severity: event.SeverityHigh, Title: "found", State: "open", Key: "k", Count: 1, FirstSeen: 1, LastSeen: 1, Time: 1, Complete: true, Evidence: event.Evidence{Row: []byte("{}")}}}
	}
	return res, nil
}
func (o *once) Status() []detect.RuleStatus { return nil }
func (o *once) Close() error                { return nil }

// delivered is a sink that remembers.
type delivered struct{ ids []string }

func (d *delivered) Name() string { return "test" }
func (d *delivered) Deliver(_ context.Context, a *event.Alert) error {
	d.ids = append(d.ids, a.ID)
	return nil
}

// TestFoundAlertsSurviveAFailingStore wants what a rule has found to be stored
// and delivered once, when the store takes alerts again: the rule does not find
// it a second time.
func TestFoundAlertsSurviveAFailingStore(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rules, sink := &once{}, &delivered{}
	d, err := newDetection(t.Context(), dir, &detection{db: db, evaluator: rules, sinks: []alert.Sink{sink}, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	// A second writer holds the lock, as a full disk would refuse: for longer
	// than the store waits.
	blocker, err := sqlite.OpenConn(filepath.Join(dir, store.FileName), sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	defer blocker.Close()
	exec := func(sql string) {
		t.Helper()
		stmt, _, err := blocker.PrepareTransient(sql)
		if err != nil {
			t.Fatal(err)
		}
		defer stmt.Finalize()
		if _, err := stmt.Step(); err != nil {
			t.Fatal(err)
		}
	}
	exec("BEGIN IMMEDIATE")
	d.stored(store.Appended{Rows: 1, FirstSeq: 1, LastSeq: 5, FirstTS: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	d.evaluate(ctx, false)
	if _, failure := d.status(); failure == "" || len(sink.ids) != 0 || d.again.IsZero() {
		t.Fatalf("failure %q, delivered %v, again %v", failure, sink.ids, d.again)
	}
	exec("ROLLBACK")
	d.evaluate(ctx, false)
	if _, failure := d.status(); failure != "" || len(sink.ids) != 1 {
		t.Errorf("afterwards: failure %q, delivered %v", failure, sink.ids)
	}
	d.evaluate(ctx, true)
	if len(sink.ids) != 1 {
		t.Errorf("delivered %v", sink.ids)
	}
	if cursor, err := db.Cursor(t.Context(), cursorName); err != nil || cursor != 5 {
		t.Errorf("cursor %d, %v", cursor, err)
	}
}

// stalling is what cannot evaluate rules with a window the first time.
type stalling struct{ once }

func (s *stalling) Evaluate(_ context.Context, r detect.Range) (detect.Result, error) {
	if s.ranges = append(s.ranges, r); len(s.ranges) == 1 {
		return detect.Result{PutOff: r.FromSeq, Again: time.Now(), Stalled: "no memory"}, nil
	}
	return detect.Result{PutOff: -1}, nil
}

// TestStalledRules wants it to be told for as long as it is so.
func TestStalledRules(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	d, err := newDetection(t.Context(), dir, &detection{db: db, evaluator: &stalling{}, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	d.stored(store.Appended{Rows: 1, FirstSeq: 1, LastSeq: 5, FirstTS: 1})
	for _, want := range []string{"no memory", ""} {
		d.evaluate(t.Context(), false)
		if _, failure := d.status(); failure != want {
			t.Errorf("failure %q, want %q", failure, want)
		}
	}
}

// TestBacklogInPieces wants a large backlog to be evaluated whole, in ranges of
// bounded size that follow each other.
func TestBacklogInPieces(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rules := &once{}
	d, err := newDetection(t.Context(), dir, &detection{db: db, evaluator: rules, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const last = 2*rangeMax + 7
	d.stored(store.Appended{Rows: last, FirstSeq: 1, LastSeq: last, FirstTS: 1})
	d.evaluate(t.Context(), true)
	at := int64(0)
	for i, r := range rules.ranges {
		if r.FromSeq != at || r.ToSeq-r.FromSeq > rangeMax || r.Final != (i == len(rules.ranges)-1) {
			t.Errorf("range %d: %+v", i, r)
		}
		at = r.ToSeq
	}
	if at != last || len(rules.ranges) != 3 {
		t.Errorf("evaluated up to %d in %d ranges", at, len(rules.ranges))
	}
}
