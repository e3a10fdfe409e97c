package procconn

import (
	"time"

	"golang.org/x/sys/unix"
)

// clocks convert times on CLOCK_MONOTONIC, which the connector tells.
type clocks struct {
	boot, wall int64 // what to add to get CLOCK_BOOTTIME and Unix time, ns
	set        bool
	moved      bool // the system was suspended since the last reading: when is not known
}

// clockJitter is how far two readings of the same offset may be apart. A suspend
// is longer.
const clockJitter = int64(time.Millisecond)

// read takes the offsets anew. That to the boot clock changes only by a suspend,
// so the first reading is kept until then: starts must not hop over a tick.
func (c *clocks) read() {
	now := mono()
	boot, wall := offset(unix.CLOCK_BOOTTIME), clock(unix.CLOCK_REALTIME)-now
	change := boot - c.boot
	c.moved = c.set && (change > clockJitter || change < -clockJitter)
	if !c.set || c.moved {
		c.boot, c.set = boot, true
	}
	c.wall = wall
}

// offset is how far a clock is ahead of CLOCK_MONOTONIC. The closest of a few
// readings counts, since one may be interrupted half-way.
func offset(id int32) (ahead int64) {
	best := int64(-1)
	for range 5 {
		before := mono()
		at := clock(id)
		after := mono()
		if width := after - before; best < 0 || width < best {
			best, ahead = width, at-(before+width/2)
		}
	}
	return ahead
}

func mono() int64 { return clock(unix.CLOCK_MONOTONIC) }

func clock(id int32) int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(id, &ts) // cannot fail: valid clocks, valid pointer
	return ts.Nano()
}
