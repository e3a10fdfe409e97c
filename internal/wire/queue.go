package wire

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

// frameTarget is the size that batches are cut into: large enough that frames
// cost nothing, small enough that acknowledgements free memory steadily.
const frameTarget = 64 << 10

// eventMax is the most bytes of one event, so that a frame of any is not larger
// than MaxPayload. The sources keep less of an exec: see TestLargestEventFits.
const eventMax = MaxPayload - frameTarget

// queue holds encoded frames from the moment that they were put until they are
// acknowledged. It is bounded in bytes.
type queue struct {
	codec event.Codec
	max   int

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever anything below changed
	frames  []held        // not acknowledged, oldest first; bounded by max bytes
	bytes   int
	last    uint64 // seq of the newest frame ever put
	client  bool   // somebody is connected who will acknowledge
	list    uint64 // first frame of the list that is being put or was given up, 0 = none
	unsure  bool   // something was dropped, and no complete list was put since

	// What was dropped since the queue was full and nobody was there. uncounted
	// is for dropped gaps that did not know how much they stood for.
	dropped                   [event.NumKinds]uint64
	uncounted                 [event.NumKinds]bool
	droppedFrom, droppedUntil int64 // Unix ns, 0 = nothing was dropped

	total Dropped
}

// Dropped is what did not fit into a queue, or a frame, since its beginning.
type Dropped struct {
	Events [event.NumKinds]uint64 // by kind
	Gaps   uint64                 // that told of them, but of no hash
}

type held struct {
	seq  uint64
	data []byte // a whole encoded frame
}

func newQueue(codec event.Codec, maxBytes int) *queue {
	return &queue{codec: codec, max: maxBytes, changed: make(chan struct{})}
}

func (q *queue) notify() { // with mu held
	close(q.changed)
	q.changed = make(chan struct{})
}

// put appends the events as frames of type t. With a client it waits for room;
// without one it counts what does not fit as dropped and returns at once.
func (q *queue) put(ctx context.Context, t Type, batch []event.Event) (dropped bool, err error) {
	var buf []byte
	for len(batch) > 0 {
		buf = buf[:0]
		n := 0
		for n < len(batch) && len(buf) < frameTarget {
			size := len(buf)
			if buf = q.codec.Append(buf, &batch[n]); len(buf)-size > eventMax {
				batch = slices.Clone(batch)
				batch[n] = q.tooLarge(t, &batch[n])
				buf = q.codec.Append(buf[:size], &batch[n])
			}
			n++
		}
		if dropped, err := q.putFrame(ctx, t, buf, batch[:n]); err != nil || dropped && t == TypeSync {
			return dropped, err // half a list is none
		}
		batch = batch[n:]
	}
	return false, nil
}

