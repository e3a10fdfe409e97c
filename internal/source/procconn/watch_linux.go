package procconn

import (
	"errors"
	"time"

	"github.com/sentineld/sentineld/internal/source"
)

// watchEvery is how often the connector is looked after.
const watchEvery = 10 * time.Second

// watch looks after the connector at each tick, and ends the source when that
// tells of nothing any more. Silence alone does not tell it from a host at rest.
// What a check made the connector tell may be read after it, and then spares the
// next one: silence is found at the second look at the latest.
func (s *conn) watch(tick <-chan time.Time, ended <-chan struct{}) {
	seen := s.LastGood()
	for {
		select {
		case <-s.stop:
			return
		case <-ended:
			return
		case <-tick:
		}
		if s.LastGood() == seen {
			switch err := s.check(ended); {
			case errors.Is(err, source.ErrNoPID):
				s.o.Log.Warn("the process connector was not looked after", "reason", err)
			case err != nil:
				s.lose(err)
				return
			}
		}
		seen = s.LastGood()
	}
}

// lose ends the source from another goroutine than run, as Close does.
func (s *conn) lose(err error) {
	s.lostBy.Store(&err)
	_ = s.Close() // it never fails
}

// check makes and ends threads of this process until a message comes. It need not
// be read: run may have to wait for the consumer.
func (s *conn) check(ended <-chan struct{}) error {
	const tries = 100
	before := s.LastGood()
	for range tries {
		if err := source.Canary(); err != nil {
			return err
		}
		select {
		case <-s.stop:
			return nil
		case <-ended:
			return nil
		case <-time.After(5 * time.Millisecond): // nothing tells when a thread is gone
		}
		if s.LastGood() != before || s.socket.waits() {
			return nil
		}
	}
	return errSilent
}
