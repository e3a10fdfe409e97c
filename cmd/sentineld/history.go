package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/sentineld/sentineld/internal/config"
)

// historyMax is how many lines are kept.
const historyMax = 1000

// history is the lines that were typed, newest last, in memory and in a file that
// only its user can read.
type history struct {
	path  string
	lines []string
}

// historyPath is where the lines are kept: "" where that is not this user's own place,
// as for root who came with somebody's HOME.
func historyPath() string {
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) || !isOwn(home) {
		return ""
	}
	return filepath.Join(config.StateDir(), "query_history")
}

// openHistory reads the lines of earlier shells. Without a file there are none, and
// none are kept.
func openHistory(path string) *history {
	h := &history{path: path}
	if path == "" {
		return h
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return h
	}
	h.lines = strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(h.lines) > 2*historyMax {
		h.lines = h.lines[len(h.lines)-historyMax:]
		_ = os.WriteFile(path, []byte(strings.Join(h.lines, "\n")+"\n"), 0o600) // else it is shortened next time
	}
	return h
}

// Add keeps a line that says something new. One that begins with a blank is nobody's
// business, as in a shell, and a value is often what is secret.
func (h *history) Add(line string) {
	if strings.HasPrefix(line, " ") || strings.HasPrefix(line, ".param") {
		return
	}
	line = safe(strings.TrimSpace(line))
	if line == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	if h.path == "" {
		return
	}
	_ = os.MkdirAll(filepath.Dir(h.path), 0o700)
	f, err := os.OpenFile(h.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return // it is kept in memory
	}
	defer f.Close()
	if f.Chmod(0o600) == nil || runtime.GOOS == "windows" {
		fmt.Fprintln(f, line)
	}
}

func (h *history) Len() int          { return len(h.lines) }
func (h *history) At(idx int) string { return h.lines[len(h.lines)-1-idx] }
