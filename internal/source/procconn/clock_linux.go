package procconn

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/source"
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
	boot := source.ClockAhead(unix.CLOCK_BOOTTIME, unix.CLOCK_MONOTONIC)
	change := boot - c.boot
	c.moved = c.set && (change > clockJitter || change < -clockJitter)
	if !c.set || c.moved {
		c.boot, c.set = boot, true
	}
	c.wall = source.ClockAhead(unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC)
}

func mono() int64 { return source.ClockNow(unix.CLOCK_MONOTONIC) }
