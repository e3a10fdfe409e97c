package source

import "golang.org/x/sys/unix"

// ClockAhead is how far one clock is ahead of another (CLOCK_* of
// clock_gettime(2)), in ns. The closest of a few readings counts: between the two
// parts of one the process may be kept from running, and what happened on both
// sides of such a reading would seem to have happened in another order. One within
// a microsecond is close enough.
func ClockAhead(clock, of int32) (ahead int64) {
	best := int64(-1)
	for range 5 {
		before := ClockNow(of)
		at := ClockNow(clock)
		after := ClockNow(of)
		if width := after - before; best < 0 || width < best {
			best, ahead = width, at-(before+width/2)
		}
		if best < 1000 {
			break
		}
	}
	return ahead
}

// ClockNow reads a clock, ns.
func ClockNow(clock int32) int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(clock, &ts) // cannot fail: valid clocks, valid pointer
	return ts.Nano()
}
