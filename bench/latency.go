//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// latencyRule fires once for each exec of the measurement.
const latencyRule = `id: bench-latency
title: An exec of the benchmark
severity: low
description: Fires for each exec that the benchmark makes.
sql: SELECT seq, process, cmdline FROM execs WHERE cmdline LIKE '%sentineld-latency-%'
key: [cmdline]
`

// latency measures from before an exec to its alert on the agent's output, with
// the shipped rules and one more.
func (b *bench) latency() error {
	dir, err := os.MkdirTemp(b.dir, "latency-")
	if err != nil {
		return err
	}
	rules := filepath.Join(dir, "rules")
	if err := os.Mkdir(rules, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(rules, "latency.yaml"), []byte(latencyRule), 0o644); err != nil {
		return err
	}
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := b.agent(dir, "--rules", rules, "--alert-output=json")
	cmd.Stdout = in
	a, err := b.startCommand(cmd, "collecting")
	in.Close()
	if err != nil {
		return err
	}
	defer a.kill()
	arrived := make(chan int, b.alerts)
	go func() {
		defer close(arrived)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var alert struct {
				Evidence struct{ Row struct{ Cmdline string } }
			}
			if json.Unmarshal(lines.Bytes(), &alert) != nil {
				continue
			}
			if _, n, ok := strings.Cut(alert.Evidence.Row.Cmdline, "sentineld-latency-"); ok {
				i, _ := strconv.Atoi(n)
				arrived <- i
			}
		}
	}()
	took := make([]time.Duration, 0, b.alerts)
	for i := range b.alerts {
		begin := time.Now()
		if err := exec.Command(b.tiny, "sentineld-latency-"+strconv.Itoa(i)).Run(); err != nil {
			return err
		}
		for deadline := time.After(10 * time.Second); len(took) <= i; {
			select {
			case n, ok := <-arrived:
				if !ok {
					return fmt.Errorf("the agent ended: %s", a.output())
				}
				if n == i {
					took = append(took, time.Since(begin))
				}
			case <-deadline:
				return fmt.Errorf("no alert for exec %d within 10 s: %s", i, a.output())
			}
		}
	}
	slices.Sort(took)
	fmt.Printf("\nfrom exec to alert, %d execs: p50 %v, p99 %v, max %v\n", len(took),
		took[len(took)/2].Round(time.Millisecond), took[len(took)*99/100].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	return a.stop()
}

// rest watches an agent that has nothing to do.
func (b *bench) rest() error {
	dir, err := os.MkdirTemp(b.dir, "idle-")
	if err != nil {
		return err
	}
	a, err := startAgentOn(b, dir)
	if err != nil {
		return err
	}
	defer a.kill()
	time.Sleep(3 * time.Second) // the snapshot
	before, err := a.use()
	if err != nil {
		return err
	}
	time.Sleep(b.idle)
	after, err := a.use()
	if err != nil {
		return err
	}
	if err := a.stop(); err != nil {
		return err
	}
	var n struct{ N int64 }
	if err := b.query(dir, fmt.Sprintf("SELECT count(*) AS n FROM execs WHERE source = 'ebpf' AND ts > %d", before.at.UnixNano()), &n); err != nil {
		return err
	}
	wall := after.at.Sub(before.at)
	fmt.Printf("at rest for %v: %.3f %% of a core, %d bytes written; %d execs of other programs happened meanwhile\n",
		wall.Round(time.Second), 100*(after.cpu-before.cpu).Seconds()/wall.Seconds(), after.written-before.written, n.N)
	return nil
}

type use struct {
	at      time.Time
	cpu     time.Duration
	written int64
}

// use is what the agent's programs have used so far.
func (a *running) use() (use, error) {
	u := use{at: time.Now()}
	for _, pid := range a.pids {
		c, err := cpuTime(pid)
		if err != nil {
			return u, err
		}
		u.cpu += c
		io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
		if err != nil {
			return u, err
		}
		for line := range strings.Lines(string(io)) {
			if rest, ok := strings.CutPrefix(line, "write_bytes:"); ok {
				n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
				if err != nil {
					return u, err
				}
				u.written += n
			}
		}
	}
	return u, nil
}
