//go:build unix

package main

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/store"
)

// fullStatus is an agent of which everything is known, with texts that would
// steer a terminal.
func fullStatus(dir string) health.Agent {
	lost := int64(7)
	return health.Agent{
		State: health.Degraded, Reasons: []string{"source ebpf is not used: no \x1b[31mBTF"}, Version: "1.0", PID: 42,
		Started: fillBoot, DataDir: dir, Restarts: 2,
		Collector: &health.Collector{
			Version: "1.0", PID: 43, Source: "poll", Detail: "every 1s", Live: 7,
			Refused: []health.Refusal{{Source: "ebpf", Reason: "no BTF"}},
			Events:  map[string]uint64{"exit": 9, "exec": 12345, "fork": 10, "hash": 3}, Lost: map[string]uint64{"any": 5}, Syncs: 4, Resyncs: 3,
			HashRate: 1 << 20, Hashed: 1234, HashedBytes: 5 << 20, HashHits: 9, HashQueue: 2, HashSkipped: map[string]uint64{"gone": 4, "changed": 1},
			Dropped: map[string]uint64{"hash": 6, "exec": 8},
		},
		Loss: health.Loss{
			Gaps: 3, Events: map[string]uint64{"exec": 1234, "exit": 5}, Uncounted: 1, Last: fillBoot + 30*60*second, Cause: "ring \x1b full",
		},
		Pipeline: &health.Pipeline{Events: 100, Stored: 90, Queued: 10, LagNS: 12_345_678},
		Store: health.Store{Bytes: 3 << 20, Events: 12345, Processes: 100, Alive: 7, Gaps: 1, Alerts: 2, First: fillBoot, Last: fillBoot + second,
			LastGap: &health.Gap{Time: fillBoot, Until: fillBoot + second, Kind: "any", Lost: &lost, Cause: "away"}},
		Rules: []health.Rule{
			{ID: "good", State: "ok"},
			{ID: "bad", State: "disabled", Error: "there is no column \"x\"\nat all", Missed: health.Missed{From: fillBoot, Until: fillBoot + 3600*second}},
			{ID: "partly", State: "ok", Missed: health.Missed{
				Evaluations: 1, Cause: "it ran \x1b for long", Matches: 2, From: fillBoot + 60*second, Until: fillBoot + 90*second, At: fillBoot + 95*second,
			}},
		},
	}
}

