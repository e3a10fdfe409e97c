package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/health"
)

// disk is a store that fails when it is told to, and writes down what happens.
type disk struct {
	mu    sync.Mutex // guards the rest
	log   []string
	fails []error // of the next calls; nil = none
	hang  bool    // calls wait for the end of ctx
}

func (d *disk) call(ctx context.Context, format string, args ...any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	var err error
	if len(d.fails) > 0 {
		err, d.fails = d.fails[0], d.fails[1:]
	}
	if err != nil {
		d.log = append(d.log, "failed")
		return err
	}
	d.log = append(d.log, fmt.Sprintf(format, args...))
	return nil
}

func (d *disk) Append(ctx context.Context, batch []event.Event, session string, seq uint64) error {
	var n []string
	for _, e := range batch {
		n = append(n, fmt.Sprint(e.StartNS))
	}
	return d.call(ctx, "append %s at %s/%d", strings.Join(n, ","), session, seq)
}

func (d *disk) Reconcile(ctx context.Context, live []event.Event, now int64) error {
	return d.call(ctx, "reconcile %d at %d", len(live), now)
}

func (d *disk) note(text string) func() {
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.log = append(d.log, text)
	}
}

// took returns what happened since it was last asked.
func (d *disk) took() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.log
	d.log = nil
	return l
}

func (d *disk) want(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, d.took()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func (d *disk) failNext(errs ...error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails = errs
}

// events are forks numbered from first to last.
func events(first, last uint64) []event.Event {
	var list []event.Event
	for n := first; n <= last; n++ {
		list = append(list, event.Event{Kind: event.KindFork, Time: time.Now().UnixNano(), StartNS: n})
	}
	return list
}

// running is a pipeline in a bubble.
type running struct {
	*Pipeline
	disk *disk
	in   chan Item
	end  chan error
}

func run(ctx context.Context, o Options) *running {
	r := &running{disk: &disk{}, in: make(chan Item), end: make(chan error, 1)}
	r.Pipeline = New(r.disk, o)
	go func() { r.end <- r.Run(ctx, r.in) }()
	return r
}

// item is a piece of the stream of session "s" that notes its acknowledgement.
func (r *running) item(seq uint64, list []event.Event) Item {
	return Item{Events: list, Session: "s", Seq: seq, Ack: r.disk.note(fmt.Sprint("ack ", seq))}
}

func TestBatchByDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), Options{})
		r.in <- r.item(1, events(1, 2))
		time.Sleep(200 * time.Millisecond)
		r.in <- r.item(2, events(3, 3))
		time.Sleep(49 * time.Millisecond)
		r.disk.want(t) // the first event has waited for 249 ms
		if s, _ := r.Status(); s.Queued != 3 || s.Events != 3 || s.Stored != 0 {
			t.Errorf("status %+v", s)
		}
		time.Sleep(2 * time.Millisecond)
		r.disk.want(t, "append 1,2,3 at s/2", "ack 2")
		want := health.Pipeline{Events: 3, Stored: 3, Newest: time.Date(2000, 1, 1, 0, 0, 0, 2e8, time.UTC).UnixNano(), LagNS: int64(50 * time.Millisecond)}
		if s, failure := r.Status(); s != want || failure != "" {
			t.Errorf("status %+v %q, want %+v", s, failure, want)
		}
		time.Sleep(time.Hour)
		r.disk.want(t) // at rest nothing happens
		r.in <- r.item(3, events(4, 4))
		time.Sleep(249 * time.Millisecond)
		r.disk.want(t) // and the delay starts anew
		time.Sleep(2 * time.Millisecond)
		r.disk.want(t, "append 4 at s/3", "ack 3")
		r.in <- r.item(4, events(5, 5))
		close(r.in)
		if err := <-r.end; err != nil {
			t.Error(err)
		}
		r.disk.want(t, "append 5 at s/4", "ack 4")
	})
}