// tooLarge is what is put in the place of an event that no client would take: of a
// snapshot's row that the process lives, else that the event is lost.
func (q *queue) tooLarge(t Type, e *event.Event) event.Event {
	if t == TypeSync || e.Source == event.SourceSnapshot {
		row := *e
		row.Known, row.Exec = e.Known&(event.KnownStart|event.KnownParent), &event.Exec{}
		return row
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unsure = true
	q.total.Events[e.Kind]++
	q.total.Gaps++
	return event.Event{
		Kind: event.KindGap, Source: event.SourceAgent, Known: event.KnownTime | event.KnownLost, Time: e.Time,
		Gap: &event.Gap{Until: e.Time, Of: e.Kind, Lost: 1, Cause: "the event was larger than a frame"},
	}
}

func (q *queue) putFrame(ctx context.Context, t Type, payload []byte, batch []event.Event) (dropped bool, err error) {
	q.mu.Lock()
	for q.bytes+len(payload) > q.max && len(q.frames) > 0 {
		if q.client && q.list != 0 && q.frames[0].seq >= q.list {
			// The frames of a list are acknowledged with its end, or with what
			// interrupts it: a list that is larger than the queue would wait for
			// itself. It is in memory anyway, and there is never more than this one.
			break
		}
		if !q.client {
			q.drop(t, batch)
			q.mu.Unlock()
			return true, nil
		}
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		q.mu.Lock()
	}
	q.tellDropped()
	q.push(t, payload)
	q.mu.Unlock()
	return false, nil
}

func (q *queue) push(t Type, payload []byte) { // with mu held
	q.last++
	data := appendFrame(make([]byte, 0, headerSize+len(payload)), Frame{Type: t, Seq: q.last, Payload: payload})
	switch {
	case t != TypeSync:
		q.list = 0
	case q.list == 0:
		q.list = q.last
	}
	if t == TypeSyncEnd {
		q.unsure = false
	}
	q.frames = append(q.frames, held{q.last, data})
	q.bytes += len(data)
	q.notify()
}

// drop counts what is not put. The rows of a sync are no events, nor is what a
// snapshot found out, but the client that comes must know that it needs another.
// A hash is none either: without it nothing is missing but that the exec has none,
// so it is counted and no gap tells of it. With mu held.
func (q *queue) drop(t Type, batch []event.Event) {
	if t == TypeBatch {
		batch = slices.DeleteFunc(slices.Clone(batch), func(e event.Event) bool {
			switch {
			case e.Kind == event.KindHash:
				q.total.Events[event.KindHash]++
			case e.Source == event.SourceSnapshot:
				q.unsure = true
			default:
				return false
			}
			return true
		})
		if len(batch) == 0 {
			return
		}
	}
	q.unsure = true
	q.droppedAt(time.Now().UnixNano())
	if t == TypeSync {
		return
	}
	for i := range batch {
		e := &batch[i]
		if e.Time > 0 { // it happened before it came here
			q.droppedAt(e.Time)
		}
		if e.Kind == event.KindGap && e.Gap.Until > 0 {
			q.droppedAt(e.Gap.Until)
		}
		switch {
		case e.Kind != event.KindGap:
			q.dropped[e.Kind]++
			q.total.Events[e.Kind]++
		case e.Known.Has(event.KnownLost):
			q.dropped[e.Gap.Of] += e.Gap.Lost
		default:
			q.uncounted[e.Gap.Of] = true
		}
	}
}

// droppedAt widens the time of what was dropped, which is not in order: the clock may
// be set back at any moment. With mu held.
func (q *queue) droppedAt(ns int64) {
	if q.droppedFrom == 0 {
		q.droppedFrom, q.droppedUntil = ns, ns
	}
	q.droppedFrom, q.droppedUntil = min(q.droppedFrom, ns), max(q.droppedUntil, ns)
}

// tellDropped puts a gap for each kind that was dropped, and one more where part
// of it could not be counted. The few bytes may exceed the bound. With mu held.
func (q *queue) tellDropped() {
	if q.droppedFrom == 0 {
		return
	}
	q.droppedAt(time.Now().UnixNano())
	from, until := q.droppedFrom, q.droppedUntil
	var gaps []event.Event
	tell := func(k int, known event.Known, n uint64) {
		gaps = append(gaps, event.Event{
			Kind: event.KindGap, Source: event.SourceAgent, Known: event.KnownTime | known, Time: from,
			Gap: &event.Gap{Until: until, Of: event.Kind(k), Lost: n, Cause: "sentineld was away and procmond's queue full"},
		})
	}
	for k, n := range q.dropped {
		if n > 0 {
			tell(k, event.KnownLost, n)
		}
		if q.uncounted[k] {
			tell(k, 0, 0)
		}
	}
	q.dropped, q.uncounted, q.droppedFrom, q.droppedUntil = [event.NumKinds]uint64{}, [event.NumKinds]bool{}, 0, 0
	q.total.Gaps += uint64(len(gaps))
	q.push(TypeBatch, appendEvents(nil, q.codec, gaps))
}

func (q *queue) totals() Dropped {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total
}

// ack frees all frames up to seq.
func (q *queue) ack(seq uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free(seq)
}

func (q *queue) free(seq uint64) { // with mu held
	n := 0
	for n < len(q.frames) && q.frames[n].seq <= seq {
		q.bytes -= len(q.frames[n].data)
		q.frames[n].data = nil
		n++
	}
	if n > 0 {
		q.frames = q.frames[n:]
		if len(q.frames) == 0 {
			q.frames = nil // lets go of the array
		}
		q.notify()
	}
}

// next returns the first frame behind seq, waiting for it.
func (q *queue) next(ctx context.Context, seq uint64) (held, error) {
	q.mu.Lock()
	for {
		if seq < q.last {
			// Frames are consecutive, so the position follows from the number.
			i := max(0, len(q.frames)-int(q.last-seq))
			if i < len(q.frames) {
				f := q.frames[i]
				q.mu.Unlock()
				return f, nil
			}
		}
		changed := q.changed
		q.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return held{}, ctx.Err()
		}
		q.mu.Lock()
	}
}

// attach tells that a client is there which has stored everything up to seq of
// this queue (0 = nothing). told: what follows is held, but for what did not fit
// and is told as gaps; resumed: all of it is.
func (q *queue) attach(seq uint64) (resumed, told bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if seq > q.last {
		return false, false, fmt.Errorf("%w: hello behind frame %d of %d", ErrFrame, seq, q.last)
	}
	q.free(seq)
	q.client = true
	first := q.last + 1
	if len(q.frames) > 0 {
		first = q.frames[0].seq
	}
	q.notify()
	told = seq+1 == first
	return told && !q.unsure, told, nil
}

func (q *queue) detach() {
	q.mu.Lock()
	q.client = false
	q.notify()
	q.mu.Unlock()
}

// drained reports whether nothing is waiting for an acknowledgement.
func (q *queue) drained() (bool, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.frames) == 0, q.changed
}

func (q *queue) size() (frames, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.frames), q.bytes
}
