package config

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the reference into README.md")

// TestReference wants README.md to list every option with the default that it
// really has.
func TestReference(t *testing.T) {
	const file, begin, end = "../../README.md", "<!-- options, written by go test ./internal/config -update -->\n", "<!-- end of options -->"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the options", file)
	}
	want := before + begin + Reference() + end + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(data) != want {
		t.Error("README.md does not list the options as they are: run go test ./internal/config -update")
	}
	for line := range strings.Lines(Reference()) {
		if strings.HasSuffix(line, "|  |\n") {
			t.Errorf("an option without a meaning: %s", line)
		}
	}
}