// TestNewest: a gap that is told ahead of what still waits in the source does not say
// that everything from before its end is stored.
func TestNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), Options{})
		told := events(1, 1)
		at := told[0].Time
		for i, of := range []event.Kind{event.KindExecFailed, 0} {
			told = append(told, event.Event{
				Kind: event.KindGap, Known: event.KnownTime, Time: at, StartNS: uint64(i + 2), Gap: &event.Gap{Until: at + int64(time.Hour), Of: of},
			})
		}
		r.in <- r.item(1, told)
		close(r.in)
		if err := <-r.end; err != nil {
			t.Error(err)
		}
		r.disk.want(t, "append 1,2,3 at s/1", "ack 1")
		if s, _ := r.Status(); s.Newest != at {
			t.Errorf("the newest event is of %v, want %v", time.Unix(0, s.Newest), time.Unix(0, at))
		}
	})
}

func TestBatchByRows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), Options{BatchRows: 3, BatchDelay: time.Hour})
		r.in <- r.item(1, events(1, 2))
		synctest.Wait()
		r.disk.want(t)
		r.in <- r.item(2, events(3, 5)) // an item is never split
		synctest.Wait()
		r.disk.want(t, "append 1,2,3,4,5 at s/2", "ack 2")
		r.in <- r.item(3, events(6, 40)) // far more than is kept
		synctest.Wait()
		if got := r.disk.took(); len(got) != 2 || r.batch != nil {
			t.Errorf("%q, room for %d kept", got, cap(r.batch))
		}
		// An item without events is a place in the stream that need not wait.
		r.in <- r.item(4, nil)
		synctest.Wait()
		r.disk.want(t, "append  at s/4", "ack 4")
		r.in <- r.item(5, events(41, 41))
		r.in <- r.item(6, nil)
		synctest.Wait()
		r.disk.want(t) // unless others do
		close(r.in)
		<-r.end
		r.disk.want(t, "append 41 at s/6", "ack 6")
	})
}

// An item of the agent's own has no place in the stream, and must not make the
// pipeline forget the place of the others in its batch: they would come again.
func TestItemWithoutPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), Options{})
		r.in <- r.item(1, events(1, 1))
		r.in <- Item{Events: events(2, 2)}
		time.Sleep(time.Second)
		r.disk.want(t, "append 1,2 at s/1", "ack 1")
		r.in <- Item{Events: events(3, 3)}
		time.Sleep(time.Second)
		r.disk.want(t, "append 3 at /0") // what is stored stays as it is
		r.in <- Item{Events: events(4, 4)}
		r.in <- r.item(2, events(5, 5))
		r.in <- Item{Events: events(6, 6), Session: "t", Seq: 1} // procmond was started again
		close(r.in)
		<-r.end
		r.disk.want(t, "append 4,5,6 at t/1", "ack 2")
	})
}

// A list of the living counts at its point of the stream: what came before it is
// stored before, and its own place only afterwards.
func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), Options{})
		r.in <- r.item(1, events(1, 2))
		list := r.item(2, nil)
		list.Live, list.Now = events(1, 3), 77
		r.in <- list
		r.in <- r.item(3, events(4, 4))
		synctest.Wait()
		r.disk.want(t, "append 1,2 at s/1", "ack 1", "reconcile 3 at 77", "append  at s/2", "ack 2")

		list.Live = []event.Event{} // nobody is alive: a list all the same
		r.in <- list
		synctest.Wait()
		r.disk.want(t, "append 4 at s/3", "ack 3", "reconcile 0 at 77", "append  at s/2", "ack 2")
		close(r.in)
		<-r.end
	})
}

func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := run(t.Context(), Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		full := errors.New("disk full")
		r.disk.failNext(full, full, full)
		r.in <- r.item(1, events(1, 1))
		time.Sleep(260 * time.Millisecond)
		if _, failure := r.Status(); failure != "disk full" {
			t.Errorf("failure %q", failure)
		}
		// What comes meanwhile waits with its sender.
		go func() {
			r.in <- r.item(2, events(2, 2))
			list := r.item(3, nil)
			list.Live = events(1, 1)
			r.in <- list
			close(r.in)
		}()
		time.Sleep(10 * time.Second)
		if err := <-r.end; err != nil {
			t.Fatal(err)
		}
		r.disk.want(t, "failed", "failed", "failed", "append 1 at s/1", "ack 1", "append 2 at s/2", "ack 2", "reconcile 1 at 0", "append  at s/3", "ack 3")
		if _, failure := r.Status(); failure != "" {
			t.Errorf("failure %q stays", failure)
		}
		if n, again := strings.Count(log.String(), "disk full"), strings.Count(log.String(), "storing again"); n != 1 || again != 1 {
			t.Errorf("one failure is logged %d times, its end %d times:\n%s", n, again, &log)
		}
	})
}

