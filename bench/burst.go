//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// settleTime is how long an agent may go on with a burst behind it.
const settleTime = 50 * time.Second

// unusableError is why an agent does not start here.
type unusableError struct{ error }

func (u unusableError) Unwrap() error { return u.error }

// leftOut says in one line that there is no row, and why, if a row may be left
// out for this error.
func (r row) leftOut(err error) bool {
	var u unusableError
	if !r.optional || !errors.As(err, &u) {
		return false
	}
	first, _, _ := strings.Cut(u.Error(), "\n")
	fmt.Printf("no row %q: %s\n", r.name, first)
	return true
}

// result is one burst under one agent.
type result struct {
	wall        time.Duration
	workloadCPU time.Duration
	agentCPU    []time.Duration // by process, in the order of agent.pids
	peakRSS     []int64         // bytes, likewise
	events      int64           // recorded, -1 = it does not say
	lost        int64           // by its own count or by ours, -1 = it does not say
	bytes       int64           // on disk
}

// burst runs every row in every round and prints the table.
func (b *bench) burst() error {
	fmt.Printf("\nburst: %d execs by 2 workers, %d rounds, medians\n", b.total(), b.rounds)
	rows := b.rows()
	results := make([][]result, len(rows))
	out := make([]bool, len(rows))
	for range b.rounds {
		for i, r := range rows {
			if out[i] {
				continue
			}
			res, err := b.one(r)
			switch out[i] = r.leftOut(err); {
			case out[i]:
			case err != nil:
				return fmt.Errorf("%s: %w", r.name, err)
			default:
				results[i] = append(results[i], res)
			}
		}
	}
	fmt.Printf("%-26s %10s %8s %8s %12s %-24s %14s %10s\n", "row", "events", "lost", "wall x", "workload us", "agent CPU us/exec", "peak RSS MiB", "B/event")
	for i, r := range rows {
		if out[i] {
			continue
		}
		fmt.Println(b.line(r, results[0], results[i]))
	}
	fmt.Printf("\nevents and lost: all bursts together (of others: execs of the load whose arguments are not in their output). wall x:\n"+
		"to the first row of the same round, which took %v. workload us: CPU of the load per exec beyond the first row's. An\n"+
		"exec is three events: fork, exec, exit; the aim for procmond is 6 us of CPU for the three. CPU of auditd: with kauditd's.\n", median(walls(results[0])).Round(time.Millisecond))
	if b.audited {
		fmt.Println("auditd has run: until the next boot the kernel makes every new process ready for audit, unless a rule says -a never,task.")
	}
	return nil
}

func walls(results []result) (all []time.Duration) {
	for _, r := range results {
		all = append(all, r.wall)
	}
	return all
}

func (b *bench) line(r row, base, mine []result) string {
	var ratio, extra []float64
	var cpu, rss [][]float64
	var events, lost int64
	var perEvent []float64
	for i, m := range mine {
		n := float64(b.execs)
		ratio = append(ratio, m.wall.Seconds()/base[i].wall.Seconds())
		extra = append(extra, float64((m.workloadCPU-base[i].workloadCPU).Microseconds())/n)
		for j := range m.agentCPU {
			if i == 0 {
				cpu, rss = append(cpu, nil), append(rss, nil)
			}
			cpu[j] = append(cpu[j], float64(m.agentCPU[j].Microseconds())/n)
			rss[j] = append(rss[j], float64(m.peakRSS[j])/(1<<20))
		}
		events += m.events
		lost += m.lost
		if m.events > 0 && m.bytes > 0 {
			perEvent = append(perEvent, float64(m.bytes)/float64(m.events))
		}
	}
	number := func(n int64, known bool) string {
		if !known {
			return "-"
		}
		return strconv.FormatInt(n, 10)
	}
	each := func(lists [][]float64) string {
		if len(lists) == 0 {
			return "-"
		}
		var parts []string
		sum := 0.0
		for _, l := range lists {
			parts = append(parts, fmt.Sprintf("%.1f", median(l)))
			sum += median(l)
		}
		if len(parts) == 1 {
			return parts[0]
		}
		return fmt.Sprintf("%.1f (%s)", sum, strings.Join(parts, "+"))
	}
	bytes := "-"
	if len(perEvent) > 0 {
		bytes = fmt.Sprintf("%.0f", median(perEvent))
	}
	return fmt.Sprintf("%-26s %10s %8s %8.3f %12.1f %-24s %14s %10s", r.name,
		number(events, mine[0].events >= 0), number(lost, mine[0].lost >= 0), median(ratio), median(extra), each(cpu), each(rss), bytes)
}

// one starts the row's agent, runs the load, lets the agent finish and stops it.
func (b *bench) one(r row) (result, error) {
	res := result{events: -1, lost: -1}
	var a *running
	if r.start != nil {
		var err error
		if a, err = r.start(b); err != nil {
			return res, unusableError{err}
		}
		defer a.kill()
		time.Sleep(time.Second) // lets its start-up settle: what follows is measured
		for _, pid := range a.pids {
			c, err := cpuTime(pid)
			if err != nil {
				return res, err
			}
			res.agentCPU = append(res.agentCPU, -c)
		}
	}
	l, err := b.startLoad(strconv.Itoa(b.execs / 2))
	if err == nil {
		err = l.wait()
	}
	if err != nil {
		return res, err
	}
	res.wall, res.workloadCPU = l.wall, l.cpu
	if a == nil {
		return res, nil
	}
	if err := a.settle(settleTime); err != nil {
		return res, err
	}
	for i, pid := range a.pids {
		c, err := cpuTime(pid)
		if err != nil {
			return res, err
		}
		res.agentCPU[i] += c
		res.peakRSS = append(res.peakRSS, statusKiB(pid, "VmHWM:")<<10)
	}
	if err := a.stop(); err != nil {
		return res, err
	}
	if a.count != nil {
		if err := a.count(&res); err != nil {
			return res, err
		}
	}
	return res, nil
}

// load is the two workers.
type load struct {
	begin   time.Time
	workers []*exec.Cmd
	printed []strings.Builder

	// After wait.
	wall, cpu time.Duration
	execs     int64
}

// startLoad starts the workers; amount is storm's: a number of execs for each, or
// seconds, as in 5s.
func (b *bench) startLoad(amount string) (*load, error) {
	l := &load{begin: time.Now(), printed: make([]strings.Builder, 2)}
	for i := range l.printed {
		w := exec.Command(b.storm, amount, b.tiny, strconv.Itoa(os.Getpid()))
		w.Stdout = &l.printed[i]
		if err := w.Start(); err != nil {
			return nil, err
		}
		b.later(func() error { _ = w.Process.Kill(); return nil })
		l.workers = append(l.workers, w)
	}
	return l, nil
}

func (l *load) wait() error {
	for i, w := range l.workers {
		if err := w.Wait(); err != nil {
			return fmt.Errorf("load: %w", err)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(l.printed[i].String()), 10, 64)
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		l.execs += n
		ru := w.ProcessState.SysUsage().(*syscall.Rusage) // with its children's
		l.cpu += time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
	}
	l.wall = time.Since(l.begin)
	return nil
}

// cpuTime is what a process has used, threads that have ended included: by its
// CPU clock, as clock_getcpuclockid(3) names it.
func cpuTime(pid int) (time.Duration, error) {
	const perProcess = 2 // CPUCLOCK_SCHED of linux/posix-timers.h
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|perProcess, &ts); err != nil {
		return 0, fmt.Errorf("read CPU clock of %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

func statusKiB(pid int, field string) int64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n
		}
	}
	return 0
}
