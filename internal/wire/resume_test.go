package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/sentineld/sentineld/internal/event"
)

// plan is what happens in one run of TestKilledClients.
type plan struct {
	Queue   int
	Batches []batchPlan
	Lives   []lifePlan
}

type batchPlan struct {
	Wait   time.Duration // before it is put
	Events int
	Size   int // of an exec's arguments
}

// lifePlan is a client from its start to its death.
type lifePlan struct {
	Wait     time.Duration // before it connects
	Bytes    int           // that it reads before it is killed
	Time     time.Duration // that it lives at most
	AckEvery int           // messages
	Think    time.Duration // for each message
}

func drawPlan(t *rapid.T) plan {
	delay := rapid.Map(rapid.IntRange(0, 30), func(n int) time.Duration { return time.Duration(n) * 10 * time.Millisecond })
	return plan{
		Queue: rapid.IntRange(1000, 300_000).Draw(t, "queue bytes"),
		Batches: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) batchPlan {
			return batchPlan{delay.Draw(t, "wait"), rapid.IntRange(1, 8).Draw(t, "events"), rapid.IntRange(0, 30_000).Draw(t, "size")}
		}), 1, 30).Draw(t, "batches"),
		Lives: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) lifePlan {
			return lifePlan{
				delay.Draw(t, "wait"), rapid.IntRange(0, 500_000).Draw(t, "bytes"), delay.Draw(t, "time") * 10,
				rapid.IntRange(1, 4).Draw(t, "ack every"), delay.Draw(t, "think"),
			}
		}), 0, 8).Draw(t, "lives"),
	}
}

// mortal is a connection that breaks after some bytes were read, wherever in a
// frame that is.
type mortal struct {
	net.Conn
	left int
}

func (m *mortal) Read(b []byte) (int, error) {
	if m.left <= 0 {
		m.Close()
		return 0, io.ErrClosedPipe
	}
	n, err := m.Conn.Read(b[:min(len(b), m.left)])
	m.left -= n
	return n, err
}

// disk is what a client has stored for good: its place in the stream and the
// events up to it, always changed together.
type disk struct {
	session string
	seq     uint64
	events  []event.Event
	lists   []list // complete ones
}

type list struct {
	at   int // events stored before it
	rows []event.Event
}

// live is one life of a client over conn: it stores what it gets and
// acknowledges now and then, until the connection breaks.
func (d *disk) live(conn io.ReadWriteCloser, p lifePlan) error {
	c, err := Dial(context.Background(), conn, Hello{Session: d.session, Seq: d.seq})
	if err != nil {
		return nil // killed during the handshake
	}
	defer c.Close()
	if d.session != "" && c.Welcome.Session != d.session {
		return fmt.Errorf("session changed from %s to %s", d.session, c.Welcome.Session)
	}
	d.session = c.Welcome.Session
	var rows []event.Event
	at := d.seq
	for n := 1; ; n++ {
		m, err := c.Next()
		if err != nil {
			if !gone(err) {
				return err
			}
			return nil
		}
		if at++; m.Seq != at {
			return fmt.Errorf("frame %d instead of frame %d", m.Seq, at)
		}
		time.Sleep(p.Think)
		switch m.Type {
		case TypeSync:
			rows = append(rows, m.Events...)
			continue // it is stored with its end
		case TypeSyncEnd:
			d.lists = append(d.lists, list{at: len(d.events), rows: rows})
		case TypeBatch:
			d.events = append(d.events, m.Events...)
		}
		rows = nil
		d.seq = m.Seq
		if n%p.AckEvery == 0 {
			_ = c.Ack(m.Seq) // a broken connection shows in Next
		}
	}
}

// A client that is killed anywhere and comes back has every event exactly once
// and in order; what could not be kept for it is a gap with the right number, at
// the right place, and a complete list of the live processes comes behind it.
func TestKilledClients(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		var failure error
		synctest.Test(t, func(t *testing.T) { failure = runPlan(t.Context(), p) })
		if failure != nil {
			rt.Fatal(failure)
		}
	})
}