// However long the store is full, it is asked again within seconds.
func TestRetryPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), Options{})
		fails := make([]error, 1000)
		for i := range fails {
			fails[i] = errors.New("disk full")
		}
		r.disk.failNext(fails...)
		r.in <- r.item(1, events(1, 1))
		time.Sleep(time.Hour)
		r.disk.took()
		time.Sleep(10 * time.Second)
		if n := len(r.disk.took()); n < 1 || n > 5 {
			t.Errorf("%d tries in 10 s", n)
		}
		r.disk.failNext()
		close(r.in)
		<-r.end
	})
}

func TestFatal(t *testing.T) {
	fatal := errors.New("not a database")
	for _, live := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := run(t.Context(), Options{Fatal: func(err error) bool { return err == fatal }})
			r.disk.failNext(errors.New("busy"), fatal)
			it := r.item(1, events(1, 1))
			if live {
				it.Live = events(1, 1)
			}
			r.in <- it
			if err := <-r.end; err != fatal {
				t.Errorf("Run = %v", err)
			}
			r.disk.want(t, "failed", "failed") // and nothing is acknowledged
		})
	}
	synctest.Test(t, func(t *testing.T) { // what is stored ahead of a list
		r := run(t.Context(), Options{Fatal: func(err error) bool { return err == fatal }})
		r.in <- r.item(1, events(1, 1))
		r.disk.failNext(fatal)
		it := r.item(2, nil)
		it.Live = events(1, 1)
		r.in <- it
		if err := <-r.end; err != fatal {
			t.Errorf("Run = %v", err)
		}
		r.disk.want(t, "failed")
	})
	synctest.Test(t, func(t *testing.T) { // and when the delay is over
		r := run(t.Context(), Options{Fatal: func(err error) bool { return err == fatal }})
		r.disk.failNext(fatal)
		r.in <- r.item(1, events(1, 1))
		if err := <-r.end; err != fatal {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestAbort(t *testing.T) {
	for name, prepare := range map[string]func(*running){
		"at rest":            func(*running) {},
		"with a batch":       func(r *running) { r.in <- r.item(1, events(1, 1)) },
		"between two tries":  func(r *running) { r.disk.failNext(errors.New("full")); r.in <- r.item(1, events(1, 1000)) },
		"while it is stored": func(r *running) { r.disk.hang = true; r.in <- r.item(1, events(1, 1000)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				r := run(ctx, Options{})
				prepare(r)
				synctest.Wait()
				cancel()
				if err := <-r.end; !errors.Is(err, context.Canceled) {
					t.Errorf("Run = %v", err)
				}
				for _, s := range r.disk.took() {
					if s != "failed" {
						t.Errorf("%q was done", s)
					}
				}
			})
		})
	}
}

func TestEnrich(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t.Context(), Options{User: func(uid uint32) (string, bool) { return "ann", uid == 1000 }})
		exec := func(uid uint32, known event.Known) event.Event {
			return event.Event{Kind: event.KindExec, Known: known, Exec: &event.Exec{UID: uid}}
		}
		it := Item{
			Events: []event.Event{exec(1000, event.KnownUID), exec(1001, event.KnownUID), exec(1000, 0), {Kind: event.KindFork, Known: event.KnownUID}},
			Live:   []event.Event{exec(1000, event.KnownUID)},
		}
		r.in <- it
		close(r.in)
		<-r.end
		for i, want := range []string{"ann", "", ""} {
			e := it.Events[i]
			if e.Exec.User != want || e.Known.Has(event.KnownUser) != (want != "") {
				t.Errorf("event %d: user %q, known %q", i, e.Exec.User, e.Known.Names())
			}
		}
		if it.Live[0].Exec.User != "ann" {
			t.Error("the list is not enriched")
		}
	})
}
