package detect

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/sentineld/sentineld/internal/event"
)

// maxLookups is how many processes are looked for by their key in one
// evaluation. The store has no index on it, so that each one reads the whole
// table of processes; beyond that, alerts name the process and no more.
const maxLookups = 50

// maxEvidenceBytes is how much of a command line an alert carries.
const maxEvidenceBytes = 8 << 10

// found is what belongs to a row in the store.
type found struct {
	process  string
	ts       int64
	evidence event.Evidence
}

// evidenceColumns are what readProcess takes, in its order.
const evidenceColumns = "process, pid, exe, cmdline, uid, user, cwd, container_id, parent, ppid, parent_exe, parent_cmdline, ancestors"

// find looks up the process of a row: by the event's number, else by the
// process.
func (m *maker) find(r *row) (found, error) {
	f := found{process: r.process}
	ts, execs := int64(0), false
	if r.seq != 0 {
		var err error
		if ts, execs, err = m.event(r, &f); err != nil {
			return f, err
		}
	}
	f.ts = ts
	if execs {
		err := m.each("SELECT "+evidenceColumns+" FROM main.execs WHERE ts = ?1", func(s *sqlite.Stmt) {
			if p := s.ColumnText(0); f.process == "" || f.process == p {
				f.process = p
				readProcess(s, &f.evidence)
			}
		}, ts)
		if err != nil || f.evidence.Process != nil {
			return f, err
		}
	}
	if f.process == "" {
		return f, nil
	}
	return f, m.process(&f)
}

// event finds when an event was, and whether it is an exec. Its process is
// taken over when the row does not name one.
func (m *maker) event(r *row, f *found) (ts int64, exec bool, err error) {
	take := func(s *sqlite.Stmt) {
		ts = s.ColumnInt64(0)
		if f.process == "" {
			f.process = s.ColumnText(1)
		}
	}
	for _, t := range m.tables {
		process := "process"
		if t.view == "gaps" {
			process = "''"
		}
		if err := m.each("SELECT ts, "+process+" FROM temp."+t.view+" WHERE seq = ?1", take, r.seq); err != nil {
			return 0, false, err
		}
		if ts != 0 {
			return ts, t.view == "execs", nil
		}
	}
	if r.ts != 0 { // of a window rule: the store finds it by its time
		err = m.each("SELECT ts, process FROM main.execs WHERE ts = ?1 AND seq = ?2", take, r.ts, r.seq)
		return ts, ts != 0, err
	}
	return 0, false, nil
}

// process looks up a process by its key, with the program that it runs.
func (m *maker) process(f *found) error {
	parts := strings.Split(f.process, "-")
	if len(parts) != 3 || m.lookups == 0 {
		return nil
	}
	pid, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return nil
	}
	m.lookups--
	// The pid is a plain column and rules most rows out before the key is made.
	// What a process inherited by fork is its parent's program, with that one's
	// parent and ancestors.
	const byKey = "SELECT process, pid, exe, cmdline, uid, user, cwd, container_id, parent, ppid, CASE WHEN execs > 0 THEN parent_exe ELSE exe END," +
		" CASE WHEN execs > 0 THEN parent_cmdline ELSE cmdline END, CASE WHEN execs > 0 THEN ancestors END FROM main.processes WHERE pid = ?1 AND process = ?2"
	if err := m.each(byKey, func(s *sqlite.Stmt) { readProcess(s, &f.evidence) }, pid, f.process); err != nil {
		return fmt.Errorf("look up process %s: %w", f.process, err)
	}
	return nil
}

func readProcess(s *sqlite.Stmt, e *event.Evidence) {
	text := func(col, limit int) string {
		t := s.ColumnText(col)
		return visible(t[:min(limit, len(t))])
	}
	const path = 4096 // PATH_MAX, limits.h
	p := &event.ProcessInfo{
		Process: text(0, path), PID: s.ColumnInt64(1), Exe: text(2, path), Cmdline: text(3, maxEvidenceBytes),
		User: text(5, path), Cwd: text(6, path), ContainerID: text(7, path),
	}
	if !s.ColumnIsNull(4) {
		uid := s.ColumnInt64(4)
		p.UID = &uid
	}
	e.Process = p
	if !s.ColumnIsNull(8) {
		e.Parent = &event.ProcessInfo{Process: text(8, path), PID: s.ColumnInt64(9), Exe: text(10, path), Cmdline: text(11, maxEvidenceBytes)}
	}
	if err := json.Unmarshal([]byte(s.ColumnText(12)), &e.Ancestors); err != nil {
		e.Ancestors = nil // NULL: not known
	}
}
