package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

// Ladder is a Source that stays up: it reads the best candidate that opens, goes
// on with the next one when that is lost at run time, and tells as a gap what
// may have happened in between. Now and then it tries whether what was lost can
// be had again.
//
// Name, Detail, Refused, Backlog, Held, Remember and Close are safe for concurrent use.
type Ladder struct {
	o          Options
	candidates []Candidate
	events     chan []event.Event // no capacity: what is not taken waits in the source
	stop       chan struct{}
	closing    sync.Once

	mu      sync.Mutex // guards the rest
	now     Source
	rung    int       // of now in candidates
	refused []Refusal // one for each rung above now, and now's while it is lost and nothing took over
	handed  uint64    // batches of now that were handed on, or left out
	since   int64     // Unix ns from which on now tells
	cut     time.Time // until when what it tells of before since was told already; zero = it was not

	err error // owned by run until events is closed
}

// Pauses between attempts to open a source again, and to climb back.
const (
	reopenFirst, reopenMost = time.Second, time.Minute
	climbFirst, climbMost   = time.Minute, time.Hour
)

// cutMost bounds how long a new source's events are compared with the time of the
// change, which a wall clock that is set back makes meaningless.
const cutMost = 10 * time.Second

// Climb opens the first candidate that can be opened, as First does. ctx ends the
// attempts to open another one later; it is Close that ends the ladder.
func Climb(ctx context.Context, o Options, candidates []Candidate) (*Ladder, error) {
	o.FillDefaults()
	s, refused, err := First(ctx, o, candidates)
	if err != nil {
		return nil, err
	}
	l := &Ladder{o: o, candidates: candidates, events: make(chan []event.Event), stop: make(chan struct{})}
	l.stand(s, len(refused), refused)
	go l.run(ctx)
	return l, nil
}

func (l *Ladder) stand(s Source, rung int, refused []Refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now, l.rung, l.refused, l.handed, l.since, l.cut = s, rung, refused, 0, time.Now().UnixNano(), time.Time{}
}

func (l *Ladder) current() (s Source, rung int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now, l.rung
}

// Name is that of the source that is read at the moment.
func (l *Ladder) Name() event.Source {
	s, _ := l.current()
	return s.Name()
}

// Detail is what that source says of how it works, if it does.
func (l *Ladder) Detail() string {
	s, _ := l.current()
	if d, ok := s.(interface{ Detail() string }); ok {
		return d.Detail()
	}
	return ""
}

// Backlog is how many bytes wait in that source's buffer, and its size; 0, 0 for
// one that has none.
func (l *Ladder) Backlog() (waiting, size int) {
	s, _ := l.current()
	if b, ok := s.(interface{ Backlog() (int, int) }); ok {
		return b.Backlog()
	}
	return 0, 0
}

// Held is how many events that source has read and not yet given, with those that it
// has given and nobody has taken from the ladder yet: one for each batch.
func (l *Ladder) Held() int {
	l.mu.Lock()
	s, handed := l.now, l.handed
	l.mu.Unlock()
	n := 0
	if h, ok := s.(interface{ Held() int }); ok {
		n = h.Held()
	}
	if g, ok := s.(interface{ Given() uint64 }); ok {
		n += int(g.Given() - handed) // last: there they go
	}
	return n
}

// passed counts a batch of the current source that was handed on, or left out.
func (l *Ladder) passed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handed++
}

// Remember hands the rows of a snapshot to that source, if it wants them.
func (l *Ladder) Remember(rows []event.Event) {
	s, _ := l.current()
	if r, ok := s.(interface{ Remember([]event.Event) }); ok {
		r.Remember(rows)
	}
}

// Refused tells why the better sources are not read.
func (l *Ladder) Refused() []Refusal {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]Refusal(nil), l.refused...)
}

// Events is as Source says. It is not closed when a source is lost.
func (l *Ladder) Events() <-chan []event.Event { return l.events }

// Err is nil: the ladder ends only by Close.
func (l *Ladder) Err() error { return l.err }

// Close is as Source says.
func (l *Ladder) Close() error {
	var err error
	l.closing.Do(func() {
		close(l.stop)
		s, _ := l.current()
		err = s.Close()
	})
	return err
}

func (l *Ladder) stopping() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

func (l *Ladder) run(ctx context.Context) {
	defer close(l.events)
	var climb *time.Timer // nil: nothing was lost
	pause := climbFirst
	newest := int64(0) // time of the newest event of the current source, Unix ns
	for {
		s, rung := l.current()
		if l.stopping() { // it may have been opened after Close
			_ = s.Close()
		}
		var up <-chan time.Time
		if climb != nil && rung > 0 {
			up = climb.C
		}
		var ended bool
		newest, ended = l.forward(ctx, s, newest, up)
		if !ended { // time to climb
			if l.climb(ctx, s, rung, newest) {
				pause = climbFirst
				newest = 0
			} else {
				pause = min(2*pause, climbMost)
			}
			climb.Reset(pause)
			continue
		}
		if err := s.Err(); err != nil && l.stopping() {
			l.tell(ctx, s.Name(), l.lastGood(s, newest), fmt.Sprintf("%s was lost (%v)", s.Name(), err))
		}
		if l.stopping() || s.Err() == nil {
			return
		}
		if !l.descend(ctx, s, rung, newest) {
			return
		}
		if climb == nil || rung == 0 {
			pause = climbFirst
			climb = time.NewTimer(pause)
		}
	}
}