func runPlan(ctx context.Context, p plan) error {
	ctx, cancel := context.WithTimeout(ctx, time.Hour) // of the bubble: nothing takes so long but a deadlock
	defer cancel()
	needSync := make(chan struct{}, 1)
	s := NewServer(ServerOptions{Boot: testBoot, QueueBytes: p.Queue, NeedSync: func() {
		select {
		case needSync <- struct{}{}:
		default:
		}
	}})
	const rows = 6 // in each list; several frames, so that it can be cut

	// The collector: one goroutine that puts and syncs.
	put := map[event.Kind]uint64{}
	produced := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		n := uint64(0)
		syncs := 0
		sync := func() error {
			syncs++
			live := execs(rows, 30_000)
			for i := range live {
				live[i].Exec.Inode = uint64(syncs)
			}
			return s.Sync(ctx, live, nil)
		}
		for _, b := range p.Batches {
			time.Sleep(b.Wait)
			select {
			case <-needSync:
				if err := sync(); err != nil {
					produced <- err
					return
				}
			default:
			}
			var batch []event.Event
			for range b.Events {
				n++
				kind := []event.Kind{event.KindFork, event.KindExec, event.KindExit}[n%3]
				put[kind]++
				batch = append(batch, numbered(kind, n, b.Size))
			}
			if err := s.Put(ctx, batch); err != nil {
				produced <- err
				return
			}
		}
		produced <- nil
		for { // the last client must get its list too
			select {
			case <-needSync:
				if sync() != nil {
					return
				}
			case <-stop:
				return
			}
		}
	}()

	var d disk
	life := func(l lifePlan) (client net.Conn, dead, served chan error) {
		server, client := net.Pipe()
		dead, served = make(chan error, 1), make(chan error, 1)
		go func() { served <- s.Serve(ctx, server) }()
		go func() { dead <- d.live(&mortal{client, l.Bytes}, l) }()
		return client, dead, served
	}
	for _, l := range p.Lives {
		time.Sleep(l.Wait)
		client, dead, served := life(l)
		kill := time.AfterFunc(l.Time, func() { client.Close() })
		err := <-dead
		<-served
		kill.Stop()
		if err != nil {
			return err
		}
	}
	client, dead, served := life(lifePlan{Bytes: 1 << 40, AckEvery: 1})
	err := <-produced
	synctest.Wait() // a list that was asked for has been put
	err = errors.Join(err, s.Drain(ctx))
	close(stop)
	client.Close()
	err = errors.Join(err, <-dead)
	<-served
	if err == nil {
		err = d.check(put, rows)
	}
	return err
}

// check compares what was stored with what was put.
func (d *disk) check(put map[event.Kind]uint64, rows int) error {
	got, lost := map[event.Kind]uint64{}, map[event.Kind]uint64{}
	var before uint64 // events stored or told as lost
	lastGap := -1
	for i, e := range d.events {
		if e.Kind == event.KindGap {
			lost[e.Gap.Of] += e.Gap.Lost
			before += e.Gap.Lost
			lastGap = i
			continue
		}
		got[e.Kind]++
		if before++; e.StartNS != before {
			return fmt.Errorf("event %d is stored at place %d", e.StartNS, before)
		}
	}
	for _, k := range []event.Kind{event.KindFork, event.KindExec, event.KindExit} {
		if put[k] != got[k]+lost[k] {
			return fmt.Errorf("%d of kind %s were put, %d stored, %d told as lost", put[k], k, got[k], lost[k])
		}
	}
	for _, l := range d.lists {
		if len(l.rows) != rows || slices.ContainsFunc(l.rows, func(e event.Event) bool { return e.Exec.Inode != l.rows[0].Exec.Inode }) {
			return fmt.Errorf("a list of %d rows, or of mixed ones, was taken as complete", len(l.rows))
		}
	}
	if lastGap >= 0 && (len(d.lists) == 0 || d.lists[len(d.lists)-1].at <= lastGap) {
		return fmt.Errorf("no list came behind the last gap")
	}
	return nil
}
