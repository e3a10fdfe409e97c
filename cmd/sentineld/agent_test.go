package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentineld/sentineld/internal/detect"
	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/pipeline"
	"github.com/sentineld/sentineld/internal/rule"
	"github.com/sentineld/sentineld/internal/store"
	"github.com/sentineld/sentineld/internal/wire"
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

// A procmond that we did not start, and one that takes its place, may be without what
// was asked for.
func TestProcmondWithoutFailures(t *testing.T) {
	short, err := os.MkdirTemp("", "s") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	socket := filepath.Join(short, "p.sock")
	serve := func(failures bool) (stop func()) {
		t.Helper()
		status, err := json.Marshal(health.Collector{Failures: failures})
		if err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		server := wire.NewServer(wire.ServerOptions{Status: func() json.RawMessage { return status }, NeedSync: func() {}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if conn, err := listener.Accept(); err == nil {
				_ = server.Serve(ctx, conn) // it ends with the client
			}
		}()
		return func() { cancel(); listener.Close(); <-done }
	}
	var log bytes.Buffer
	a := quietAgent(t, health.Collector{})
	a.o.Failures = true
	a.o.Link = linkOptions{Socket: socket, Given: []string{"--env", "--source"}, Log: slog.New(slog.NewTextHandler(&log, nil))}
	a.link = newLink(a.o.Link, make(chan pipeline.Item, 1))
	a.link.opened = a.opened
	judge := func(when string, want bool) {
		t.Helper()
		s, err := openSession(t.Context(), a.o.DataDir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c, err := s.Coverage(store.TimeRange{})
		if err != nil || c.NoFailures == want {
			t.Errorf("%s: the record says %+v, %v", when, c, err)
		}
		a.link.current = nil // nobody answers here
		h := a.status()
		reason := "procmond on " + socket + " runs without --exec-failures"
		if told := strings.Contains(strings.Join(h.Reasons, "\n"), reason); told == want {
			t.Errorf("%s: %q", when, h.Reasons)
		}
	}
	stop := serve(true)
	if err := a.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	judge("with", true)
	a.link.hangUp()
	stop()
	stop = serve(false)
	if err := a.link.open(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	judge("without", false)
	a.link.hangUp()
	stop()
	if !strings.Contains(log.String(), `msg="the procmond that runs has options of its own"`) || !strings.Contains(log.String(), `not_used="--env --source"`) {
		t.Error(log.String())
	}
}
