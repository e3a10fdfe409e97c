package health

import "testing"

func TestWorse(t *testing.T) {
	order := []State{Healthy, Degraded, Stopped, Failed} // from best to worst
	for i, a := range order {
		for j, b := range order {
			if got, want := a.Worse(b), order[max(i, j)]; got != want {
				t.Errorf("%s.Worse(%s) = %s, want %s", a, b, got, want)
			}
		}
	}
	if got := State("").Worse(Degraded); got != Degraded {
		t.Errorf("the zero value and degraded give %q", got)
	}
}
