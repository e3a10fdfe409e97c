package main

import (
	"testing"
	"time"
)

// A source that is waited for has by then handed on what it held when its buffer was
// emptied.
func TestQuietOutlastsWhatIsHeld(t *testing.T) {
	const settleTime = 20 * time.Millisecond // procconn's
	for flush := time.Millisecond; flush <= time.Second; flush += time.Millisecond {
		if got := quiet(flush); got < settleTime+2*flush {
			t.Errorf("windows of %s: %s", flush, got)
		}
	}
}
