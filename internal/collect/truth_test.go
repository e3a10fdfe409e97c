package collect

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
)

// action is one thing that happens in the world of TestAgainstTruth.
type action struct {
	Kind   event.Kind
	Pick   int           // which process does it
	Wait   time.Duration // before it
	Lost   bool          // the source does not see it, and says so in a gap
	Twice  bool          // the source tells it twice, the second time in a batch of its own
	Flush  bool          // the source delivers what it has
	Linger time.Duration // how long /proc goes on to show one that has exited
	Stall  time.Duration // from here on the source delivers nothing for so long
	Resync bool          // somebody asks for a list
	Title  bool          // in place of Kind it rewrites its arguments, of which nobody is told
	Again  bool          // an exec of what it runs
}

type truthPlan struct {
	Before  []time.Duration // processes that are there before anybody looks; how long those linger that have exited, else 0
	Actions []action
	Held    int             // Options.HeldEvents
	Stalls  bool            // the source has stalls, and says how much waits in it
	Layouts bool            // they are shown: else there are no new titles, and no execs of the same
	Read    []time.Duration // how long the snapshot takes for each half of a row, in turn
}

func drawTruth(t *rapid.T, losses bool) truthPlan {
	wait := rapid.Map(rapid.IntRange(0, 20), func(n int) time.Duration { return time.Duration(n) * time.Millisecond })
	chance := func(t *rapid.T, label string, one, in int) bool { return rapid.IntRange(1, in).Draw(t, label) <= one }
	linger := rapid.Map(rapid.IntRange(-60, 20), func(n int) time.Duration { return time.Duration(max(n, 0)) * 50 * time.Millisecond })
	stalls, layouts := rapid.Bool().Draw(t, "stalls"), rapid.Bool().Draw(t, "layouts")
	return truthPlan{
		Stalls: stalls, Layouts: layouts, Held: rapid.OneOf(rapid.Just(0), rapid.IntRange(1, 20)).Draw(t, "held"),
		Before: rapid.SliceOfN(linger, 0, 5).Draw(t, "before"),
		Actions: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) action {
			var stall time.Duration
			if stalls && chance(t, "stall", 1, 12) {
				stall = 10 * wait.Draw(t, "stall for")
			}
			return action{
				Stall: stall, Linger: linger.Draw(t, "linger"),
				Kind: rapid.SampledFrom([]event.Kind{event.KindFork, event.KindFork, event.KindExec, event.KindExit}).Draw(t, "kind"),
				Pick: rapid.IntRange(0, 100).Draw(t, "pick"), Wait: wait.Draw(t, "wait"),
				Lost: losses && chance(t, "lost", 1, 4), Twice: chance(t, "twice", 1, 6),
				Flush: chance(t, "flush", 1, 3), Resync: chance(t, "resync", 1, 12),
				Title: layouts && chance(t, "title", 1, 6), Again: layouts && chance(t, "again", 1, 3),
			}
		}), 0, 60).Draw(t, "actions"),
		Read: rapid.SliceOfN(wait, 1, 5).Draw(t, "read"),
	}
}

// life is a process of the world.
type life struct {
	key, parent event.ProcessKey
	image       string    // the executable, and its arguments
	args        string    // as it shows them
	titles      *[]string // all that it and those it shares the image with ever showed
	layout      uint64
	alive       bool
	born, died  moment
	shown       time.Time // it is, until then

	// What the source told of it.
	forkTold, exitTold bool
	execsTold          []moment // their numbers are their inodes, too
	forkLost, exitLost bool
	execLost           bool
}

// moment is when a thing happened: which one it was, and at what time. The source
// tells them in this order. Zero: it did not, or before anybody looked.
type moment struct {
	n  uint64
	at int64 // Unix ns
}

// world is the truth, and the kernel's end of the source. Its pids are few, so
// that they are used again soon.
type world struct {
	mu      sync.Mutex // guards the rest
	lives   map[event.ProcessKey]*life
	tick    uint64
	pending []event.Event // not delivered yet
	again   []event.Event // to be told a second time in the next batch
	oldest  time.Time     // of pending
	stalled time.Time     // until then nothing is delivered
	n       uint64        // things that happened
	lost    [event.NumKinds]uint64
	events  chan []event.Event
	read    []time.Duration
	reads   int
	layouts uint64 // given out, 0 = they are hidden
}

