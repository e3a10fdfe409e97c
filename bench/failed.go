//go:build linux

package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// The calls of one measurement: of a system call that does next to nothing, and
// of an execve that fails.
const (
	cheapCalls = 5_000_000
	failing    = 20_000
)

// failed measures what recording failed execs costs: each of them, and where the
// kernel offers no other way every system call of the host.
func (b *bench) failed() error {
	rows := []row{
		{"no agent", nil, false},
		{"procmond", startProcmond(), false},
		{"procmond --exec-failures", startProcmond("--exec-failures"), true},
	}
	out := make([]bool, len(rows))
	cheap, execs := make([][]float64, len(rows)), make([][]float64, len(rows))
	lost := make([]int64, len(rows))
	for range b.rounds {
		for i, r := range rows {
			if out[i] {
				continue
			}
			c, e, l, err := b.failedOne(r)
			switch out[i] = r.leftOut(err); {
			case out[i]:
			case err != nil:
				return fmt.Errorf("%s: %w", r.name, err)
			default:
				cheap[i], execs[i] = append(cheap[i], c), append(execs[i], e)
				lost[i] += l
			}
		}
	}
	fmt.Printf("\nfailed execs: CPU in ns of one call, %d of getppid(2) and %d of an execve(2) that fails, %d rounds, medians\n", cheapCalls, failing, b.rounds)
	for i, r := range rows {
		if out[i] {
			continue
		}
		fmt.Printf("%-26s getppid %8.1f  failing execve %8.0f", r.name, median(cheap[i]), median(execs[i]))
		if strings.Contains(r.name, "--exec-failures") {
			fmt.Printf("  lost %d", lost[i])
		}
		fmt.Println()
	}
	return nil
}

// failedOne measures both calls under one agent. Failures that it should have
// told and neither told nor counted as lost are an error.
func (b *bench) failedOne(r row) (cheap, execs float64, lost int64, err error) {
	var a *running
	if r.start != nil {
		if a, err = r.start(b); err != nil {
			return 0, 0, 0, unusableError{err}
		}
		defer a.kill()
		time.Sleep(time.Second) // lets its start-up settle: what follows is measured
	}
	if cheap, err = b.call("getppid", cheapCalls); err != nil {
		return 0, 0, 0, err
	}
	if execs, err = b.call("execve", failing); err != nil || a == nil {
		return cheap, execs, 0, err
	}
	if err = a.stop(); err != nil {
		return 0, 0, 0, err
	}
	var seen result
	if err = a.count(&seen); err == nil && strings.Contains(r.name, "--exec-failures") && seen.events+seen.lost < failing {
		err = fmt.Errorf("%d events and %d lost of %d failed execs", seen.events, seen.lost, failing)
	}
	return cheap, execs, seen.lost, err
}

// call is how long one call takes, in ns.
func (b *bench) call(name string, n int) (float64, error) {
	out, err := exec.Command(b.calls, name, strconv.Itoa(n)).Output()
	if err != nil {
		return 0, fmt.Errorf("calls %s: %w", name, err)
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}
