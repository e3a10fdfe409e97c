package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/store"
)

// TestFollower runs a follower over a store that is written meanwhile, as `run --live`
// does: whoever stores tells it.
func TestFollower(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Options{Dir: dir, BootTime: func() int64 { return fillBoot }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	add := func(pid uint32) {
		t.Helper()
		if _, err := db.Append(t.Context(), []event.Event{fillExec(pid, 1, int64(pid), "/bin/x", "x", fmt.Sprint(pid))}); err != nil {
			t.Fatal(err)
		}
	}
	add(10)
	var out bytes.Buffer
	f, err := newFollower(t.Context(), dir, []string{"exec"}, &out, "json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	if err := f.newest(t.Context(), 0); err != nil || out.Len() != 0 {
		t.Fatal(err, out.String())
	}
	if err := f.changed(); err != errUnchanged {
		t.Error(err)
	}
	var want []string
	for pid := uint32(11); pid < 14; pid++ {
		add(pid)
		if err := f.changed(); err != nil {
			t.Error(err)
		}
		if err := f.step(t.Context()); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf(`"pid":%d,`, pid))
	}
	// More than are read at once.
	var batch []event.Event
	for pid := uint32(20); pid < 20+chunk+5; pid++ {
		batch = append(batch, fillExec(pid, 1, int64(pid), "/bin/x", "x"))
	}
	if _, err := db.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if err := f.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3+chunk+5 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, w := range want {
		if !strings.Contains(lines[i], w) {
			t.Errorf("line %d: %s", i, lines[i])
		}
	}
	if last := lines[len(lines)-1]; !strings.Contains(last, fmt.Sprintf(`"pid":%d,`, 20+chunk+4)) {
		t.Error(last)
	}
	if err := f.step(t.Context()); err != nil || strings.Count(out.String(), "\n") != len(lines) {
		t.Error("printed again", err)
	}
}
