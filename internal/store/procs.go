package store

import (
	"encoding/json"
	"hash/maphash"
	"strings"

	"github.com/sentineld/sentineld/internal/event"
	"zombiezen.com/go/sqlite"
)

// unknown marks a number that is stored as NULL.
const unknown = -1

// process is one row of procs in memory.
type process struct {
	id      int64
	key     event.ProcessKey
	startNS int64 // exact, on the boot clock; unknown = NULL
	started int64 // Unix ns; unknown = NULL
	parent  int64 // procs.id, 0 = NULL
	ppid    int64 // unknown = NULL
	firstTS int64 // unknown: only named as a parent so far
	image   *image
	execs   int64
	endedTS int64 // unknown: it lives
	exit    event.Exit
	code    bool // exit has a code

	above    *lineage // its ancestors; nil = not known
	children *lineage // the ancestors of its children while it runs childrenOf
	childOf  *image

	isNew, dirty bool
}

// image is what a process runs since its last exec, shared with all that
// inherited it.
type image struct {
	ts      int64 // exec_rows.ts
	id      event.ExecID
	exe     string
	hasExe  bool
	args    uint64 // argsHash
	hasArgs bool
}

// same reports whether a process that was found running what e tells is known to run
// just that. What one side does not know does not differ.
func (i *image) same(db *DB, e *event.Event) bool {
	x, known, id := e.Exec, e.Known, e.ExecID()
	switch {
	case i.id.Differs(id):
		return false
	case i.id.Same(id):
		return true
	}
	return (!i.hasExe || !known.Has(event.KnownExe) || i.exe == x.Exe) &&
		(!i.hasArgs || !known.Has(event.KnownArgs) || i.args == db.procs.argsHash(x.Args))
}

// lineage is a list of executables from a parent upwards, made once for all
// children of a process while it runs one image.
type lineage struct {
	exes []string
	id   int64 // strings.id, 0 = not stored yet
}

// maxAncestors bounds a lineage.
const maxAncestors = 64

// processTable is the processes of one boot: all that live, and the last that
// ended. It is bounded by MaxProcesses and MaxExited.
type processTable struct {
	seed   maphash.Seed
	boot   event.BootID
	bootID int64 // boots.id, 0 = no boot yet
	last   int64 // largest procs.id
	m      map[event.ProcessKey]*process
	live   int
	exited []*process // ring of MaxExited
	next   int        // in exited
	dirty  []*process
}

// argsHash covers the first 4 KiB, since another source may cut elsewhere.
func (t *processTable) argsHash(args string) uint64 {
	args = args[:min(len(args), 4096)]
	return maphash.String(t.seed, strings.TrimRight(args, "\x00"))
}

func (db *DB) loadProcesses() error {
	t := &db.procs
	*t = processTable{seed: maphash.MakeSeed(), exited: make([]*process, db.o.MaxExited)}
	if err := query(db.conn, "SELECT coalesce(max(id), 0) FROM procs", func(s *sqlite.Stmt) { t.last = s.ColumnInt64(0) }); err != nil {
		return err
	}
	err := query(db.conn, "SELECT id, uuid FROM boots ORDER BY id DESC LIMIT 1", func(s *sqlite.Stmt) {
		t.bootID = s.ColumnInt64(0)
		s.ColumnBytes(1, t.boot[:])
	})
	if err != nil {
		return err
	}
	return db.loadBoot()
}

// useBoot makes boot the one whose processes are in memory.
func (db *DB) useBoot(boot event.BootID) error {
	t := &db.procs
	if t.boot == boot && t.bootID != 0 {
		return nil
	}
	if err := db.flushProcesses(); err != nil {
		return err
	}
	t.boot, t.bootID = boot, 0
	read := func(s *sqlite.Stmt) { t.bootID = s.ColumnInt64(0) }
	if err := query(db.conn, "SELECT id FROM boots WHERE uuid = ?", read, boot[:]); err != nil {
		return err
	}
	if t.bootID == 0 {
		err := query(db.conn, "INSERT INTO boots(uuid, short) VALUES (?, ?) RETURNING id", read, boot[:], boot.String()[:8])
		if err != nil {
			return err
		}
	}
	return db.loadBoot()
}

