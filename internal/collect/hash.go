package collect

import (
	"context"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

// HashOptions say how the executables of execs are hashed. The zero value is
// not at all.
type HashOptions struct {
	Rate     int64  // bytes read a second, on average; 0 = nothing is hashed
	MaxBytes int64  // larger files are not hashed; 0 = 512 MiB
	Queue    int    // execs that wait for a hash; 0 = 16,384
	Cache    int    // contents that are remembered; 0 = 8,192
	Proc     string // where the proc file system is mounted; "" = /proc
}

func (o *HashOptions) fillDefaults() {
	if o.MaxBytes == 0 {
		o.MaxBytes = 512 << 20
	}
	if o.Queue == 0 {
		o.Queue = 16_384
	}
	if o.Cache == 0 {
		o.Cache = 8192
	}
	if o.Proc == "" {
		o.Proc = "/proc"
	}
}

// HashSkip is why an exec has no hash.
type HashSkip uint8

// The reasons.
const (
	HashQueueFull  HashSkip = iota // more execs wait than may
	HashGone                       // process and file were gone before their turn came
	HashUnreadable                 // the file may not be read, or not on this platform
	HashTooLarge                   // see HashOptions.MaxBytes
	HashChanged                    // what is there now is not known to be what was executed
	NumHashSkips
)

var hashSkipNames = [NumHashSkips]string{"queue_full", "gone", "unreadable", "too_large", "changed"}

func (s HashSkip) String() string { return hashSkipNames[s] }

// HashStats is what was hashed. Counters only grow.
type HashStats struct {
	Files   uint64 // read
	Bytes   uint64
	Hits    uint64 // execs whose hash was remembered, from this file or from the one before
	Skipped [NumHashSkips]uint64
	Waiting int
}

// fileID tells one content of a file from every other, as far as a file system
// does: a change sets ctime, which nobody can set back. Not all do: see untraced.
type fileID struct {
	dev, inode, size uint64
	mtime, ctime     int64
}

func fileIDOf(x *event.Exec) fileID { return fileID{x.Dev, x.Inode, x.Size, x.MTime, x.CTime} }

// waiting is an exec whose executable is to be hashed.
type waiting struct {
	process, parent event.ProcessKey
	source          event.Source
	time            int64  // of the exec event
	exe             string // "" where it is not known
	file            fileID
	times           bool   // file is known whole, not only dev and inode
	n               uint64 // its place in the order of asking, from 1 on
}

// hasher adds the hash of the executable to exec events. What it remembers it
// adds at once; other files are read by one goroutine, which tells the hash in an
// event of its own later. It never waits.
type hasher struct {
	o     HashOptions
	cache sumCache

	// What was executed is in greater danger of being gone soon than what was
	// found running, and goes first. Each has a capacity of Queue.
	execs, found chan *waiting
	results      chan event.Event // capacity resultsMax; beyond it the worker waits
	asked        atomic.Uint64    // how many have waited so far; add alone counts it up

	files, bytes, hits atomic.Uint64
	skipped            [NumHashSkips]atomic.Uint64
}

const resultsMax = 64

func newHasher(o HashOptions) *hasher {
	o.fillDefaults()
	return &hasher{
		o: o, cache: sumCache{max: o.Cache},
		execs: make(chan *waiting, o.Queue), found: make(chan *waiting, o.Queue), results: make(chan event.Event, resultsMax),
	}
}

// add adds the hash to the exec events among batch that it is remembered for, and
// has the others hashed. They must not have been handed on yet. A nil hasher does
// nothing.
func (h *hasher) add(batch []event.Event) {
	if h == nil {
		return
	}
	for i := range batch {
		if batch[i].Kind == event.KindExec {
			h.addTo(&batch[i])
		}
	}
}

// copies marks what add has added to the execs that events in batch are copies of.
func (h *hasher) copies(batch []event.Event) {
	for i := range batch {
		if e := &batch[i]; h != nil && e.Kind == event.KindExec && e.Exec.SHA256 != "" {
			e.Known |= event.KnownSHA256
		}
	}
}

func (h *hasher) addTo(e *event.Event) {
	x := e.Exec
	if !e.Known.Has(event.KnownFile) || x.Inode == 0 || x.SHA256 != "" {
		return
	}
	n, room := h.asked.Load()+1, h.o.Queue
	times := e.Known.Has(event.KnownFileTimes)
	if times {
		if x.Size > uint64(h.o.MaxBytes) {
			h.skipped[HashTooLarge].Add(1)
			return
		}
		sum, ok := h.cache.get(fileIDOf(x), n)
		if ok {
			h.hits.Add(1)
			x.SHA256 = sum
			e.Known |= event.KnownSHA256
			return
		}
		if sum != "" {
			room = (room + 1) / 2 // what is read each time must not keep out what never was
		}
	}
	queue := h.execs
	if e.Source == event.SourceSnapshot {
		queue = h.found
	}
	if len(queue) >= room { // this goroutine alone sends
		h.skipped[HashQueueFull].Add(1)
		return
	}
	h.asked.Store(n)
	w := &waiting{process: e.Process, parent: e.Parent, source: e.Source, time: e.Time, file: fileIDOf(x), times: times, n: n}
	if e.Known.Has(event.KnownExe) {
		w.exe = strings.Clone(x.Exe) // it shares the memory of a whole batch
	}
	queue <- w
}

// late is where the hashes come out that were not known at their exec.
func (h *hasher) late() <-chan event.Event {
	if h == nil {
		return nil
	}
	return h.results
}

// take gathers what comes out of late behind first, without waiting.
func (h *hasher) take(first event.Event) []event.Event {
	batch := append(make([]event.Event, 0, resultsMax), first)
	for len(batch) < resultsMax {
		select {
		case e := <-h.results:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

func (h *hasher) stats() (s HashStats) {
	if h == nil {
		return s
	}
	s.Files, s.Bytes, s.Hits = h.files.Load(), h.bytes.Load(), h.hits.Load()
	for i := range s.Skipped {
		s.Skipped[i] = h.skipped[i].Load()
	}
	s.Waiting = len(h.execs) + len(h.found)
	return s
}

// run hashes what waits until ctx ends.
//
// It is a goroutine like the others, and not a thread of low priority: procmond
// works on one processor of Go's, and a thread that has that and is not let run
// by the kernel would hold up the collection. It gives way by its rate, by the
// short pieces that it works in, and by reading an eighth while processes of
// this system wait for a CPU.
func (h *hasher) run(ctx context.Context) {
	reader := newHashReader(h)
	for {
		var w *waiting
		select {
		case w = <-h.execs:
		default:
			select {
			case w = <-h.execs:
			case w = <-h.found:
			case <-ctx.Done():
				return
			}
		}
		got := h.hash(ctx, reader, w)
		if ctx.Err() != nil {
			return
		}
		if got.sum == "" {
			h.skipped[got.skip].Add(1)
			continue
		}
		select {
		case h.results <- w.tell(got):
		case <-ctx.Done():
			return
		}
	}
}

// hashed is what became of a file: its hash, or why it has none.
type hashed struct {
	sum   string // 32 raw bytes, "" = none
	file  fileID
	skip  HashSkip
	again bool // it changed while it was read
}

func (h *hasher) hash(ctx context.Context, r *hashReader, w *waiting) hashed {
	if w.times {
		if sum, ok := h.cache.get(w.file, w.n); ok { // it was read while w waited
			h.hits.Add(1)
			return hashed{sum: sum, file: w.file}
		}
	}
	return r.file(ctx, w)
}

// tell makes the event of a hash.
func (w *waiting) tell(got hashed) event.Event {
	return event.Event{
		Kind: event.KindHash, Source: w.source, Known: event.KnownTime, Time: time.Now().UnixNano(), Process: w.process,
		Hash: &event.Hash{
			ExecTime: w.time, SHA256: got.sum, Exe: w.exe, Dev: w.file.dev, Inode: w.file.inode, Size: got.file.size, MTime: got.file.mtime,
		},
	}
}

// sumCache remembers the hashes of the contents that were used last. Safe for
// concurrent use.
type sumCache struct {
	max int

	mu   sync.Mutex // guards the rest
	m    map[fileID]*sum
	last sum // head of a ring: last.next was used last, last.prev longest ago
}

type sum struct {
	id         fileID
	sha256     string
	until      uint64 // see put
	prev, next *sum
}

// get is the hash of a content, for who asks as the nth (waiting.n). Where it does not
// hold for that one any more, it comes with false.
func (c *sumCache) get(id fileID, n uint64) (sha256 string, holds bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.m[id]
	if s == nil {
		return "", false
	}
	s.unlink()
	c.link(s)
	return s.sha256, n <= s.until
}

// always is until when a hash holds if the content cannot change without a trace.
const always = math.MaxUint64

// put remembers a hash, which holds for those who asked before it was read: until is
// the last of them, or always.
func (c *sumCache) put(id fileID, sha256 string, until uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = make(map[fileID]*sum)
		c.last.prev, c.last.next = &c.last, &c.last
	}
	s := c.m[id]
	switch {
	case s != nil:
		s.unlink()
	case len(c.m) >= c.max:
		s = c.last.prev
		s.unlink()
		delete(c.m, s.id)
	default:
		s = &sum{}
	}
	s.id, s.sha256, s.until = id, sha256, until
	c.m[id] = s
	c.link(s)
}

func (s *sum) unlink() { s.prev.next, s.next.prev = s.next, s.prev }

func (c *sumCache) link(s *sum) {
	s.prev, s.next = &c.last, c.last.next
	s.prev.next, s.next.prev = s, s
}

// limiter holds an average rate by waiting. It belongs to one goroutine.
type limiter struct {
	rate float64 // a second
	left float64 // may be used at once; negative = to be waited for
	at   time.Time
}

// burst is how much may be used at once after a pause, in seconds of the rate.
const burst = 0.25

// take waits until n may be used. The error is ctx's.
func (l *limiter) take(ctx context.Context, n float64) error {
	now := time.Now()
	l.left = min(l.left+now.Sub(l.at).Seconds()*l.rate, burst*l.rate) - n
	l.at = now
	if l.left >= 0 {
		return ctx.Err()
	}
	return pause(ctx, time.Duration(-l.left/l.rate*float64(time.Second)))
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
