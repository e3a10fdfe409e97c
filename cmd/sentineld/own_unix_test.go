//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentineld/sentineld/internal/testenv"
)

// TestHistoryIsOwn: it is kept where nobody else can say what is there, as root does
// not find when somebody's environment came along.
func TestHistoryIsOwn(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "theirs", "root's", "sentineld"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "their link")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", filepath.Join(dir, "home"))
	want := func(state string, own bool) {
		t.Helper()
		t.Setenv("XDG_STATE_HOME", state)
		if got := historyPath(); (got != "") != own || own && !strings.HasSuffix(got, "sentineld/query_history") {
			t.Errorf("with %q it is kept in %q", state, got)
		}
	}
	want("", true) // in $HOME, which will be made
	want(filepath.Join(dir, "mine"), true)
	t.Setenv("HOME", "")
	want("", false)
	t.Setenv("HOME", dir)
	testenv.NeedRoot(t)
	for _, path := range []string{"theirs", "their link"} {
		if err := os.Lchown(filepath.Join(dir, path), 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"theirs", "theirs/new", "theirs/root's", "their link/new"} {
		want(filepath.Join(dir, path), false)
	}
}

// TestHistoryIsNoLink: what a link leads to is neither read, nor changed.
func TestHistoryIsNoLink(t *testing.T) {
	dir := t.TempDir()
	target, path := filepath.Join(dir, "target"), filepath.Join(dir, "query_history")
	text := strings.Repeat("a\nb\n", historyMax+1)
	if err := os.WriteFile(target, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	h := openHistory(path)
	if h.Add("SELECT 1"); h.Len() != 1 {
		t.Errorf("%d lines", h.Len())
	}
	info, err := os.Stat(target)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != text || info.Mode().Perm() != 0o644 {
		t.Errorf("the target has %d bytes, %v, %v", len(got), info.Mode(), err)
	}
}
