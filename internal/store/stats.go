package store

import (
	"os"

	"github.com/sentineld/sentineld/internal/event"
)

// Stats is what a DB did since Open, and how large things are.
type Stats struct {
	Rows         [event.NumKinds]int64 // stored, by kind
	Duplicates   int64                 // second forks and exits, not stored
	Unchanged    int64                 // snapshot rows of what was known, not stored
	Unmatched    int64                 // hashes of execs that are not stored, or have one
	Invalid      int64                 // events without what their kind needs, not stored
	GapsExtended int64                 // gaps that are part of the row before
	Forgotten    int64                 // processes dropped from memory, see Options.MaxProcesses

	AlertsRaised, AlertsFolded int64

	Bytes, WALBytes int64 // of the files
	Live            int   // processes
	Processes       int   // in memory
	Strings         int   // in the dictionary's cache
	StringBytes     int
}

// Stats returns a copy of the counters.
func (db *DB) Stats() Stats {
	db.mu.Lock()
	s := db.stats
	s.Live, s.Processes = db.procs.live, len(db.procs.m)
	s.Strings, s.StringBytes = len(db.dict.m), db.dict.bytes
	db.mu.Unlock()
	if info, err := os.Stat(db.path); err == nil {
		s.Bytes = info.Size()
	}
	if info, err := os.Stat(db.path + "-wal"); err == nil {
		s.WALBytes = info.Size()
	}
	return s
}
