package main

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/sentineld/sentineld/internal/detect"
	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/pipeline"
	"github.com/sentineld/sentineld/internal/rule"
	"github.com/sentineld/sentineld/internal/store"
)

// quietAgent is an agent on a new store with these rules, to which procmond has said how
// it is.
func quietAgent(t *testing.T, c health.Collector, rules ...rule.Rule) *agent {
	t.Helper()
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	engine, err := detect.New(t.Context(), detect.Options{
		Rules: rules, Open: func(ctx context.Context) (detect.Session, error) { return openDetectSession(ctx, dir) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	a := &agent{o: agentOptions{DataDir: dir, Log: slog.New(slog.DiscardHandler)}, db: db, detection: &detection{evaluator: engine}}
	a.pipeline = pipeline.New(sink{a}, pipeline.Options{})
	a.link = newLink(linkOptions{}, make(chan pipeline.Item, 1))
	a.link.latest = &c
	a.link.down.Store(nil)
	return a
}

// A rule that does not run makes the agent degraded, unless its file says so.
func TestStatusOfRules(t *testing.T) {
	parse := func(text string) rule.Rule {
		t.Helper()
		r, err := rule.Parse("test.yaml", []byte("title: x\nseverity: low\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	off := parse("id: off\nenabled: false\nsql: SELECT seq FROM execs\n")
	a := quietAgent(t, health.Collector{}, off, parse("id: good\nsql: SELECT seq FROM execs\n"))
	if h := a.status(); h.State != health.Healthy {
		t.Errorf("%s: %q", h.State, h.Reasons)
	}
	a = quietAgent(t, health.Collector{}, off, parse("id: wrong\nsql: SELECT nonsense FROM gaps\n"))
	h := a.status()
	const want = `rule wrong (disabled): test.yaml:4:13: there is no column "nonsense"`
	if len(h.Reasons) != 1 || !strings.HasPrefix(h.Reasons[0], want) || h.State != health.Degraded {
		t.Errorf("%s: %q", h.State, h.Reasons)
	}
}
