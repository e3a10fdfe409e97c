package source

import (
	"context"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

// seeing is a rung that sees failed execs.
type seeing struct{ *rung }

func (seeing) SeesFailures() bool { return true }

// What is wanted and not seen is a gap without an end, in pieces.
func TestFailuresThatAreNotSeen(t *testing.T) {
	why := "failed execs are not seen by procconn"
	for _, test := range []struct {
		wanted, sees bool
		gaps         []string
	}{
		{false, false, nil},
		{true, true, nil},
		{true, false, []string{"gap of procconn for 1m0s: " + why, "gap of procconn for 1m0s: " + why, "gap of procconn for 10s: " + why}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &rung{name: event.SourceProcconn}
			c := r.candidate()
			if test.sees {
				c.Open = func(ctx context.Context, o Options) (Source, error) {
					s, err := r.candidate().Open(ctx, o)
					return seeing{s.(*rung)}, err
				}
			}
			l, err := Climb(t.Context(), Options{ExecFailures: test.wanted}, []Candidate{c})
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{}
			if test.gaps != nil {
				want["exec_failed"] = why
			}
			if got := l.Blind(); !maps.Equal(got, want) {
				t.Errorf("blind to %v, want %v", got, want)
			}
			time.AfterFunc(130*time.Second, func() { _ = l.Close() })
			var got []string
			for batch := range l.Events() {
				for _, e := range batch {
					if e.Gap.Of != event.KindExecFailed || !e.Gap.Healed || e.Known.Has(event.KnownLost) {
						t.Errorf("%+v", e.Gap)
					}
				}
				got = append(got, told(batch)...)
			}
			if !slices.Equal(got, test.gaps) {
				t.Errorf("told %q, want %q", got, test.gaps)
			}
		})
	}
}
