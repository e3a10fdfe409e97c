//go:build linux && (amd64 || arm64)

package ebpf

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
	"github.com/sentineld/sentineld/internal/testenv"
)

// TestSpares wants each event once, whichever of the programs at its tracepoint is
// left out, where many more processes than there are CPUs are busy.
func TestSpares(t *testing.T) {
	const workers, each = 20, 40
	for _, n := range []int{1, 2, numSpares} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := start(t, Options{spares: n})
			var wg sync.WaitGroup
			var mu sync.Mutex
			args := map[uint32]string{} // by pid
			for w := range workers {
				wg.Go(func() {
					for i := range each {
						arg := fmt.Sprintf("%d-%d-%s", w, i, strings.Repeat("x", 50*i))
						cmd := exec.Command("/bin/true", arg)
						if err := cmd.Run(); err != nil {
							t.Error(err)
							return
						}
						mu.Lock()
						args[uint32(cmd.Process.Pid)] = arg
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			r.stop()
			seen := map[string]int{}
			lost, execs, lostExecs := 0, 0, 0
			for _, e := range r.all {
				switch arg, ok := args[e.Process.PID]; {
				case e.Kind == event.KindGap:
					lost++
					if e.Gap.Of == event.KindExec {
						lostExecs += int(e.Gap.Lost)
					}
					t.Logf("%s: %s, %d", e.Gap.Of, e.Gap.Cause, e.Gap.Lost)
				case !ok:
				case e.Kind == event.KindExec && (e.Exec.Args != "/bin/true\x00"+arg+"\x00" || e.Exec.Exe == ""):
					t.Errorf("pid %d executed %q, told is %q %q", e.Process.PID, arg, e.Exec.Exe, e.Exec.Args)
				default:
					if e.Kind == event.KindExec {
						execs++
					}
					seen[fmt.Sprint(e.Kind, " of ", e.Process.PID)]++
				}
			}
			for what, n := range seen {
				if n != 1 {
					t.Errorf("%s was told %d times", what, n)
				}
			}
			// One or two may not be enough, and say so. Others' execs may be lost, too.
			want := 3 * workers * each
			if len(args) == workers*each && len(seen) != want && (n == numSpares || lost == 0) || n == numSpares && lost > 0 {
				t.Errorf("%d of %d events were told, with %d gaps", len(seen), want, lost)
			}
			if execs+lostExecs < workers*each {
				t.Errorf("%d execs were told and %d counted as lost, of %d", execs, lostExecs, workers*each)
			}
		})
	}
}

// The raw form takes the place of the other where that does not load.
func TestSparesRaw(t *testing.T) {
	testenv.NeedBPF(t)
	o := Options{spares: 3}
	o.FillDefaults()
	l, err := newLoader(o)
	if err != nil {
		t.Fatal(err)
	}
	s, err := open(o, l, ebpf.RawTracepoint)
	if err != nil {
		t.Fatal(err)
	}
	go s.run()
	r := &recording{t: t, src: source.Source(s)}
	if err := exec.Command("/bin/true", "raw-spares").Run(); err != nil {
		t.Fatal(err)
	}
	r.stop()
	n := 0
	for _, e := range r.all {
		if e.Kind == event.KindExec && e.Exec.Args == "/bin/true\x00raw-spares\x00" {
			n++
		}
	}
	if n != 1 || len(s.spares.groups) != 3 || len(s.links) < 9 {
		t.Errorf("told %d times, by %d programs: %+v", n, len(s.links), s.spares.groups)
	}
}