var initKey = key(1, 1)

func newWorld(p truthPlan) *world {
	w := &world{lives: map[event.ProcessKey]*life{}, tick: 1, events: make(chan []event.Event, 1000), read: p.Read}
	if p.Layouts {
		w.layouts = event.LayoutRandom
	}
	w.lives[initKey] = &life{key: initKey, alive: true}
	w.exec(w.lives[initKey], "init")
	for _, linger := range p.Before {
		l := w.fork(initKey)
		w.exec(l, fmt.Sprint("before", w.tick))
		if linger > 0 {
			w.n++
			l.exitLost = true // and no gap tells it
			w.die(l, linger)
		}
	}
	return w
}

// exec places a program where none has been.
func (w *world) exec(l *life, image string) {
	if w.layouts != 0 {
		w.layouts += 2
	}
	l.image, l.args, l.layout = image, image+"\x00", w.layouts
	l.titles = &[]string{l.args}
}

func (w *world) die(l *life, linger time.Duration) {
	l.alive, l.died, l.shown = false, moment{w.n, time.Now().UnixNano()}, time.Now().Add(linger)
}

// alive lists the living, oldest first.
func (w *world) alive() []*life {
	return slices.DeleteFunc(w.visible(), func(l *life) bool { return !l.alive })
}

func (l *life) visible() bool { return l.alive || time.Now().Before(l.shown) }

// visible lists what /proc shows.
func (w *world) visible() []*life {
	list := slices.Collect(maps.Values(w.lives))
	list = slices.DeleteFunc(list, func(l *life) bool { return !l.visible() })
	slices.SortFunc(list, func(a, b *life) int { return int(a.key.Start) - int(b.key.Start) })
	return list
}

// fork starts a process under the lowest free pid, if there is one.
func (w *world) fork(parent event.ProcessKey) *life {
	used := map[uint32]bool{}
	for _, l := range w.visible() {
		used[l.key.PID] = true
	}
	for pid := uint32(2); pid < 9; pid++ {
		if !used[pid] {
			w.tick++
			l := &life{key: key(pid, w.tick), parent: parent, alive: true}
			maker := w.lives[parent]
			l.image, l.args, l.titles, l.layout = maker.image, maker.args, maker.titles, maker.layout
			w.lives[l.key] = l
			return l
		}
	}
	return nil
}

// act lets a thing happen, and the source see it or not.
func (w *world) act(a action) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.alive()
	l := list[a.Pick%len(list)]
	var e event.Event
	w.n++
	now := moment{w.n, time.Now().UnixNano()}
	if a.Title {
		l.args = fmt.Sprint("title", w.n)
		*l.titles = append(*l.titles, l.args)
		return
	}
	switch a.Kind {
	case event.KindFork:
		child := w.fork(l.key)
		if child == nil {
			return
		}
		e = fork(child.key, l.key)
		child.forkTold, child.forkLost, child.born = !a.Lost, a.Lost, now
	case event.KindExec:
		w.tick++
		image := l.image
		if !a.Again {
			image = fmt.Sprint("image", w.tick)
		}
		w.exec(l, image)
		e = exec(l.key, l.image)
		e.Exec.Inode, e.Exec.Layout = now.n, l.layout
		if a.Lost {
			l.execLost = true
		} else {
			l.execsTold = append(l.execsTold, now)
		}
		a.Twice = false // a second exec is a second exec
	case event.KindExit:
		if l.key == initKey {
			return
		}
		w.die(l, a.Linger)
		e = exit(l.key)
		l.exitTold, l.exitLost = !a.Lost, a.Lost
	}
	// StartNS is not known, and so nobody's but the reader's.
	if e.Time, e.StartNS = now.at, now.n; len(w.pending) == 0 {
		w.oldest = time.Now()
	}
	if a.Lost {
		w.lost[e.Kind]++
		return
	}
	w.pending = append(w.pending, e)
	if a.Twice {
		w.again = append(w.again, e)
	}
}

// backlog is how much is not delivered.
func (w *world) backlog() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.pending)
}

