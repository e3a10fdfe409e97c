package procconn

import (
	"slices"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

// TestLossIsTold: what was lost, or has no name, is told as a gap that begins when
// nothing waited last, however the source goes on.
func TestLossIsTold(t *testing.T) {
	const since = 5
	for name, c := range map[string]struct {
		now  socket
		want []string // causes
	}{
		"the socket is lost":               {socket{err: errLost}, []string{causeUnnamed}},
		"the socket is lost in a storm":    {socket{err: errLost, overflow: true}, []string{causeUnnamed, causeOverflow}},
		"the socket is empty, a storm ago": {socket{empty: true, overflow: true}, []string{causeUnnamed, causeOverflow}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.now.messages = []message{execOf(10*second, 5)} // of a process that is nowhere
			s := &conn{socket: &c.now, tracker: *w.tr, events: make(chan []event.Event, 1), since: since}
			s.take(true)
			close(s.events)
			var got []string
			for _, e := range <-s.events {
				if e.Kind != event.KindGap || e.Time != since || e.Gap.Until < time.Now().Add(-time.Minute).UnixNano() {
					t.Fatalf("%s from %d: %+v", e.Kind, e.Time, e.Gap)
				}
				got = append(got, e.Gap.Cause)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
