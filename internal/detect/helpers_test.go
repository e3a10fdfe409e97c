package detect_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/sentineld/sentineld/internal/detect"
	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/rule"
	"github.com/sentineld/sentineld/internal/store"
)

// session is the store's session as an engine wants it: what cmd wires, too.
type session struct{ *store.Session }

func (s session) Prepare(sql string) (*sqlite.Stmt, [][2]string, error) {
	stmt, reads, err := s.Session.Prepare(sql)
	list := make([][2]string, len(reads))
	for i, r := range reads {
		list[i] = [2]string{r.Table, r.Column}
	}
	return stmt, list, err
}

const (
	bootNS = int64(1_760_000_000_000_000_000)
	second = int64(time.Second)
)

// lab is a store with an engine's worth of events.
type lab struct {
	testing.TB
	dir  string
	db   *store.DB
	now  int64  // time of the next event
	pid  uint32 // the last one given out
	from int64  // seq up to which was evaluated
	next store.Appended
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{TB: t, dir: t.TempDir(), now: bootNS + 1000*second, pid: 1000}
	db, err := store.Open(t.Context(), store.Options{Dir: l.dir, BootTime: func() int64 { return bootNS }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	l.db = db
	return l
}

func (l *lab) open(ctx context.Context) (detect.Session, error) {
	s, err := store.OpenSession(ctx, l.dir, store.SessionOptions{MaxDepth: 1000})
	if err != nil {
		return nil, err
	}
	return session{s}, nil
}

func (l *lab) engine(o detect.Options) *detect.Engine {
	l.Helper()
	o.Open = l.open
	e, err := detect.New(l.Context(), o)
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		if err := e.Close(); err != nil {
			l.Error(err)
		}
	})
	return e
}

func (l *lab) rule(text string) rule.Rule {
	l.Helper()
	if !strings.Contains(text, "id:") {
		text = "id: test\ntitle: Test\nseverity: high\n" + text
	}
	r, err := rule.Parse("test.yaml", []byte(text))
	if err != nil {
		l.Fatal(err)
	}
	return r
}

// append stores events, and notes them as new.
func (l *lab) append(events ...event.Event) {
	l.Helper()
	a, err := l.db.Append(l.Context(), events)
	if err != nil {
		l.Fatal(err)
	}
	if a.Rows != len(events) {
		l.Fatalf("stored %d of %d events", a.Rows, len(events))
	}
	if l.next.Rows == 0 {
		l.next.FirstTS = a.FirstTS
	}
	l.next.FirstTS = min(l.next.FirstTS, a.FirstTS)
	l.next.LastSeq, l.next.Rows = a.LastSeq, l.next.Rows+a.Rows
}

// news is the range of what was appended since the last call. It is final, so
// that nothing is put off.
func (l *lab) news() detect.Range {
	r := detect.Range{FromSeq: l.from, ToSeq: l.next.LastSeq, FromTS: l.next.FirstTS, Final: true}
	l.from, l.next = l.next.LastSeq, store.Appended{}
	return r
}

// evaluate runs the engine over what was appended since the last call.
func (l *lab) evaluate(e *detect.Engine) detect.Result {
	l.Helper()
	res, err := e.Evaluate(l.Context(), l.news())
	if err != nil {
		l.Fatal(err)
	}
	return res
}

func key(pid uint32) event.ProcessKey {
	return event.ProcessKey{Boot: event.BootID{0xab, 0xcd, 0xef, 1}, PID: pid, Start: uint64(pid)}
}

const known = 1<<26 - 1 ^ (event.KnownSHA256 | event.KnownCode | event.KnownLost | event.KnownInterpreter)

// exec makes an exec of a new process; a second later is the next one.
func (l *lab) exec(parent uint32, exe string, args ...string) event.Event {
	l.pid++
	l.now += second
	text := strings.Join(args, "\x00") + "\x00"
	return event.Event{
		Kind: event.KindExec, Source: event.SourceEBPF, Known: known, Time: l.now, Process: key(l.pid), Parent: key(parent),
		Exec: &event.Exec{
			UID: 1000, GID: 1000, EUID: 1000, EGID: 1000, AUID: 1000, User: "ann", SID: 900, TTY: 136 << 8, Argc: uint32(len(args)),
			Exe: exe, Invoked: exe, Cwd: "/home/ann", Comm: exe[strings.LastIndexByte(exe, '/')+1:], Cgroup: "/user.slice",
			Args: text, ArgsLen: uint64(len(text)), Dev: 2050, Inode: 7, Nlink: 1,
		},
	}
}
