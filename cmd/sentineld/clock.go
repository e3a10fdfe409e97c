package main

import "time"

// moment is a time that stays right when somebody sets the clock, back too: what the
// clock said, and when by it the host had started. The zero value is none.
type moment struct{ wall, boot int64 } // Unix ns

// momentAt is a time by the clock of now, which is not in the future.
func momentAt(wall int64) moment {
	return moment{min(wall, time.Now().UnixNano()), bootTime()}
}

func (m moment) isZero() bool { return m == moment{} }

// unixNano is the time by the clock of now, 0 of none.
func (m moment) unixNano() int64 {
	if m.isZero() {
		return 0
	}
	return m.wall + bootTime() - m.boot
}

func later(a, b moment) moment {
	if a.isZero() || b.wall-b.boot > a.wall-a.boot {
		return b
	}
	return a
}