func (w *world) stall(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stalled = time.Now().Add(d)
}

const worldFlush = 50 * time.Millisecond // twice that fits into the collector's Quiet

// flush delivers what is pending, when it is time or at once.
func (w *world) flush(now bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !now && (len(w.pending) == 0 || time.Since(w.oldest) < worldFlush-20*time.Millisecond) || time.Now().Before(w.stalled) {
		return
	}
	for k, n := range w.lost {
		if n > 0 {
			g := gap(event.Kind(k), n)
			g.Time = time.Now().UnixNano()
			w.pending = append(w.pending, g)
		}
	}
	w.lost = [event.NumKinds]uint64{}
	w.events <- w.pending // an empty batch is no news, but not forbidden
	w.pending, w.again, w.oldest = w.again, nil, time.Now()
}

func (w *world) pause() {
	w.reads++
	time.Sleep(w.read[w.reads%len(w.read)] + time.Microsecond) // never at the time of an action
}

// snapshot reads all processes.
func (w *world) snapshot(context.Context) ([]event.Event, error) {
	w.mu.Lock()
	list := w.visible()
	w.mu.Unlock()
	rows, exiting := w.readAll(list)
	if exiting {
		return rows, ErrExiting
	}
	return rows, nil
}

// lookup reads some.
func (w *world) lookup(_ context.Context, pids []uint32) ([]event.Event, error) {
	w.mu.Lock()
	list := slices.DeleteFunc(w.visible(), func(l *life) bool { return !slices.Contains(pids, l.key.PID) })
	w.mu.Unlock()
	rows, _ := w.readAll(list)
	return rows, nil
}

// readAll reads one process after the other while the world goes on. The two
// parts of an image are read at different times, as from /proc, and again where a
// layout tells that there was an exec in between. exiting: a row is of one that has
// exited.
func (w *world) readAll(list []*life) (rows []event.Event, exiting bool) {
	for i := 0; i < len(list); i++ {
		l := list[i]
		w.pause()
		w.mu.Lock()
		alive, exe := l.visible(), l.image
		r := row(l.key, l.parent, exe)
		r.Time, r.Exec.Layout = time.Now().UnixNano(), l.layout
		w.mu.Unlock()
		if !alive {
			continue
		}
		w.pause()
		w.mu.Lock()
		torn := l.layout != r.Exec.Layout
		alive, r.Exec.Args = l.visible(), l.args
		exiting = exiting || alive && !l.alive
		w.mu.Unlock()
		if torn {
			i--
			continue
		}
		if alive {
			rows = append(rows, r)
		}
	}
	return rows, exiting
}

// reader follows the stream as whoever gets it does.
type reader struct {
	alive map[event.ProcessKey]bool
	image map[event.ProcessKey]string // exe and args; "" = not told
	place map[event.ProcessKey]uint64 // its layout
	at    int                         // events of the stream that were read
	n     uint64                      // number of the newest of them
	early []event.Event               // the gaps among them that say that a list overtook events
	doubt []doubt
	fault error
}

// doubt is a fault of a list, which is none if the next event of the stream says
// that the list overtook events.
type doubt struct {
	next int
	text string
}

func newReader() *reader {
	return &reader{alive: map[event.ProcessKey]bool{}, image: map[event.ProcessKey]string{}, place: map[event.ProcessKey]uint64{}}
}

// excused reports whether a thing may be left out.
func (r *reader) excused(m moment) bool {
	return slices.ContainsFunc(r.early, func(e event.Event) bool { return e.Time <= m.at && m.at <= e.Gap.Until })
}

func (r *reader) fail(format string, args ...any) {
	if r.fault == nil {
		r.fault = fmt.Errorf(format, args...)
	}
}

