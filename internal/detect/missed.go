package detect

import (
	"time"

	"github.com/sentineld/sentineld/internal/health"
)

// What a rule did not look at is in its status.
//
// BUG(detect): it is kept in memory, and forgotten at a restart.

// missed notes that a rule missed something of the events from lo to hi, Unix ns, and
// returns what is to say how much. The caller holds e.mu.
func (c *compiled) missed(lo, hi int64, now time.Time) *health.Missed {
	m := &c.status.Missed
	if m.From == 0 || lo < m.From {
		m.From = lo
	}
	m.Until, m.At = max(m.Until, hi), now.UnixNano()
	return m
}

// miss notes that a rule that does not run did not look at events. One that its own file
// disables is not asked to.
func (e *Engine) miss(c *compiled, lo, hi int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !c.status.Off {
		c.missed(lo, hi, e.o.Now())
	}
}

// unreadable notes that an event of a time is too long to be read, by the rules that look
// at such.
func (e *Engine) unreadable(list []*compiled, looks func(*compiled) bool, ts int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range list {
		if c.runs() && looks(c) {
			c.missed(ts, ts, e.o.Now()).Events++
		}
	}
}
