package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/sentineld/sentineld/internal/config"
)

// historyMax is how many lines are kept in memory. The file may have twice as many when
// it is opened.
const historyMax = 1000

// history is the lines that were typed, newest last, in memory and in a file that
// only its user can read.
type history struct {
	path  string
	lines []string
}

// historyPath is where the lines are kept: "" where somebody else may say what is there,
// as for root who came with a user's HOME or XDG_STATE_HOME.
func historyPath() string {
	path := filepath.Join(config.StateDir(), "query_history")
	if !filepath.IsAbs(path) || !isOwn(path) {
		return ""
	}
	return path
}

// openHistory reads the lines of earlier shells. Without a file there are none, and
// none are kept.
func openHistory(path string) *history {
	h := &history{path: path}
	if path == "" {
		return h
	}
	f, err := h.open(os.O_RDONLY)
	if err != nil {
		return h
	}
	text, err := io.ReadAll(f)
	f.Close()
	if err != nil {
		return h
	}
	h.lines = slices.DeleteFunc(strings.Split(string(text), "\n"), func(l string) bool { return l == "" })
	kept := len(h.lines)
	h.lines = h.lines[max(0, kept-historyMax):]
	if kept > 2*historyMax {
		h.write(os.O_TRUNC, h.lines...) // else it is shortened next time
	}
	return h
}

// open opens the file, if it is one: a link may lead anywhere.
func (h *history) open(flags int) (*os.File, error) {
	return os.OpenFile(h.path, flags|noFollow, 0o600)
}

// write keeps lines in the file as far as that can be done: they are in memory anyway.
func (h *history) write(how int, lines ...string) {
	f, err := h.open(os.O_CREATE | os.O_WRONLY | how)
	if err != nil {
		return
	}
	defer f.Close()
	if f.Chmod(0o600) == nil || runtime.GOOS == "windows" {
		fmt.Fprintln(f, strings.Join(lines, "\n"))
	}
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
	h.lines = slices.Delete(h.lines, 0, max(0, len(h.lines)-historyMax))
	if h.path == "" {
		return
	}
	_ = os.MkdirAll(filepath.Dir(h.path), 0o700)
	h.write(os.O_APPEND, line)
}

func (h *history) Len() int          { return len(h.lines) }
func (h *history) At(idx int) string { return h.lines[len(h.lines)-1-idx] }