func TestPrintStatus(t *testing.T) {
	a := fullStatus("/data")
	var b bytes.Buffer
	if err := printStatus(&b, &a, time.Unix(0, fillBoot).Add(90*time.Minute)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"▲ degraded\n", `! source ebpf is not used: no \x1b[31mBTF`, "1.0, pid 42, up 1h30m", "poll (every 1s)", "procmond 1.0 pid 43",
		"10 fork\n", "hashes     1,234 files hashed (5.0 MiB), 9 execs of known ones, 2 waiting; without: 1 changed, 6 dropped, 4 gone\n",
		"7 live processes", "2 restarts", "12,345 exec, 9 exit, 10 fork", `lost       1,234 exec, 5 exit, an unknown number in 1 gap; last 1h00m ago: ring \x1b full`, "snapshots  4, 3 of them after a loss", "100 received, 90 stored, 10 waiting, lag 12ms",
		"3.0 MiB in /data: 12,345 events of 100 processes, 7 alive", "2025-10-09 08:53:20Z to 2025-10-09 08:53:21Z, 1 gap\n",
		"last gap   2025-10-09 08:53:20Z to 2025-10-09 08:53:21Z: 7 events of any kind lost, away",
		"rules      3, 1 of them not running; 2 did not look at everything\n",
		"bad: disabled: there is no column \"x\"\\nat all\n    bad: did not look at everything from 2025-10-09 08:53:20Z to 2025-10-09 09:53:20Z\n",
		`partly: did not look at everything from 2025-10-09 08:54:20Z to 2025-10-09 08:54:50Z: 1 evaluation failed (it ran \x1b for long), 2 findings over`,
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	a.Collector.HashSkipped = nil
	if got := hashes(a.Collector); !strings.HasSuffix(got, "2 waiting; without: 6 dropped") {
		t.Error(got)
	}
	a.Collector.Dropped = nil
	if got := hashes(a.Collector); !strings.HasSuffix(got, "2 waiting") {
		t.Error(got)
	}
	a.Loss, a.Collector.Events, a.Collector.HashRate, a.Store.Error = health.Loss{}, nil, 0, "I/O error"
	b.Reset()
	if err := printStatus(&b, &a, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"lost       none", "events     none", "hashes     off", "cannot be read: I/O error"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

// TestStatusOfAgent asks an agent that answers, in each of its states.
func TestStatusOfAgent(t *testing.T) {
	t.Setenv("SENTINELD_CONFIG", emptyConfig(t))
	dir, err := os.MkdirTemp("", "s") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	db, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	var now atomic.Pointer[health.Agent]
	say := func(a health.Agent) { now.Store(&a) }
	a := fullStatus(dir)
	say(a)
	stop, err := serveControl(dir, func() health.Agent { return *now.Load() }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	status := func(args ...string) (string, string, int) {
		var out, errOut bytes.Buffer
		err := run(t.Context(), append([]string{"status", "--data-dir", dir}, args...), strings.NewReader(""), &out, &errOut)
		code := cli.Main("sentineld", &errOut, err)
		return out.String(), errOut.String(), code
	}
	out, errOut, code := status("-o", "table")
	if code != 3 || !strings.HasPrefix(out, "▲ degraded\n") || errOut != "" {
		t.Errorf("code %d: %s%s", code, out, errOut)
	}
	// What the store holds is counted, whatever the agent says.
	if !strings.Contains(out, "0 events of 0 processes, 0 alive") {
		t.Error(out)
	}
	a.State, a.Reasons = health.Healthy, nil
	say(a)
	if out, errOut, code = status(); code != 0 || !strings.Contains(out, `"state":"healthy","version":"1.0","pid":42`) || errOut != "" {
		t.Errorf("code %d: %s%s", code, out, errOut)
	}
	a.State, a.Reasons = health.Failed, []string{"the store takes no events: disk full"}
	say(a)
	if out, errOut, code = status("-o", "table"); code != 1 || !strings.HasPrefix(out, "✗ failed\n") ||
		!strings.Contains(errOut, "the agent has failed: the store takes no events: disk full") {
		t.Errorf("code %d: %s%s", code, out, errOut)
	}
	stop()
	if out, errOut, code = status("-o", "table"); code != 3 || !strings.HasPrefix(out, "○ stopped\n") || errOut != "" {
		t.Errorf("code %d: %s%s", code, out, errOut)
	}
}

// TestStatusOfBrokenStore: an agent runs that finds nothing wrong, and its store
// cannot be read.
func TestStatusOfBrokenStore(t *testing.T) {
	t.Setenv("SENTINELD_CONFIG", emptyConfig(t))
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, test := range []struct {
		state health.State
		code  int
		head  string
	}{{health.Healthy, 3, "▲ degraded\n"}, {health.Degraded, 3, "▲ degraded\n"}, {health.Failed, 1, "✗ failed\n"}} {
		a := fullStatus(dir)
		a.State = test.state
		stop, err := serveControl(dir, func() health.Agent { return a }, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = run(t.Context(), []string{"status", "--data-dir", dir, "-o", "table"}, strings.NewReader(""), &out, &out)
		text := out.String()
		if code := cli.ExitCode(err); code != test.code || !strings.HasPrefix(text, test.head) || !strings.Contains(text, "  ! the store cannot be read: no store in "+dir) {
			t.Errorf("%s: code %d, %v: %s", test.state, code, err, text)
		}
		stop()
	}
}

func emptyConfig(t *testing.T) string {
	t.Helper()
	path := t.TempDir() + "/empty.yaml"
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