// follow reads the stream on from where it was left.
func (r *reader) follow(stream []event.Event) {
	for ; r.at < len(stream); r.at++ {
		e := stream[r.at]
		r.n = max(r.n, e.StartNS)
		if e.Kind == event.KindGap && e.Source == event.SourceAgent {
			r.early = append(r.early, e)
		}
		was, known := r.alive[e.Process]
		if known && !was {
			r.fail("%s of %s behind its exit", e.Kind, e.Process)
		}
		for k, alive := range r.alive {
			if alive && k.PID == e.Process.PID && k != e.Process && !r.excused(moment{at: e.Time}) {
				r.fail("%s of %s while %s has its pid", e.Kind, e.Process, k)
			}
		}
		switch e.Kind {
		case event.KindFork:
			if known {
				r.fail("fork of %s, which is known", e.Process)
			}
			r.alive[e.Process], r.image[e.Process] = true, r.image[e.Parent]
			r.place[e.Process] = r.place[e.Parent]
		case event.KindExec:
			r.alive[e.Process] = true
			if e.Known.Has(event.KnownExe | event.KnownArgs) {
				r.image[e.Process] = e.Exec.Exe + "|" + e.Exec.Args
				r.place[e.Process] = e.Exec.Layout
			}
		case event.KindExit:
			r.alive[e.Process] = false
		}
	}
}

func (r *reader) living() map[event.ProcessKey]bool {
	m := map[event.ProcessKey]bool{}
	for k, alive := range r.alive {
		if alive {
			m[k] = true
		}
	}
	return m
}

func texts(m map[event.ProcessKey]bool) string {
	var s []string
	for k := range m {
		s = append(s, k.String())
	}
	slices.Sort(s)
	return strings.Join(s, " ")
}

// Whatever happens while the snapshot is read, and whatever the source loses, in
// the end the stream, the lists and the table all say what is true.
func TestAgainstTruth(t *testing.T) {
	for _, losses := range []bool{false, true} {
		t.Run(fmt.Sprintf("losses=%v", losses), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				p := drawTruth(rt, losses)
				var failure error
				synctest.Test(t, func(t *testing.T) { failure = runTruth(t.Context(), p, losses) })
				if failure != nil {
					rt.Fatal(failure)
				}
			})
		})
	}
}

func runTruth(ctx context.Context, p truthPlan, losses bool) error {
	w := newWorld(p)
	var src source.Source = &channel{events: w.events}
	if p.Stalls {
		src = &buffered{channel: channel{events: w.events}, backlog: w.backlog}
	}
	r := newReader()
	sink := &record{}
	sink.onSync = func(live, news []event.Event) { // with sink.mu held
		r.follow(sink.stream[:len(sink.stream)-len(news)])
		list := map[event.ProcessKey]bool{}
		for _, e := range live {
			if list[e.Process] {
				r.fail("%s is in a list twice", e.Process)
			}
			list[e.Process] = true
		}
		w.compare(r, list, len(sink.stream))
		r.follow(sink.stream)
		if got, want := texts(list), texts(r.living()); got != want {
			r.fail("a list has %s, the stream up to it %s", got, want)
		}
	}
	c := New(Options{Snapshot: w.snapshot, Lookup: w.lookup, Quiet: 3 * worldFlush, HeldEvents: p.Held})
	ran := make(chan error, 1)
	go func() { ran <- c.Run(ctx, src, sink) }()

	for _, a := range p.Actions {
		time.Sleep(a.Wait)
		if a.Stall > 0 {
			w.stall(a.Stall)
		}
		w.act(a)
		w.flush(a.Flush)
		if a.Resync {
			c.NeedSync()
		}
	}
	w.stall(0)
	for range 2 { // the second time for what is told twice
		w.flush(true)
	}
	time.Sleep(time.Minute)
	read := func() {
		sink.mu.Lock()
		defer sink.mu.Unlock()
		r.follow(sink.stream)
	}
	read()
	w.check(r, losses || len(r.early) > 0, false)
	c.NeedSync() // of a world at rest: now everything must be known
	time.Sleep(time.Minute)
	read()
	w.check(r, losses, true)
	if s := c.Stats(); s.Live != len(w.alive()) {
		r.fail("Stats().Live = %d, want %d", s.Live, len(w.alive()))
	}
	src.Close()
	if err := <-ran; err != nil {
		return err
	}
	w.checkOnce(r, sink.stream, losses || len(r.early) > 0)
	for _, d := range r.doubt {
		if d.next == len(sink.stream) || sink.stream[d.next].Kind != event.KindGap || sink.stream[d.next].Source != event.SourceAgent {
			r.fail("%s", d.text)
		}
	}
	if p.Held == 0 && len(r.early) > 0 {
		r.fail("a list overtook events, though all could be held: %+v", r.early)
	}
	inTable := map[event.ProcessKey]bool{}
	for k, q := range c.table.procs {
		if !q.ended {
			inTable[k] = true
		}
	}
	if got, want := texts(inTable), texts(w.living()); got != want {
		r.fail("the table has %s, the truth is %s", got, want)
	}
	return r.fault
}

