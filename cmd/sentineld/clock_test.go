package main

import (
	"testing"
	"time"
)

// TestMoment sets the clock, which is that the host seems to have started at another time.
func TestMoment(t *testing.T) {
	boot, now := bootTime(), time.Now()
	for name, set := range map[string]time.Duration{"not": 0, "forward": time.Hour, "back": -time.Hour} {
		m := moment{wall: now.Add(-set).UnixNano(), boot: boot - int64(set)}
		if d := time.Duration(m.unixNano() - now.UnixNano()); boot != 0 && d.Abs() > time.Second {
			t.Errorf("set %s: it is off by %v", name, d)
		}
		before, behind := moment{m.wall - 1, m.boot}, moment{m.wall + 1, m.boot}
		for _, o := range []moment{{}, before} {
			if later(o, m) != m {
				t.Errorf("set %s: %v is later than %v", name, o, m)
			}
		}
		if later(behind, m) != behind {
			t.Errorf("set %s: %v is later than %v", name, m, behind)
		}
	}
	if (moment{}).unixNano() != 0 {
		t.Error("none is a time")
	}
	if m := momentAt(now.Add(time.Hour).UnixNano()); m.wall > time.Now().UnixNano() {
		t.Error("it is in the future")
	}
	// What was seen before the clock was set back by an hour is not later than what came then.
	if a, b := (moment{100 + 3600e9, 3600e9}), (moment{101, 0}); later(a, b) != b || later(b, a) != b {
		t.Error("the order changes with the clock")
	}
}
