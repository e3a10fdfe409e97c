//go:build linux

// Bench measures, side by side in one run, what recording every exec costs: no
// agent, the BPF programs alone, procmond, the whole agent, and other tools
// where they are installed. It needs root and a C compiler for the load.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "hooks-only" {
		exit(hooksOnly())
	}
	var b bench
	flag.IntVar(&b.execs, "execs", 30000, "execs of one burst")
	flag.IntVar(&b.rounds, "rounds", 3, "rounds; each runs every row once")
	flag.IntVar(&b.alerts, "alerts", 200, "execs for the alert latency")
	flag.DurationVar(&b.idle, "idle", 20*time.Second, "how long to watch the idle agent")
	flag.StringVar(&b.bin, "bin", "bin", "directory of procmond and sentineld")
	flag.StringVar(&b.only, "only", "", "run only rows whose name contains this (and the first)")
	flag.Parse()
	exit(b.run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

type bench struct {
	execs, rounds, alerts int
	idle                  time.Duration
	bin, only             string

	dir         string // scratch, removed at the end
	storm, tiny string
}

func (b *bench) run() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("needs root, to load BPF programs (run: sudo make bench)")
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "sentineld-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	if b.bin, err = filepath.Abs(b.bin); err != nil {
		return err
	}
	if err := b.build(); err != nil {
		return err
	}
	fmt.Printf("%d CPUs, Linux %s, %s; %d rounds of %d execs by 2 workers, medians\n\n", runtime.NumCPU(), kernel(), runtime.Version(), b.rounds, b.execs)
	if err := b.burst(); err != nil {
		return err
	}
	if b.only != "" {
		return nil
	}
	if err := b.latency(); err != nil {
		return err
	}
	return b.rest()
}

// build makes the load's two programs.
func (b *bench) build() error {
	cc := ""
	for _, c := range []string{os.Getenv("CC"), "cc", "gcc", "clang"} {
		if c == "" {
			continue
		}
		if p, err := exec.LookPath(c); err == nil {
			cc = p
			break
		}
	}
	if cc == "" {
		return fmt.Errorf("needs a C compiler for the load (install gcc or clang)")
	}
	b.storm, b.tiny = filepath.Join(b.dir, "storm"), filepath.Join(b.dir, "tiny")
	for out, args := range map[string][]string{
		b.storm: {"-O2", "-static", "-o", b.storm, "bench/load/storm.c"},
		b.tiny:  {"-O2", "-static", "-nostdlib", "-s", "-o", b.tiny, "bench/load/tiny.c"},
	} {
		if msg, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", out, err, msg)
		}
	}
	return nil
}

func kernel() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return strings.TrimSpace(string(b))
}

func median[T ~int64 | ~float64](v []T) T {
	if len(v) == 0 {
		return 0
	}
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}
