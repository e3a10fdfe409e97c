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

// procmondSays serves on a socket what a procmond says of itself, until it is stopped.
func procmondSays(t *testing.T, socket, status string) (stop func()) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := wire.NewServer(wire.ServerOptions{Status: func() json.RawMessage { return json.RawMessage(status) }, NeedSync: func() {}})
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

// A procmond that we did not start, and one that takes its place, may be without what
// was asked for. One that is not understood has not said so: another status may.
func TestProcmondWithoutFailures(t *testing.T) {
	const with, without, unclear = `{"exec_failures":true}`, `{"pid":7}`, `{"exec_failures":"no","pid":"x"}`
	short, err := os.MkdirTemp("", "s") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(short) })
	socket := filepath.Join(short, "p.sock")
	lacks := "procmond on " + socket + " runs without --exec-failures"
	type say struct {
		welcome, later string // later: while the connection lasts; "" = nothing
		recorded       bool   // by then, all the time
		reason         string
	}
	for name, procmonds := range map[string][]say{
		"it is replaced":             {{with, "", true, ""}, {without, "", false, lacks}},
		"by one that is understood":  {{with, "", true, ""}, {unclear, with, true, ""}},
		"by one that is, and lacks":  {{with, "", true, ""}, {unclear, without, false, lacks}},
		"by one that is not":         {{with, "", true, ""}, {unclear, "", true, notUnderstood}},
		"by one that says nothing":   {{with, "", true, ""}, {"null", "", true, notUnderstood}},
		"it is understood no more":   {{with, unclear, true, notUnderstood}},
		"it is not understood first": {{unclear, with, false, ""}},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			a := quietAgent(t, health.Collector{})
			a.o.Failures = true
			a.o.Link = linkOptions{Socket: socket, Given: []string{"collector.env (flag)", "collector.source (SENTINELD_COLLECTOR_SOURCE)"}, Log: slog.New(slog.NewTextHandler(&log, nil))}
			a.link = newLink(a.o.Link, make(chan pipeline.Item, 1))
			a.link.opened = a.opened
			for i, p := range procmonds {
				stop := procmondSays(t, socket, p.welcome)
				open := a.begin
				if i > 0 {
					open = func(ctx context.Context) error { return a.link.open(ctx, true) }
				}
				if err := open(t.Context()); err != nil {
					t.Fatal(err)
				}
				if p.later != "" {
					if err := a.link.take(t.Context(), wire.Message{Type: wire.TypeStatus, Status: json.RawMessage(p.later)}); err != nil {
						t.Fatal(err)
					}
				}
				s, err := openSession(t.Context(), a.o.DataDir)
				if err != nil {
					t.Fatal(err)
				}
				if c, err := s.Coverage(store.TimeRange{}); err != nil || c.NoFailures == p.recorded {
					t.Errorf("%d: the record says %+v, %v", i, c, err)
				}
				s.Close()
				a.link.current = nil // nobody answers here
				if got := strings.Join(a.status().Reasons, "\n"); got != p.reason {
					t.Errorf("%d: %q", i, got)
				}
				a.link.hangUp()
				stop()
			}
			if !strings.Contains(log.String(), `msg="the procmond that runs has options of its own"`) || !strings.Contains(log.String(), `not_used="collector.env (flag), collector.source (SENTINELD_COLLECTOR_SOURCE)"`) {
				t.Error(log.String())
			}
		})
	}
}
