package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"

	"github.com/sentineld/sentineld/internal/cli"
)

// lockDir makes the data directory and takes it for this process. The lock goes
// with the process, however it ends.
func lockDir(dir string) (*flock.Flock, error) {
	if st, err := os.Stat(dir); err == nil && !st.IsDir() {
		return nil, cli.Usagef("data directory %s is a file (choose another with --data-dir)", dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w (choose another with --data-dir)", err)
	}
	// The pid is in a file of its own: where locks are mandatory, nobody else
	// can read the one that is locked.
	path := filepath.Join(dir, "pid")
	l := flock.New(filepath.Join(dir, "lock"), flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if !ok {
		owner := ""
		if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
			owner = ", pid " + strings.TrimSpace(string(b))
		}
		return nil, fmt.Errorf("data directory %s is in use by another sentineld%s (stop it, or choose another with --data-dir)", dir, owner)
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data directory: %w", err), l.Unlock())
	}
	return l, nil
}