func (w *world) living() map[event.ProcessKey]bool {
	m := map[event.ProcessKey]bool{}
	for _, l := range w.alive() {
		m[l.key] = true
	}
	return m
}

// compare compares a list with who lives at that point of the stream up to which r
// has read: whoever was born up to it, and did not die up to it. Of a process whose
// birth or death was lost, the point is not known. next is where the stream goes on.
func (w *world) compare(r *reader, list map[event.ProcessKey]bool, next int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k, l := range w.lives {
		alive, known := r.alive[k] // as told by a list: what the source told of it was left out
		born := l.born.n <= r.n || known
		died := l.died.n != 0 && l.died.n <= r.n || known && !alive
		switch {
		case l.forkLost && (!born || l.died.n != 0), l.exitLost && l.died.n != 0 && born:
		case list[k] != (born && !died):
			r.doubt = append(r.doubt, doubt{next, fmt.Sprintf("in a list is %s: %v; it is born: %v, dead: %v", k, list[k], born, died)})
		}
	}
}

// check compares what a reader of the stream believes with the truth. Where an
// exec was lost images may be wrong, until a snapshot of a world at rest tells
// all of them.
func (w *world) check(r *reader, losses, atRest bool) {
	if got, want := texts(r.living()), texts(w.living()); got != want {
		r.fail("the stream has %s, the truth is %s", got, want)
	}
	for _, l := range w.alive() {
		exe, args, _ := strings.Cut(r.image[l.key], "|")
		told := exe == l.image && slices.Contains(*l.titles, args) && r.place[l.key] == l.layout
		if !told && (atRest || !losses) {
			r.fail("the image of %s is told as %q at %x, the truth is %+v", l.key, r.image[l.key], r.place[l.key], l)
		}
	}
}

// checkOnce compares the stream with what the source told: each thing once.
func (w *world) checkOnce(r *reader, stream []event.Event, losses bool) {
	forks, exits, presumed := map[event.ProcessKey]int{}, map[event.ProcessKey]int{}, map[event.ProcessKey]int{}
	execs := map[uint64]int{}
	found := map[event.ProcessKey]int{}
	for _, e := range stream {
		switch {
		case e.Kind == event.KindFork:
			forks[e.Process]++
		case e.Kind == event.KindExec && e.Source == event.SourceSnapshot:
			found[e.Process]++
		case e.Kind == event.KindExec:
			execs[e.Exec.Inode]++
		case e.Kind == event.KindExit && e.Exit.Presumed:
			presumed[e.Process]++
		case e.Kind == event.KindExit:
			exits[e.Process]++
		}
	}
	for k, l := range w.lives {
		want := map[bool]int{true: 1}
		if forks[k] != want[l.forkTold] && (forks[k] != 0 || !r.excused(l.born)) {
			r.fail("%d forks of %s are told, the source told %v", forks[k], k, l.forkTold)
		}
		if exits[k] != want[l.exitTold] && (exits[k] != 0 || presumed[k] != 1 || !r.excused(l.died)) {
			r.fail("%d exits of %s are told, the source told %v", exits[k], k, l.exitTold)
		}
		if presumed[k] > want[l.exitLost || exits[k] == 0 && r.excused(l.died)] {
			r.fail("%d exits of %s are presumed, lost was %v", presumed[k], k, l.exitLost)
		}
		for _, m := range l.execsTold {
			if execs[m.n] != 1 && (execs[m.n] != 0 || !r.excused(m)) {
				r.fail("exec %d of %s is told %d times", m.n, k, execs[m.n])
			}
		}
		if !losses && found[k] > 1 {
			r.fail("%s is told as found running %d times", k, found[k])
		}
	}
}