// forward hands on what s gives, until it ends or up fires. newest is the time of
// the newest event so far, Unix ns.
func (l *Ladder) forward(ctx context.Context, s Source, newest int64, up <-chan time.Time) (int64, bool) {
	blind, tick := time.Now().UnixNano(), time.NewTicker(blindEvery)
	defer tick.Stop()
	if l.noFailures(s) == "" {
		tick.Stop()
	}
	defer func() { l.tellBlind(ctx, s, blind) }()
	for {
		select {
		case batch, ok := <-s.Events():
			if !ok {
				return newest, true
			}
			if batch = l.sinceOpened(batch); len(batch) > 0 {
				newest = max(newest, batch[len(batch)-1].Time)
				l.events <- batch
			}
			l.passed()
		case <-up:
			return newest, false
		case <-tick.C:
			blind = l.tellBlind(ctx, s, blind)
		}
	}
}

// sinceOpened leaves out what another source has told. That ends with the first
// event that is new.
func (l *Ladder) sinceOpened(batch []event.Event) []event.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !time.Now().Before(l.cut) { // by the monotonic clock
		return batch
	}
	batch = slices.DeleteFunc(batch, func(e event.Event) bool { return e.Kind != event.KindGap && e.Time < l.since })
	if slices.ContainsFunc(batch, func(e event.Event) bool { return e.Kind != event.KindGap }) {
		l.cut = time.Time{}
	}
	return batch
}

// lastGood is from when on s may have missed something that it told no gap of, if
// it is lost. newest is the time of its newest event. Unix ns.
func (l *Ladder) lastGood(s Source, newest int64) int64 {
	l.mu.Lock()
	since := l.since
	l.mu.Unlock()
	// An event shows that something still came, not that everything did: a source
	// that knows until when it worked is asked instead.
	if g, ok := s.(interface{ LastGood() int64 }); ok {
		return max(since, g.LastGood())
	}
	return max(since, newest)
}

// descend opens what comes below the lost source, or, when there is nothing, the
// best that opens, waiting for it. False: the ladder was closed.
func (l *Ladder) descend(ctx context.Context, lost Source, rung int, newest int64) bool {
	from := l.lastGood(lost, newest)
	reason := lost.Err()
	l.o.Log.Error("source is lost", "source", lost.Name().String(), "reason", reason)
	l.mu.Lock()
	above := append(l.refused[:rung:rung], Refusal{lost.Name(), fmt.Errorf("lost at run time: %w", reason)})
	l.refused = above
	l.mu.Unlock()
	below := l.candidates[rung+1:]
	for pause := reopenFirst; ; pause = min(2*pause, reopenMost) {
		if s, refused, err := First(ctx, l.o, below); err == nil {
			refused = append(above[:len(above):len(above)], refused...)
			l.stand(s, len(refused), refused)
			l.o.Log.Warn("another source took over", "source", s.Name().String())
			l.tell(ctx, lost.Name(), from, fmt.Sprintf("%s was lost (%v); %s took over", lost.Name(), reason, s.Name()))
			return true
		}
		// The list that each gap asks for is all there is to see meanwhile.
		alone := fmt.Sprintf("%s was lost (%v); no other source opens", lost.Name(), reason)
		from = l.tell(ctx, lost.Name(), from, alone)
		below, above = l.candidates, nil
		select {
		case <-time.After(pause):
		case <-l.stop:
			l.tell(ctx, lost.Name(), from, alone)
			return false
		case <-ctx.Done():
			l.err = errors.Join(reason, ctx.Err())
			return false
		}
	}
}

// climb changes to a better source, if one opens. Both are open for a moment, so
// that nothing is missed; the new list that the gap asks for puts the rest in
// order.
func (l *Ladder) climb(ctx context.Context, old Source, rung int, newest int64) bool {
	s, refused, err := First(ctx, l.o, l.candidates[:rung])
	if err != nil {
		return false
	}
	// What happened until now is the old one's to tell, and the rest the new one's:
	// an exec that both tell would be two, and one that each puts into the other's
	// time is in no more than the gap.
	now := time.Now().UnixNano()
	from := now
	if _, ok := old.(interface{ LastGood() int64 }); ok { // it may be silent
		from = min(now, l.lastGood(old, newest))
	}
	_ = old.Close()
	for batch := range old.Events() {
		if batch = slices.DeleteFunc(batch, func(e event.Event) bool { return e.Kind != event.KindGap && e.Time >= now }); len(batch) > 0 {
			l.events <- batch
			newest = max(newest, batch[len(batch)-1].Time)
		}
		l.passed()
	}
	cause := fmt.Sprintf("%s gave way to %s", old.Name(), s.Name())
	if err := old.Err(); err != nil {
		from = min(from, l.lastGood(old, newest))
		cause = fmt.Sprintf("%s was lost (%v); %s took over", old.Name(), err, s.Name())
	}
	l.stand(s, len(refused), refused)
	l.mu.Lock()
	l.since, l.cut = now, time.Now().Add(cutMost)
	l.mu.Unlock()
	l.o.Log.Info("a better source is back", "source", s.Name().String())
	l.tell(ctx, old.Name(), from, cause)
	return true
}

// tell hands on a gap from a time until now, which it returns; where the clock was set
// back since, it covers what both clocks said. Nobody reads it any more when ctx has ended.
func (l *Ladder) tell(ctx context.Context, of event.Source, from int64, cause string) int64 {
	now := time.Now().UnixNano()
	select {
	case l.events <- []event.Event{{
		Kind: event.KindGap, Source: of, Known: event.KnownTime, Time: min(from, now), Gap: &event.Gap{Until: max(from, now), Cause: cause},
	}}:
	case <-ctx.Done():
	}
	return now
}
