package store

import (
	"testing"

	"github.com/sentineld/sentineld/internal/event"
)

// Whether a run redacted stays on record, and of a run before there was
// redaction it is not known.
func TestRunsView(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	if _, err := db.BeginRun(t.Context(), Begin{Boot: testBoot, At: at(1)}); err != nil {
		t.Fatal(err)
	}
	if err := db.EndRun(t.Context(), End{At: at(2), Covered: at(2)}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	loud, err := Open(t.Context(), Options{Dir: dir, Unredacted: true})
	if err != nil {
		t.Fatal(err)
	}
	defer loud.Close()
	if _, err := loud.BeginRun(t.Context(), Begin{Boot: testBoot, At: at(3)}); err != nil {
		t.Fatal(err)
	}
	if err := execute(loud.conn, "INSERT INTO run_rows(started) VALUES (0)"); err != nil {
		t.Fatal(err)
	}
	want(t, "runs", rows(t, loud, "SELECT started - 1760000000000000000, ended - 1760000000000000000, redacted, ts = started, time FROM runs ORDER BY started"),
		"-1760000000000000000 | <null> | <null> | 1 | 1970-01-01T00:00:00.000000000Z",
		"1000000000 | 2000000000 | 1 | 1 | 2025-10-09T08:53:21.000000000Z",
		"3000000000 | <null> | 0 | 1 | 2025-10-09T08:53:23.000000000Z")
}

// A run that stops asking for failed execs has not asked for them all the time.
func TestNoFailures(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir)
	defer db.Close()
	asked := func(want bool) {
		t.Helper()
		s, err := OpenSession(t.Context(), dir, SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if c, err := s.Coverage(TimeRange{}); err != nil || c.NoFailures == want {
			t.Errorf("%+v, %v", c, err)
		}
	}
	if err := db.NoFailures(t.Context()); err != nil { // of no run
		t.Fatal(err)
	}
	if _, err := db.BeginRun(t.Context(), Begin{Boot: testBoot, At: at(1), Failures: true}); err != nil {
		t.Fatal(err)
	}
	asked(true)
	if err := db.NoFailures(t.Context()); err != nil {
		t.Fatal(err)
	}
	asked(false)
}

// What a run did not see begins where the one before ended, also when the clock was set
// back in between or while that ran; and nothing of a boot was seen before it began.
func TestReachedWhenTheClockIsSet(t *testing.T) {
	for name, test := range map[string]struct {
		boot  event.BootID
		ahead int64 // of the clock at the event, s
		end   bool  // the run came to its end
		want  int64
	}{
		"clock is right":       {testBoot, 0, true, at(12)},
		"killed":               {testBoot, 0, false, at(11)},
		"was ahead":            {testBoot, 3600, true, at(12)},
		"was ahead and killed": {testBoot, 3600, false, at(11)},
		"was behind":           {testBoot, -3600, true, at(12)},
		"ahead, other boot":    {event.BootID{9}, 3600, true, bootNS},
		"behind, other boot":   {event.BootID{9}, -3600, true, at(12 - 3600)},
	} {
		t.Run(name, func(t *testing.T) {
			boot, ctx := bootNS+test.ahead*1e9, t.Context()
			db, err := Open(ctx, Options{Dir: t.TempDir(), BootTime: func() int64 { return boot }})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.BeginRun(ctx, Begin{Boot: testBoot, At: at(10 + test.ahead)}); err != nil {
				t.Fatal(err)
			}
			appendAll(t, db, exitEvent(2, at(11+test.ahead), 0, 0))
			if test.end {
				if err := db.EndRun(ctx, End{At: at(13 + test.ahead), Covered: at(12 + test.ahead)}); err != nil {
					t.Fatal(err)
				}
			}
			boot = bootNS
			if r, err := db.BeginRun(ctx, Begin{Boot: test.boot, At: at(20)}); err != nil || r.Reached != test.want {
				t.Errorf("it reaches to %d, %v, want %d", r.Reached-bootNS, err, test.want-bootNS)
			}
		})
	}
}
