package store

import (
	"crypto/sha256"

	"github.com/sentineld/sentineld/internal/event"
)

// movedOn bounds how far the key of an exec is from its time, in ns: as many
// processes may be in a snapshot that has one time for all.
const movedOn = 1 << 17

// applyHash adds a hash to the exec that it came too late for.
func (db *DB) applyHash(e *event.Event, a *Appended) error {
	h := e.Hash
	p, err := db.find(e.Process)
	if err != nil {
		return err
	}
	if p == nil {
		db.stats.Unmatched++
		return nil
	}
	s := db.st.execFind
	s.BindInt64(1, h.ExecTime)
	s.BindInt64(2, p.id)
	s.BindInt64(3, movedOn)
	found, err := s.Step()
	if err != nil {
		return err
	}
	var ts int64
	if found {
		ts = s.ColumnInt64(0)
	}
	if err := s.Reset(); err != nil {
		return err
	}
	if !found && e.Source == event.SourceSnapshot && p.image != nil {
		// It was found to run what was known: no row was stored of that.
		ts, found = p.image.ts, true
	}
	if !found {
		db.stats.Unmatched++
		return nil
	}
	f := file{dev: h.Dev, inode: h.Inode, size: int64(h.Size), mtime: h.MTime, hasFile: true, hasTimes: true}
	return db.lateHash(ts, h.Exe, h.SHA256, f, e.Time, a)
}

// applyFoundHash takes the hash over that a process is found with that runs what
// was known of it, if that has none.
func (db *DB) applyFoundHash(e *event.Event, p *process, a *Appended) error {
	if !e.Known.Has(event.KnownSHA256|event.KnownFile) || len(e.Exec.SHA256) != sha256.Size {
		return nil
	}
	exe := ""
	if e.Known.Has(event.KnownExe) {
		exe = e.Exec.Exe
	}
	return db.lateHash(p.image.ts, exe, e.Exec.SHA256, fileOf(e), e.Time, a)
}

// lateHash stores a hash with the exec at ts if that is of the file and has none
// yet, and the number under which rules look at it again. now is when it came. exe
// is "" where the path is not known: the exec has none then, and no binary is seen.
func (db *DB) lateHash(ts int64, exe, hash string, f file, now int64, a *Appended) error {
	sum, err := db.internHash(hash)
	if err != nil {
		return err
	}
	s := db.st.execHash
	s.BindInt64(1, ts)
	s.BindInt64(2, sum)
	s.BindInt64(3, int64(f.inode))
	if err := db.bindString(s, 4, exe, exe != ""); err != nil {
		return err
	}
	changed, err := s.Step()
	if err != nil {
		return err
	}
	exec := false
	if changed {
		exec = event.Source(s.ColumnInt64(0)) != event.SourceSnapshot
		f.dev = uint64(s.ColumnInt64(1)) // of the exec: what was found running may have another name for it
	}
	if err := s.Reset(); err != nil {
		return err
	}
	if !changed {
		db.stats.Unmatched++
		return nil
	}
	if exe != "" {
		key, err := db.binaryKey(exe, f, hash)
		if err != nil {
			return err
		}
		db.seen.add(key, f, ts, exec)
	}
	s = db.st.hash
	s.BindInt64(1, db.nextSeq())
	s.BindInt64(2, ts)
	if err := step(s); err != nil {
		return err
	}
	db.count(a, event.KindHash, now)
	return nil
}

// seeExec notes the binary of an exec that came with its hash.
func (db *DB) seeExec(e *event.Event, ts int64, running bool) error {
	if !e.Known.Has(event.KnownSHA256|event.KnownExe) || len(e.Exec.SHA256) != sha256.Size {
		return nil
	}
	f := fileOf(e)
	key, err := db.binaryKey(e.Exec.Exe, f, e.Exec.SHA256)
	if err != nil {
		return err
	}
	db.seen.add(key, f, ts, !running)
	return nil
}

func (db *DB) binaryKey(exe string, f file, hash string) (binaryKey, error) {
	path, err := db.intern(exe)
	if err != nil {
		return binaryKey{}, err
	}
	sum, err := db.internHash(hash)
	dev := int64(0)
	if f.hasFile {
		dev = int64(f.dev)
	}
	return binaryKey{path.id, dev, sum}, err
}

func (db *DB) internHash(hash string) (int64, error) {
	var buf [2 * sha256.Size]byte
	sum, err := db.intern(hexOf(&buf, hash))
	return sum.id, err
}

// file is what is known of a file beside its content.
type file struct {
	dev, inode        uint64
	size, mtime       int64
	hasFile, hasTimes bool
}

func fileOf(e *event.Event) file {
	x := e.Exec
	return file{x.Dev, x.Inode, int64(x.Size), x.MTime, e.Known.Has(event.KnownFile), e.Known.Has(event.KnownFileTimes)}
}

// binaryKey names a content at a path on a device, 0 = not known; the others are
// strings.id.
type binaryKey struct{ exe, dev, sha256 int64 }

// sightings gathers the binaries of one transaction, so that many execs of one
// cost one write.
type sightings struct {
	at   map[binaryKey]int
	list []sighting // in the order in which they came
}

type sighting struct {
	key         binaryKey
	file        file // where it was seen last
	first, last int64
	execs       int64
}

func (s *sightings) add(key binaryKey, f file, ts int64, exec bool) {
	i, ok := s.at[key]
	if !ok {
		if s.at == nil {
			s.at = make(map[binaryKey]int)
		}
		i = len(s.list)
		s.at[key] = i
		s.list = append(s.list, sighting{key: key, file: f, first: ts, last: ts})
	}
	b := &s.list[i]
	if ts >= b.last {
		b.last, b.file = ts, f
	}
	b.first = min(b.first, ts)
	b.execs += bit(exec)
}

// flushBinaries writes what was seen, once for each content of each path of a device.
func (db *DB) flushBinaries() error {
	for _, b := range db.seen.list {
		before := db.st.binaryBefore
		before.BindInt64(1, b.key.exe)
		before.BindInt64(2, b.key.dev)
		before.BindInt64(3, b.key.sha256)
		before.BindInt64(4, b.last)
		changed, err := before.Step()
		if err != nil {
			return err
		}
		previous := int64(0)
		if changed {
			previous = before.ColumnInt64(0)
		}
		if err := before.Reset(); err != nil {
			return err
		}
		s := db.st.binarySeen
		s.BindInt64(1, b.key.exe)
		s.BindInt64(2, b.key.dev)
		s.BindInt64(3, b.key.sha256)
		bindKnown(s, 4, int64(b.file.inode), b.file.hasFile)
		bindKnown(s, 5, b.file.size, b.file.hasTimes)
		bindKnown(s, 6, b.file.mtime, b.file.hasTimes)
		s.BindInt64(7, b.first)
		s.BindInt64(8, b.last)
		s.BindInt64(9, b.execs)
		bindKnown(s, 10, previous, changed)
		if err := step(s); err != nil {
			return err
		}
		// Hashes do not come in the order of the execs.
		next := db.st.binaryNext
		next.BindInt64(1, b.key.exe)
		next.BindInt64(2, b.key.dev)
		next.BindInt64(3, b.key.sha256)
		next.BindInt64(4, b.first)
		if err := step(next); err != nil {
			return err
		}
	}
	db.seen = sightings{}
	return nil
}
