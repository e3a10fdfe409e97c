package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sentineld/sentineld/internal/config"
)

// TestForProcmond: what was set in any layer is lost on a procmond that runs.
func TestForProcmond(t *testing.T) {
	file, empty := filepath.Join(t.TempDir(), "config.yaml"), filepath.Join(t.TempDir(), "empty.yaml")
	text := "collector:\n  ring_bytes: 65536\n  exec_failures: true\n  socket: /run/x.sock\nstore:\n  batch_rows: 10\n"
	for name, text := range map[string]string{file: text, empty: ""} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(config.Layers{
		File: file, Env: []string{"SENTINELD_COLLECTOR_ENV=HOME", "SENTINELD_LOG_LEVEL=warn"}, Flags: map[string]string{"collector.source": "poll"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"collector.env (SENTINELD_COLLECTOR_ENV)", "collector.ring_bytes (" + file + ":2)", "collector.source (flag)"}
	if diff := cmp.Diff(want, forProcmond(c.Origins)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c, err = config.Load(config.Layers{File: empty}); err != nil || forProcmond(c.Origins) != nil {
		t.Errorf("of nothing that was set: %q, %v", forProcmond(c.Origins), err)
	}
}
