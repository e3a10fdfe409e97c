//go:build linux && (amd64 || arm64)

package ebpf

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf/link"

	"github.com/sentineld/sentineld/internal/source"
)

// watchEvery is how often the programs are looked after.
const watchEvery = 10 * time.Second

// errSilent is the loss of a source whose programs no longer see anything: they
// were detached, or what they may read was forbidden (lockdown, before 5.14, at
// run time).
var errSilent = errors.New("the programs are loaded, and see no process begin or end any more")

// watch ends the source when its programs do not run any more. Silence alone
// does not tell that from a host at rest.
func (s *ring) watch(ended <-chan struct{}) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-ended:
			return
		case <-tick.C:
		}
		if err := s.look(ended); err != nil {
			s.lose(err)
			return
		}
	}
}

// look notes until when the programs worked, if they did. What they told of forks and
// exits since the last look is enough; a canary is made at rest.
//
// BUG: nothing tells that execs alone are not seen any more.
func (s *ring) look(ended <-chan struct{}) error {
	good := s.seen()
	var err error
	if good > s.LastGood() {
		_, err = s.checkLinks()
	} else {
		good = time.Now().UnixNano()
		err = s.check(ended)
	}
	if err == nil && s.failures {
		err = s.checkFailed(ended)
	}
	switch {
	case errors.Is(err, source.ErrNoPID):
		s.Log.Warn("the programs were not looked after", "reason", err)
		return nil
	case err != nil:
		return err
	}
	s.lastGood.Store(good)
	return nil
}

// seen is until when both the beginning and the end of processes were told, Unix ns.
func (s *ring) seen() int64 { return min(s.lastFork.Load(), s.lastExit.Load()) }

// lose ends the source from another goroutine than run.
func (s *ring) lose(err error) {
	s.lostBy.Store(&err)
	_ = s.reader.Flush() // it fails only when run has ended by itself
}

// check looks whether the links are there, and whether the programs count a
// thread of this process that begins and one that ends.
func (s *ring) check(ended <-chan struct{}) error {
	if detached, err := s.checkLinks(); err != nil || detached {
		return err
	}
	forks, exits, err := s.canaries()
	if err != nil {
		return err
	}
	const tries = 100
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
		f, e, err := s.canaries()
		if err != nil {
			return err
		}
		if f != forks && e != exits {
			return nil
		}
	}
	if detached, err := s.checkLinks(); detached || err != nil {
		return err
	}
	return errSilent
}

// checkLinks looks whether the links are there, unless Close has detached them.
func (s *ring) checkLinks() (detached bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.detached {
		return true, nil
	}
	for _, l := range s.links {
		// The kernel tells of a kprobe's link from 5.15 on.
		if _, err := l.Info(); err != nil && !errors.Is(err, link.ErrNotSupported) {
			return false, fmt.Errorf("a program was detached: %w", err)
		}
	}
	return false, nil
}

func (s *ring) canaries() (forks, exits uint64, err error) {
	v := s.collections[0].Variables
	err = errors.Join(v["canary_forks"].Get(&forks), v["canary_exits"].Get(&exits))
	return forks, exits, err
}