// processQuery reads what a process in memory is made of; see read.
const processQuery = `SELECT p.id, p.pid, p.start, p.start_ns, p.started, p.parent, p.ppid, p.first_ts, p.image, p.execs,
	p.ended_ts, p.exit_code, p.signal, p.core, p.presumed, x.s, e.cmdline, e.splits, a.s, a.id, e.source, e.known, e.layout, e.dev, e.inode
	FROM procs p LEFT JOIN exec_rows e ON e.ts = p.image
	LEFT JOIN strings x ON x.id = e.exe LEFT JOIN strings a ON a.id = p.ancestors `

// loadBoot reads the processes of t.boot that live or ended last.
func (db *DB) loadBoot() error {
	t := &db.procs
	t.m, t.live, t.next, t.dirty = make(map[event.ProcessKey]*process), 0, 0, nil
	clear(t.exited)
	images := make(map[int64]*image)
	ancestors := make(map[int64]*lineage)
	byID := make(map[int64]*process)
	row := func(s *sqlite.Stmt) {
		p := t.read(s, images, ancestors)
		if byID[p.id] != nil {
			return
		}
		byID[p.id] = p
		t.put(p)
	}
	if err := query(db.conn, processQuery+"WHERE p.ended_ts IS NULL AND p.boot = ? ORDER BY p.id", row, t.bootID); err != nil {
		return err
	}
	err := query(db.conn, processQuery+"WHERE p.id > ? AND p.boot = ? AND p.ended_ts IS NOT NULL ORDER BY p.id", row,
		t.last-int64(db.o.MaxExited), t.bootID)
	if err != nil {
		return err
	}
	return nil
}

// put takes a process that was read into the table.
func (t *processTable) put(p *process) {
	t.m[p.key] = p
	if p.endedTS == unknown {
		t.live++
	} else {
		t.keepExited(p)
	}
}

// find returns the process of the current boot with this key: from memory, or
// from disk when it ended long ago or was forgotten. It is nil when there is
// none.
func (db *DB) find(key event.ProcessKey) (*process, error) {
	t := &db.procs
	if p := t.m[key]; p != nil {
		return p, nil
	}
	s := db.st.procFind
	s.BindInt64(1, int64(key.PID))
	s.BindInt64(2, int64(key.Start))
	s.BindInt64(3, t.bootID)
	found, err := s.Step()
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, s.Reset()
	}
	p := t.read(s, make(map[int64]*image), make(map[int64]*lineage))
	t.put(p)
	return p, s.Reset()
}

// read makes a process of a row of processQuery.
func (t *processTable) read(s *sqlite.Stmt, images map[int64]*image, ancestors map[int64]*lineage) *process {
	number := func(col int) int64 {
		if s.ColumnIsNull(col) {
			return unknown
		}
		return s.ColumnInt64(col)
	}
	p := &process{
		id: s.ColumnInt64(0), key: event.ProcessKey{Boot: t.boot, PID: uint32(s.ColumnInt64(1)), Start: uint64(s.ColumnInt64(2))},
		startNS: number(3), started: number(4), parent: s.ColumnInt64(5), ppid: number(6), firstTS: number(7),
		execs: s.ColumnInt64(9), endedTS: number(10), code: !s.ColumnIsNull(11),
		exit: event.Exit{
			Code: uint8(s.ColumnInt64(11)), Signal: uint8(s.ColumnInt64(12)), Core: s.ColumnBool(13), Presumed: s.ColumnBool(14),
		},
	}
	if id := s.ColumnInt64(19); id != 0 {
		if ancestors[id] == nil {
			l := &lineage{id: id}
			if json.Unmarshal([]byte(s.ColumnText(18)), &l.exes) == nil {
				ancestors[id] = l
			}
		}
		p.above = ancestors[id]
	}
	if s.ColumnIsNull(8) {
		return p
	}
	ts := s.ColumnInt64(8)
	if images[ts] == nil {
		i := &image{ts: ts, exe: s.ColumnText(15), hasExe: !s.ColumnIsNull(15), hasArgs: !s.ColumnIsNull(16)}
		i.id = (&event.Event{
			Source: event.Source(s.ColumnInt64(20)), Known: event.Known(s.ColumnInt64(21)),
			Exec: &event.Exec{Layout: uint64(s.ColumnInt64(22)), Dev: uint64(s.ColumnInt64(23)), Inode: uint64(s.ColumnInt64(24))},
		}).ExecID()
		if i.hasArgs {
			var splits []byte
			if !s.ColumnIsNull(17) {
				splits = make([]byte, s.ColumnLen(17))
				s.ColumnBytes(17, splits)
			}
			i.args = t.argsHash(strings.Join(splitArgs(s.ColumnText(16), splits), "\x00"))
		}
		images[ts] = i
	}
	p.image = images[ts]
	return p
}

