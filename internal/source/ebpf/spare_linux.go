//go:build linux && (amd64 || arm64)

package ebpf

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
)

const (
	// numSpares is how many programs stand in front of one that records: see
	// bpf/spare.h. An event is left out when a task was preempted in each of them.
	numSpares = 6

	spare = "#" // between the name of such a program and its number
)

// preemptible reports whether the kernel may preempt tracing programs.
func preemptible() bool {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return false
	}
	major, _, _ := strings.Cut(unix.ByteSliceToString(u.Release[:]), ".")
	n, _ := strconv.Atoi(major)
	return n >= 7 || strings.Contains(unix.ByteSliceToString(u.Version[:]), "PREEMPT_RT")
}

// spares puts n programs in front of each one of core: load has all of them, and
// attach the ones that are attached in place of core.
func (l *loader) spares(core []string, n int) (load, attach []string) {
	for _, name := range core {
		kind, suffix, _ := strings.Cut(name, "_")
		load = append(load, kind+"_spared_"+suffix)
		attach = append(attach, kind+"_first_"+suffix)
		for i := range n - 1 {
			one := kind + "_spare_" + suffix
			numbered := fmt.Sprint(one, spare, i)
			l.spec.Programs[numbered] = l.spec.Programs[one].Copy()
			attach = append(attach, numbered)
		}
	}
	return append(load, attach...), attach
}

// spared is what a program of spares is for: the program that it runs, and the map
// by which it reaches that. "", "" for any other program.
func spared(name string) (program, target string) {
	name, _, _ = strings.Cut(name, spare)
	kind, rest, _ := strings.Cut(name, "_")
	which, suffix, _ := strings.Cut(rest, "_")
	if which != "first" && which != "spare" {
		return "", ""
	}
	return kind + "_spared_" + suffix, kind + "_target"
}

// spareEvery is how long a difference between the events that there were and those
// that were taken must last to be events that nobody took: one that is under way
// makes a difference, too.
const spareEvery = time.Second

// spares counts the events that the kernel left all programs of a tracepoint out for.
type spares struct {
	groups []spareGroup
	since  int64 // begin of the time that least is of, ns on the boot clock
	before int64 // of the one before it
	unsure bool  // there is a difference that was not told
}

type spareGroup struct {
	kind  event.Kind
	first *ebpf.Program
	least int64 // least number of events that nobody took, in spareEvery
	told  int64
}

// spareCounts is struct spare_counts of bpf/spare.h.
type spareCounts struct{ Ran, Taken [kindMax]uint64 }

// missed is how many events nobody took, or has not taken yet.
func (g *spareGroup) missed(counts []spareCounts) (n int64, err error) {
	stats, err := g.first.Stats()
	if err != nil {
		return 0, err
	}
	n = int64(stats.RecursionMisses)
	for _, c := range counts {
		n += int64(c.Ran[g.kind]) - int64(c.Taken[g.kind])
	}
	return n, nil
}

// appendSpared adds a gap for each kind of which there were events that nobody took.
// How many of these were of processes is not known, but for execs.
func (s *ring) appendSpared(batch []event.Event) []event.Event {
	sp := &s.spares
	if len(sp.groups) == 0 {
		return batch
	}
	now := source.ClockNow(unix.CLOCK_BOOTTIME)
	if sp.since == 0 {
		sp.since, sp.before = s.looked, s.looked
	}
	var counts []spareCounts
	if err := s.collections[0].Maps["spare_counts"].Lookup(uint32(0), &counts); err != nil {
		return batch
	}
	s.mu.Lock()
	over := s.detached || now-sp.since >= int64(spareEvery) // what is detached is not under way
	s.mu.Unlock()
	sp.unsure = false
	for i := range sp.groups {
		g := &sp.groups[i]
		n, err := g.missed(counts)
		if err != nil {
			continue
		}
		sp.unsure = sp.unsure || n != g.told
		if g.least = min(g.least, n); !over {
			continue
		}
		if g.least > g.told {
			gap := event.Gap{Of: g.kind, Cause: "tasks were preempted inside of all programs"}
			known := event.Known(0)
			if g.kind == event.KindExec {
				gap.Lost, known = uint64(g.least-g.told), event.KnownLost
			}
			batch = append(batch, s.gap(sp.before, known, gap))
			g.told = g.least
		}
		g.least = math.MaxInt64
	}
	if over {
		sp.before, sp.since = sp.since, now
	}
	return batch
}
