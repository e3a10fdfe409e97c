package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/testenv"
)

// witness is a procmond of its own, whose buffer is large enough for everything:
// what it saw is what happened.
type witness struct {
	*testing.T
	cmd *exec.Cmd
	out string // file
	log syncBuffer
}

func startWitness(l *lab) *witness {
	l.Helper()
	w := &witness{T: l.T, out: filepath.Join(l.TempDir(), "witness.ndjson")}
	f, err := os.Create(w.out)
	if err != nil {
		l.Fatal(err)
	}
	defer f.Close()
	w.cmd = exec.Command(filepath.Join(l.bin, "procmond"), "run", "--output", "json", "--ring-bytes", strconv.Itoa(64<<20))
	w.cmd.Stdout, w.cmd.Stderr = f, &w.log
	if err := w.cmd.Start(); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { _ = w.cmd.Process.Kill(); _ = w.cmd.Wait() })
	l.wait("the witness", func() bool { return strings.Contains(w.log.String(), "collecting") })
	return w
}

// happening names a kind of event of a process.
type happening struct{ kind, process string }

// stop ends the witness and counts what it saw in a range of time.
func (w *witness) stop(from, until int64) map[happening]int {
	w.Helper()
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		w.Fatal(err)
	}
	if err := w.cmd.Wait(); err != nil {
		w.Fatalf("witness: %v\n%s", err, &w.log)
	}
	data, err := os.ReadFile(w.out)
	if err != nil {
		w.Fatal(err)
	}
	seen := map[happening]int{}
	for line := range bytes.Lines(data) {
		var e struct {
			Kind, Source, Process string
			TS                    int64
		}
		if err := json.Unmarshal(line, &e); err != nil {
			w.Fatalf("witness: %q: %v", line, err)
		}
		if e.Kind == "gap" {
			w.Fatalf("the witness itself lost events: %s", line)
		}
		if e.Kind == "hash" { // of an exec that was seen, and no loss where it is missing
			continue
		}
		if e.Source == "ebpf" && from <= e.TS && e.TS <= until {
			seen[happening{e.Kind, e.Process}]++
		}
	}
	return seen
}

// stored counts what the store holds of a range of time, snapshots aside.
func (l *lab) stored(from, until int64) map[happening]int {
	l.Helper()
	var parts []string
	for kind, view := range map[string]string{"exec": "execs", "fork": "forks", "exit": "exits"} {
		parts = append(parts, fmt.Sprintf("SELECT '%s' AS kind, process, count(*) AS n FROM %s WHERE source = 'ebpf' AND ts BETWEEN %d AND %d GROUP BY process",
			kind, view, from, until))
	}
	rows, _ := l.query(strings.Join(parts, " UNION ALL "))
	m := map[happening]int{}
	for _, r := range rows {
		m[happening{r["kind"].(string), r["process"].(string)}] = int(r["n"].(float64))
	}
	return m
}

// missing counts by kind what was seen and is not stored.
func missing(seen, stored map[happening]int) map[string]int {
	m := map[string]int{}
	for h, n := range seen {
		if d := n - stored[h]; d > 0 {
			m[h.kind] += d
		}
	}
	return m
}

// readersApart is how far the times of two readers of one event may be apart.
const readersApart = 100 * int64(time.Millisecond)

