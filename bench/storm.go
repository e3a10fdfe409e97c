//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sentineld/sentineld/internal/health"
)

const (
	// rssAfter is when the memory of a storm is looked at first: what grows from
	// there on grows without end.
	rssAfter = 20 * time.Second

	tinyRing  = 64 << 10 // bytes
	tinyLasts = 5 * time.Second

	// stormSettle is how long an agent may go on with a storm behind it.
	stormSettle = 10 * time.Minute
)

// storms measures what both CPUs full of execs do to buffers, memory and the
// process table.
func (b *bench) storms() error {
	at := min(rssAfter, b.lasts/3).Round(time.Second / 10)
	fmt.Printf("\nstorm: %v of fork+exec+exit by 2 workers, default buffers\n", b.lasts)
	fmt.Printf("%-26s %9s %8s %9s %8s %8s  %-22s %-22s %s\n", "row", "execs", "execs/s", "events", "lost", "missing",
		"RSS MiB after "+at.String(), "at the end", "ratio (aim 1.1)")
	if err := b.stormProcmond(at); err != nil {
		return fmt.Errorf("procmond: %w", err)
	}
	if err := b.stormAgent(at); err != nil {
		return fmt.Errorf("sentineld: %w", err)
	}
	fmt.Println("lost: as counted by the agent, 0 wanted. missing: of the load's forks, execs and exits, not in the store.")
	if err := b.stormTiny(); err != nil {
		return fmt.Errorf("ring of 64 KiB: %w", err)
	}
	return nil
}

// memory is the resident memory of an agent's programs, bytes.
type memory []int64

func (a *running) memory() (m memory) {
	for _, pid := range a.pids {
		m = append(m, statusKiB(pid, "VmRSS:")<<10)
	}
	return m
}

func (m memory) String() string {
	var parts []string
	for _, n := range m {
		parts = append(parts, fmt.Sprintf("%.1f", float64(n)/(1<<20)))
	}
	return strings.Join(parts, "+")
}

// over is how much each is of what it was.
func (m memory) over(early memory) string {
	var parts []string
	for i := range m {
		parts = append(parts, fmt.Sprintf("%.3f", float64(m[i])/float64(early[i])))
	}
	return strings.Join(parts, ", ")
}

// blow runs the load under an agent, looks at its memory in between and at the
// end of the load, and returns when the agent has done all.
func (b *bench) blow(a *running, lasts, at time.Duration, started func(*load) error) (l *load, early, late memory, err error) {
	if l, err = b.startLoad(seconds(lasts)); err != nil {
		return nil, nil, nil, err
	}
	if err := started(l); err != nil {
		return nil, nil, nil, err
	}
	looked := make(chan memory, 1)
	time.AfterFunc(time.Until(l.begin.Add(at)), func() { looked <- a.memory() })
	if err := l.wait(); err != nil {
		return nil, nil, nil, err
	}
	late = a.memory()
	return l, <-looked, late, a.settle(stormSettle)
}

// seconds is a duration as storm.c reads it.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) + "s" }

func stormLine(name string, l *load, r result, missing string, early, late memory) {
	fmt.Printf("%-26s %9d %8.0f %9d %8d %8s  %-22s %-22s %s\n", name, l.execs, float64(l.execs)/l.wall.Seconds(), r.events, r.lost, missing,
		early, late, late.over(early))
}

func (b *bench) stormProcmond(at time.Duration) error {
	a, err := startProcmond()(b)
	if err != nil {
		return err
	}
	defer a.kill()
	l, early, late, err := b.blow(a, b.lasts, at, func(*load) error { return nil })
	if err != nil {
		return err
	}
	if err := a.stop(); err != nil {
		return err
	}
	var r result
	if err := a.count(&r); err != nil {
		return err
	}
	stormLine("procmond > /dev/null", l, r, "-", early, late)
	return nil
}