// lineageOfChildren is the ancestors of what p starts now; nil when p's own
// executable is not known.
func (p *process) lineageOfChildren() *lineage {
	if p.image == nil || !p.image.hasExe {
		return nil
	}
	if p.children == nil || p.childOf != p.image {
		l := &lineage{exes: make([]string, 1, 8)}
		l.exes[0] = p.image.exe
		if p.above != nil {
			l.exes = append(l.exes, p.above.exes[:min(len(p.above.exes), maxAncestors-1)]...)
		}
		p.children, p.childOf = l, p.image
	}
	return p.children
}

// add puts a new process into the table.
func (t *processTable) add(key event.ProcessKey) *process {
	t.last++
	t.live++
	p := &process{
		id: t.last, key: key, isNew: true,
		startNS: unknown, started: unknown, ppid: unknown, firstTS: unknown, endedTS: unknown,
	}
	t.m[key] = p
	t.touch(p)
	return p
}

// touch notes that p has to be written at the end of the batch.
func (t *processTable) touch(p *process) {
	if !p.dirty {
		p.dirty = true
		t.dirty = append(t.dirty, p)
	}
}

// revive takes a process that was presumed to have ended as one that lives.
func (t *processTable) revive(p *process) {
	p.endedTS, p.exit, p.code = unknown, event.Exit{}, false
	t.touch(p)
	t.live++
	for i, old := range t.exited {
		if old == p {
			t.exited[i] = nil
		}
	}
}

// keepExited remembers an ended process in place of the one that ended first.
func (t *processTable) keepExited(p *process) {
	if old := t.exited[t.next]; old != nil && t.m[old.key] == old {
		delete(t.m, old.key)
	}
	t.exited[t.next] = p
	t.next = (t.next + 1) % len(t.exited)
}

const procColumns = 17

// flushProcesses writes each process that changed since the last time, once.
func (db *DB) flushProcesses() error {
	t := &db.procs
	for _, p := range t.dirty {
		s := db.st.procChange
		if p.isNew {
			s = db.st.procAdd
			s.BindInt64(2, t.bootID)
			s.BindInt64(3, int64(p.key.PID))
			s.BindInt64(4, int64(p.key.Start))
		}
		s.BindInt64(1, p.id)
		bindKnown(s, 5, p.startNS, p.startNS != unknown)
		bindKnown(s, 6, p.started, p.started != unknown)
		bindKnown(s, 7, p.parent, p.parent != 0)
		bindKnown(s, 8, p.ppid, p.ppid != unknown)
		bindKnown(s, 9, p.firstTS, p.firstTS != unknown)
		if p.image != nil {
			s.BindInt64(10, p.image.ts)
		} else {
			s.BindNull(10)
		}
		s.BindInt64(11, p.execs)
		ended := p.endedTS != unknown
		bindKnown(s, 12, p.endedTS, ended)
		bindKnown(s, 13, int64(p.exit.Code), p.code)
		bindKnown(s, 14, int64(p.exit.Signal), p.code)
		bindKnown(s, 15, bit(p.exit.Core), p.code)
		bindKnown(s, 16, bit(p.exit.Presumed), ended)
		if err := db.bindAncestors(s, 17, p.above); err != nil {
			return err
		}
		if err := step(s); err != nil {
			return err
		}
		p.isNew, p.dirty = false, false
	}
	clear(t.dirty)
	t.dirty = t.dirty[:0]
	if len(t.m) > db.o.MaxProcesses {
		db.shrinkProcesses()
	}
	return nil
}

// shrinkProcesses forgets the oldest eighth, which find brings back: only lost
// exits, which a reconciliation repairs, let the table grow beyond what a
// system can run.
//
// BUG: a second fork event of a forgotten process is taken for a new process.
func (db *DB) shrinkProcesses() {
	t := &db.procs
	limit := t.last
	for _, p := range t.m {
		limit = min(limit, p.id)
	}
	for n := len(t.m); len(t.m) > n-n/8; {
		limit += (t.last-limit)/8 + 1
		for key, p := range t.m {
			if p.id < limit {
				if p.endedTS == unknown {
					t.live--
				}
				delete(t.m, key)
				db.stats.Forgotten++
			}
		}
	}
}

func bindKnown(s *sqlite.Stmt, param int, v int64, known bool) {
	if known {
		s.BindInt64(param, v)
	} else {
		s.BindNull(param)
	}
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