// storm executes a tiny program n times, as fast as it can, in two workers.
func storm(t *testing.T, n int) {
	t.Helper()
	tiny := testenv.TinyProgram(t, t.TempDir())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range n / 2 {
				pid, err := syscall.ForkExec(tiny, []string{"tiny"}, &syscall.ProcAttr{})
				if err == nil {
					_, err = syscall.Wait4(pid, nil, 0, nil)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// alive lists the processes of /proc that have not ended, with their executables
// ("" = cannot be told).
func alive(t *testing.T) map[string]string {
	t.Helper()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	for _, dir := range dirs {
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from state, the third of proc_pid_stat(5)
		if fields[0] == "X" || fields[0] == "Z" && fields[17] == "1" {            // a first thread may end before the others
			continue
		}
		exe, err := os.Readlink(dir + "/exe")
		if err != nil || strings.HasSuffix(exe, " (deleted)") {
			exe = ""
		}
		m[fmt.Sprintf("%s-%s-%s", boot[:8], filepath.Base(dir), fields[19])] = exe
	}
	return m
}

// waitTable waits until the living processes of the store are those of /proc,
// with what they execute. Processes that came or went while the two were compared
// say nothing.
func (l *lab) waitTable() {
	l.Helper()
	var wrong []string
	defer func() {
		if l.Failed() {
			l.Logf("the store and /proc differ: %s", strings.Join(wrong, "; "))
		}
	}()
	l.wait("the process table to be that of /proc", func() bool {
		wrong = nil
		began := l.ticks()
		before := alive(l.T)
		rows, n := l.query("SELECT process, exe FROM processes WHERE ended IS NULL")
		after := alive(l.T)
		ended := l.ticks()
		table := map[string]string{}
		for _, r := range rows {
			p, exe := r["process"].(string), ""
			if s, ok := r["exe"].(string); ok {
				exe = s
			}
			table[p] = exe
			_, was := before[p]
			if is, ok := after[p]; !ok && !was && (l.startOf(p) < began || l.startOf(p) > ended) {
				wrong = append(wrong, fmt.Sprintf("%s %s has ended", p, exe))
			} else if was && ok && is == before[p] && is != "" && is != exe {
				wrong = append(wrong, fmt.Sprintf("%s executes %s, not %q", p, is, exe))
			}
		}
		for p, exe := range before {
			_, is := after[p]
			if _, ok := table[p]; is && !ok {
				wrong = append(wrong, fmt.Sprintf("%s %s is missing", p, exe))
			}
		}
		return n > 0 && len(wrong) == 0
	})
}

// ticks is the boot clock in the ticks of identities.
func (l *lab) ticks() uint64 {
	l.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		l.Fatal(err)
	}
	return event.TicksOf(uint64(ts.Nano()))
}

// startOf is the last part of an identity.
func (l *lab) startOf(process string) uint64 {
	l.Helper()
	n, err := strconv.ParseUint(process[strings.LastIndexByte(process, '-')+1:], 10, 64)
	if err != nil {
		l.Fatal(err)
	}
	return n
}

// lostSince sums up the gaps that were told after a time: by kind, and their
// range.
func (l *lab) lostSince(t0 int64) (lost map[string]int, from, until int64) {
	l.Helper()
	rows, _ := l.query(fmt.Sprintf("SELECT ts, until, kind, lost, cause FROM gaps WHERE until > %d", t0))
	lost = map[string]int{}
	for _, r := range rows {
		n, ok := r["lost"].(float64)
		if !ok {
			l.Errorf("nobody counted what was lost: %v", r)
			continue
		}
		lost[r["kind"].(string)] += int(n)
		if ts := l.time(r["ts"]); from == 0 || ts < from {
			from = ts
		}
		until = max(until, l.time(r["until"]))
	}
	return lost, from, until
}

// time is a column in Unix ns; a float64 is exact to 256 ns.
func (l *lab) time(v any) int64 { return int64(v.(float64)) }

func wantCounted(t *testing.T, lost, missed map[string]int) {
	t.Helper()
	if !maps.Equal(lost, missed) {
		t.Errorf("gaps tell of %v, and %v are missing", lost, missed)
	}
	t.Logf("lost and counted: %v", lost)
}

// TestTinyRing wants every event that a storm loses to be counted, and the
// process table to be right again afterwards.
func TestTinyRing(t *testing.T) {
	for _, ring := range []string{"4096", "65536"} {
		t.Run(ring, func(t *testing.T) {
			l := newLab(t)
			w := startWitness(l)
			t.Setenv("SENTINELD_COLLECTOR_RING_BYTES", ring)
			l.run("--alert-output", "none")
			<-time.After(300 * time.Millisecond) // what its start lost is told
			t0 := time.Now().UnixNano()
			// However slow the machine is, there is nobody to empty the ring for a while.
			procmond := l.procmond()
			if err := syscall.Kill(procmond, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			storm(t, 1000)
			if err := syscall.Kill(procmond, syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			storm(t, 3000)
			sleeper := exec.Command("/bin/sleep", "1000")
			if err := sleeper.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() }()
			l.waitTable()
			a, code := l.status()
			if a.State != health.Degraded || code != 3 || a.Loss.Gaps == 0 || a.Loss.Cause != "ring buffer full" || a.Collector.Resyncs == 0 ||
				!slices.ContainsFunc(a.Reasons, func(s string) bool { return strings.Contains(s, "ring buffer full") }) {
				t.Errorf("code %d, %v, %+v, %+v", code, a.Reasons, a.Loss, a.Collector)
			}
			t1 := time.Now().UnixNano()
			l.stop()
			lost, from, until := l.lostSince(t0)
			if lost["exec"] == 0 {
				t.Fatal("nothing was lost: the ring is not tiny, the test tests nothing")
			}
			seen := w.stop(from, max(until, t1))
			wantCounted(t, lost, missing(seen, l.stored(from-readersApart, max(until, t1)+readersApart)))
			l.want("SELECT count(*) AS n FROM gaps WHERE cause <> 'ring buffer full' OR source <> 'ebpf' OR until < ts", 0)
		})
	}
}

// TestQueueOverflow wants what procmond dropped while sentineld was away to be
// counted too, and nothing else to be called lost.
func TestQueueOverflow(t *testing.T) {
	l := newLab(t)
	w := startWitness(l)
	socket := filepath.Join(t.TempDir(), "p.sock")
	var log syncBuffer
	procmond := exec.Command(filepath.Join(l.bin, "procmond"), "run", "--socket", socket, "--queue-bytes", strconv.Itoa(256<<10))
	procmond.Stderr = &log
	if err := procmond.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = procmond.Process.Kill(); _ = procmond.Wait() }()
	l.wait("procmond to collect", func() bool { return strings.Contains(log.String(), "collecting") })
	l.run("--socket", socket, "--alert-output", "none")
	l.mark("before")
	t0 := time.Now().UnixNano()
	l.waitMark("before")
	l.kill()
	storm(t, 4000)
	l.run("--socket", socket, "--alert-output", "none")
	l.wait("the agent to be connected", func() bool { a, _ := l.status(); return a.Collector != nil })
	l.mark("behind")
	t1 := time.Now().UnixNano()
	l.waitMark("behind")
	l.waitTable()
	a, code := l.status()
	delete(a.Collector.Dropped, "hash") // counted, and no loss
	if a.State != health.Degraded || code != 3 || a.Loss.Cause != "sentineld was away and procmond's queue full" || a.Loss.Uncounted != 0 ||
		len(a.Loss.Events) == 0 || !maps.Equal(a.Loss.Events, a.Collector.Dropped) || a.Collector.Gaps == 0 {
		t.Errorf("code %d, %v, %+v, %+v", code, a.Reasons, a.Loss, a.Collector)
	}
	l.stop()
	lost, _, _ := l.lostSince(t0)
	if lost["exec"] == 0 {
		t.Fatal("nothing was lost: the queue is large enough, the test tests nothing")
	}
	seen := w.stop(t0, t1)
	wantCounted(t, lost, missing(seen, l.stored(t0-readersApart, t1+readersApart)))
	l.want("SELECT count(*) AS n FROM gaps WHERE cause <> 'sentineld was away and procmond''s queue full'", 0)
}

// TestProcmondKilledInStorm wants a gap for what nobody can have counted, and
// the process table to be right afterwards.
func TestProcmondKilledInStorm(t *testing.T) {
	l := newLab(t)
	l.run("--alert-output", "none")
	done := make(chan struct{})
	go func() {
		defer close(done)
		storm(t, 6000)
	}()
	l.wait("the storm", func() bool {
		_, n := l.query("SELECT 1 FROM execs WHERE cmdline = 'tiny' LIMIT 1")
		return n == 1
	})
	old := l.procmond()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-done
	l.wait("the gap", func() bool {
		_, n := l.query("SELECT 1 FROM gaps WHERE cause = 'procmond ended: signal: killed' AND lost IS NULL AND kind = 'any' AND until > ts")
		return n == 1
	})
	l.waitTable()
	a, code := l.status()
	if a.State != health.Degraded || code != 3 || a.Restarts != 1 || a.Loss.Uncounted != 1 || a.Loss.Cause != "procmond ended: signal: killed" ||
		a.Collector.PID == old || a.Store.LastGap == nil || a.Store.LastGap.Cause != a.Loss.Cause {
		t.Errorf("code %d, %v, %d restarts, %+v, %+v", code, a.Reasons, a.Restarts, a.Loss, a.Store.LastGap)
	}
	l.stop()
	l.want("SELECT count(*) AS n FROM gaps", 1)
	l.want("SELECT count(*) AS n FROM (SELECT pid FROM processes WHERE ended IS NULL GROUP BY pid HAVING count(*) > 1)", 0)
}
