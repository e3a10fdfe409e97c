package poll

import (
	"cmp"
	"slices"

	"github.com/sentineld/sentineld/internal/event"
)

// parentsFirst orders execs of different processes so that none comes before
// that of its parent, and else by start. The start alone does not do: within
// one tick a child may have the lower pid.
func parentsFirst(events []event.Event) []event.Event {
	slices.SortFunc(events, func(a, b event.Event) int {
		return cmp.Or(cmp.Compare(a.Process.Start, b.Process.Start), cmp.Compare(a.Process.PID, b.Process.PID))
	})
	at := make(map[event.ProcessKey]int, len(events))
	for i := range events {
		at[events[i].Process] = i
	}
	sorted := make([]event.Event, 0, len(events))
	placed := make([]bool, len(events))
	var chain []int // from a process up to its first ancestor that is not placed
	for i := range events {
		chain = chain[:0]
		for j, ok := i, true; ok && !placed[j]; j, ok = at[events[j].Parent] {
			placed[j] = true
			chain = append(chain, j)
		}
		for _, j := range slices.Backward(chain) {
			sorted = append(sorted, events[j])
		}
	}
	return sorted
}
