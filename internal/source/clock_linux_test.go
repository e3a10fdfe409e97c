package source

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestClockAhead(t *testing.T) {
	wall := ClockAhead(unix.CLOCK_REALTIME, unix.CLOCK_BOOTTIME)
	if off := time.Now().UnixNano() - (ClockNow(unix.CLOCK_BOOTTIME) + wall); off < -int64(time.Second) || off > int64(time.Second) {
		t.Errorf("the wall clock is %v off", time.Duration(off))
	}
	if again := ClockAhead(unix.CLOCK_REALTIME, unix.CLOCK_BOOTTIME); again-wall > int64(time.Millisecond) || wall-again > int64(time.Millisecond) {
		t.Errorf("two readings differ by %v", time.Duration(again-wall))
	}
	if same := ClockAhead(unix.CLOCK_BOOTTIME, unix.CLOCK_BOOTTIME); same > int64(time.Millisecond) || same < -int64(time.Millisecond) {
		t.Errorf("a clock is %v ahead of itself", time.Duration(same))
	}
}
