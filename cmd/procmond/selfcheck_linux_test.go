package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/testenv"
)

// TestLockdown: what cannot be read is not known, which is not the same as none.
func TestLockdown(t *testing.T) {
	const good, bad, unknown = "✓", "✗", " "
	check := func(dir, want, mark string) {
		t.Helper()
		mode, readable := lockdown(dir)
		var line strings.Builder
		fact{"lockdown", mode, readable}.print(&line)
		if !strings.HasPrefix(mode, want) || !strings.HasPrefix(line.String(), "  "+mark+" lockdown") {
			t.Errorf("%q, want %q with the mark %q", line.String(), want, mark)
		}
	}
	dir := t.TempDir()
	check(dir, "not known: securityfs is not mounted on "+dir, unknown)
	check(filepath.Join(dir, "none"), "not known: securityfs is not mounted on "+dir, unknown)
	for _, test := range []struct{ text, want, mark string }{
		{"[none] integrity confidentiality\n", "none", good},
		{"none [integrity] confidentiality\n", "integrity", good},
		{"none integrity [confidentiality]\n", "confidentiality", bad},
	} {
		if err := os.WriteFile(filepath.Join(dir, "lockdown"), []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		check(dir, test.want, test.mark)
	}

	testenv.NeedRoot(t)
	mounted := t.TempDir()
	if err := unix.Mount("securityfs", mounted, "securityfs", 0, ""); err != nil {
		testenv.Skip(t, "cannot mount securityfs: "+err.Error())
	}
	defer func() { _ = unix.Unmount(mounted, unix.MNT_DETACH) }()
	if mode, readable := lockdown(mounted); readable == nil {
		t.Errorf("%q, with securityfs", mode)
	}
}
