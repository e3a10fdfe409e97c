package main

import (
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/source/procconn"
)

// A source that is waited for has by then handed on what it held when its buffer was
// emptied.
func TestQuietOutlastsWhatIsHeld(t *testing.T) {
	for flush := time.Millisecond; flush <= time.Second; flush += time.Millisecond {
		if got := quiet(flush); got < procconn.SettleTime+2*flush {
			t.Errorf("windows of %s: %s", flush, got)
		}
	}
}
