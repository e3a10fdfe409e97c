package procconn

import (
	"runtime"
	"time"
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
		if s.LastGood() == seen && !s.check(ended) {
			s.lose(errSilent)
			return
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
func (s *conn) check(ended <-chan struct{}) (heard bool) {
	const tries = 100 // the runtime makes a thread for each that ended, not at once
	before := s.LastGood()
	for range tries {
		go runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		select {
		case <-s.stop:
			return true
		case <-ended:
			return true
		case <-time.After(5 * time.Millisecond): // nothing tells when a thread is gone
		}
		if s.LastGood() != before || s.socket.waits() {
			return true
		}
	}
	return false
}
