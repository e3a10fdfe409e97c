package pipeline_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/pipeline"
	"github.com/sentineld/sentineld/internal/store"
)

// database is a store as the pipeline sees it.
type database struct{ *store.DB }

func (d database) Append(ctx context.Context, batch []event.Event, session string, seq uint64) error {
	_, err := d.DB.AppendFrom(ctx, batch, session, seq)
	return err
}

func (d database) Reconcile(ctx context.Context, live []event.Event, now int64) error {
	_, err := d.DB.Reconcile(ctx, live, now)
	return err
}

// TestRedactedInStore wants a secret in no byte of the store, whichever way its
// event came, and the length that was executed.
func TestRedactedInStore(t *testing.T) {
	const secret = "Xq7-hunter2-Zw9"
	boot := event.BootID{1}
	made := uint32(10)
	exec := func(kind event.Kind, truncated bool, args ...string) event.Event {
		made++
		joined := strings.Join(args, "\x00") + "\x00"
		x := &event.Exec{Exe: "/usr/bin/" + args[0], Argc: uint32(len(args)), Args: joined, ArgsLen: uint64(len(joined)), Env: "A=b\x00TOKEN=" + secret + "\x00"}
		if truncated {
			x.Args, x.Truncated, x.ArgsLen = strings.TrimSuffix(joined, "2-Zw9\x00"), true, 5000
		}
		return event.Event{
			Kind: kind, Source: event.SourceEBPF, Time: int64(made) * 1e9, Process: event.ProcessKey{Boot: boot, PID: made, Start: uint64(made)},
			Known: event.KnownTime | event.KnownExe | event.KnownArgs | event.KnownEnv, Exec: x,
		}
	}
	live := exec(event.KindExec, false, "daemon", "--token="+secret)
	live.Source, live.Known = event.SourceSnapshot, live.Known&^event.KnownTime
	events := []event.Event{
		exec(event.KindExec, false, "tool", "--password", secret, "", "a b"),
		exec(event.KindExec, true, "tool", "--password", secret),
		exec(event.KindExecFailed, false, "mysql", "-p"+secret),
		exec(event.KindExec, false, "sh", "-c", "curl -u 'ann:"+secret+"' http://ann:"+secret+"@host/"),
		exec(event.KindExec, false, "tool", "--password", "1234567890"), // as long as what it becomes
		exec(event.KindExec, false, "plain", "x"),
	}
	given := events[0].Exec.Args
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	in := make(chan pipeline.Item, 2)
	in <- pipeline.Item{Live: []event.Event{live}, Now: 1e9, Session: "s", Seq: 1}
	in <- pipeline.Item{Events: events, Session: "s", Seq: 2}
	close(in)
	if err := pipeline.New(database{db}, pipeline.Options{}).Run(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(given, secret) {
		t.Error("bytes that others hold were changed")
	}

	grep := func() {
		t.Helper()
		files, err := os.ReadDir(dir)
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			data, err := os.ReadFile(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []string{secret, secret[:10], "1234567890"} {
				if bytes.Contains(data, []byte(s)) {
					t.Errorf("%s holds %q", f.Name(), s)
				}
			}
		}
	}
	grep() // the log
	s, err := store.OpenSession(t.Context(), dir, store.SessionOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, sql := range []string{
		"SELECT args, argc, args_len, truncated, redacted, env FROM execs ORDER BY seq",
		"SELECT args, argc, args_len, truncated, redacted, env FROM exec_failures",
		"SELECT args, argc, args_len, truncated, redacted, env FROM processes WHERE cmdline LIKE 'daemon%'",
	} {
		stmt, _, err := s.Prepare(sql)
		if err != nil {
			t.Fatal(err)
		}
		for {
			more, err := stmt.Step()
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				break
			}
			var row []string
			for i := range stmt.ColumnCount() {
				row = append(row, stmt.ColumnText(i))
			}
			got = append(got, strings.Join(row, " | "))
		}
		stmt.Finalize()
	}
	s.Close()
	const env = ` | ["A=b","TOKEN=[redacted]"]`
	want := []string{
		`["daemon","--token=[redacted]"] | 2 | 31 | 0 | 1` + env,
		`["tool","--password","[redacted]","","a b"] | 5 | 37 | 0 | 1` + env,
		`["tool","--password","[redacted]"] | 3 | 5000 | 1 | 1` + env,
		`["sh","-c","curl -u 'ann:[redacted]' http://ann:[redacted]@host/"] | 3 | 69 | 0 | 1` + env,
		`["tool","--password","[redacted]"] | 3 | 27 | 0 | 1` + env,
		`["plain","x"] | 2 | 8 | 0 | 1` + env,
		`["mysql","-p[redacted]"] | 2 | 24 | 0 | 1` + env,
		`["daemon","--token=[redacted]"] | 2 | 31 | 0 | 1` + env,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	grep() // the database
}
