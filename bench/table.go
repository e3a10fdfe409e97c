//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
)

// identity names the process that has a pid now, as the views do.
func identity(boot event.BootID, pid int) (key string, ended bool, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false, err
	}
	s, err := procfs.ParseStat(data)
	if err != nil {
		return "", false, err
	}
	return event.ProcessKey{Boot: boot, PID: uint32(s.PID), Start: s.Start}.String(), s.Ended(), nil
}

func bootID() (event.BootID, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return event.BootID{}, err
	}
	return event.ParseBootID(string(data))
}

// alive are the processes of /proc that have not ended.
func alive(boot event.BootID) (map[string]bool, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	m := map[string]bool{}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		if key, ended, err := identity(boot, pid); err == nil && !ended { // an error: it is gone
			m[key] = true
		}
	}
	return m, nil
}

// compare looks once whether the living processes of a store are those of /proc.
// Processes that came or went while the two were compared say nothing.
func (b *bench) compare(dir string, boot event.BootID) (wrong []string, n int, err error) {
	before, err := alive(boot)
	if err != nil {
		return nil, 0, err
	}
	out, self, err := b.ask("query", "--data-dir", dir, "--timeout", "10m", "-o", "json", "SELECT process, pid FROM processes WHERE ended IS NULL")
	if err != nil {
		return nil, 0, err
	}
	after, err := alive(boot)
	if err != nil {
		return nil, 0, err
	}
	table := map[string]bool{}
	for line := range bytes.Lines(out) {
		var r struct {
			Process string
			PID     int
		}
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, 0, fmt.Errorf("query: %q: %w", line, err)
		}
		table[r.Process] = true
		if !before[r.Process] && !after[r.Process] && r.PID != self { // who asks waits for its own exec to be stored
			wrong = append(wrong, r.Process+" has ended")
		}
	}
	for p := range before {
		if after[p] && !table[p] {
			wrong = append(wrong, p+" is missing")
		}
	}
	return wrong, len(table), nil
}

// tableTime is how long the store may take to be what /proc shows. Other programs
// begin and end meanwhile, and are stored a batch later.
const tableTime = 30 * time.Second

// table says whether the store's living processes become those of /proc.
func (b *bench) table(dir string) (string, error) {
	boot, err := bootID()
	if err != nil {
		return "", err
	}
	for end := time.Now().Add(tableTime); ; time.Sleep(500 * time.Millisecond) {
		wrong, n, err := b.compare(dir, boot)
		switch {
		case err != nil:
			return "", err
		case len(wrong) == 0:
			return fmt.Sprintf("equals /proc (%d processes)", n), nil
		case time.Now().After(end):
			return fmt.Sprintf("DIFFERS from /proc: %d of %d: %s", len(wrong), n, strings.Join(wrong[:min(5, len(wrong))], ", ")), nil
		}
	}
}