func (b *bench) stormAgent(at time.Duration) error {
	dir, err := os.MkdirTemp(b.dir, "storm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	a, err := startAgentOn(b, dir)
	if err != nil {
		return err
	}
	defer a.kill()
	l, early, late, err := b.blow(a, b.lasts, at, func(*load) error { return nil })
	if err != nil {
		return err
	}
	caught := time.Since(l.begin) - l.wall
	table, err := b.table(dir)
	if err != nil {
		return err
	}
	if err := a.stop(); err != nil {
		return err
	}
	stored, err := b.stored(dir)
	if err != nil {
		return err
	}
	missing := 3*l.execs - stored.Execs - stored.Forks - stored.Exits
	stormLine("sentineld (whole agent)", l, result{events: stored.All, lost: stored.Lost}, strconv.FormatInt(missing, 10), early, late)
	fmt.Printf("%v after the load it was at rest again, and its process table %s.\n", caught.Round(time.Second/10), table)
	return nil
}

// stormTiny makes the kernel's buffer so small that most is lost, and holds what
// the agent tells of that against what was executed.
func (b *bench) stormTiny() error {
	dir, err := os.MkdirTemp(b.dir, "tiny-ring-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	boot, err := bootID()
	if err != nil {
		return err
	}
	a, err := startAgentOn(b, dir, "SENTINELD_COLLECTOR_RING_BYTES="+strconv.Itoa(tinyRing))
	if err != nil {
		return err
	}
	defer a.kill()
	begin := time.Now()
	lasts := min(tinyLasts, b.lasts)
	var workers []string
	l, _, _, err := b.blow(a, lasts, 0, func(l *load) error {
		for _, w := range l.workers {
			key, _, err := identity(boot, w.Process.Pid)
			if err != nil {
				return err
			}
			workers = append(workers, "'"+key+"'")
		}
		return nil
	})
	if err != nil {
		return err
	}
	table, err := b.table(dir)
	if err != nil {
		return err
	}
	out, _, err := b.ask("status", "--data-dir", dir, "-o", "json")
	if err != nil {
		return err
	}
	var s health.Agent
	if err := json.Unmarshal(out, &s); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	if s.Collector == nil {
		return fmt.Errorf("status has no collector: %s", out)
	}
	if err := a.stop(); err != nil {
		return err
	}
	fmt.Printf("\na ring of 64 KiB, %v of the same: %d execs, %.0f a second\n", lasts, l.execs, float64(l.execs)/l.wall.Seconds())
	gaps, err := b.account(dir, begin, l.execs, strings.Join(workers, ", "))
	if err != nil {
		return err
	}
	fmt.Printf("gap rows %d, re-syncs %d; the process table %s.\n", gaps, s.Collector.Resyncs, table)
	fmt.Println("lost: of all programs, since nobody can tell whose it was; the difference is what others lost meanwhile.")
	return nil
}

// account prints by kind what happened, what was lost and what is stored. A
// process is the load's if one of the workers was its parent.
func (b *bench) account(dir string, begin time.Time, execs int64, workers string) (gaps int64, err error) {
	var c struct{ Forks, Execs, Exits, LostForks, LostExecs, LostExits, Uncounted, Gaps int64 }
	load := "source = 'ebpf' AND process IN (SELECT process FROM processes WHERE parent IN (" + workers + "))"
	lost := fmt.Sprintf("SELECT coalesce(sum(lost), 0) FROM gaps WHERE until > %d AND kind = ", begin.UnixNano())
	err = b.query(dir, `SELECT
		(SELECT count(*) FROM forks WHERE `+load+`) AS forks,
		(SELECT count(*) FROM execs WHERE `+load+`) AS execs,
		(SELECT count(*) FROM exits WHERE `+load+`) AS exits,
		(`+lost+`'fork') AS lostforks, (`+lost+`'exec') AS lostexecs, (`+lost+`'exit') AS lostexits,
		(SELECT count(*) FROM gaps WHERE lost IS NULL OR kind = 'any') AS uncounted,
		(SELECT count(*) FROM gaps) AS gaps`, &c)
	if err != nil {
		return 0, err
	}
	fmt.Printf("%-6s %10s %10s %10s %12s %12s\n", "kind", "happened", "lost", "stored", "lost+stored", "difference")
	for _, k := range []struct {
		name         string
		lost, stored int64
	}{{"fork", c.LostForks, c.Forks}, {"exec", c.LostExecs, c.Execs}, {"exit", c.LostExits, c.Exits}} {
		fmt.Printf("%-6s %10d %10d %10d %12d %12d\n", k.name, execs, k.lost, k.stored, k.lost+k.stored, k.lost+k.stored-execs)
	}
	if c.Uncounted > 0 {
		fmt.Printf("%d gaps do not say what or how much was lost\n", c.Uncounted)
	}
	return c.Gaps, nil
}
