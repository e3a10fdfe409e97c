//go:build linux

// Bench measures, side by side in one run, what recording every exec costs: no
// agent, the BPF programs alone, procmond, the whole agent, and other tools
// where they are installed; then what failed execs cost, what a storm does to
// buffers and memory, how long an alert takes, and what rest costs. It needs
// root and a C compiler for the load.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
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
	flag.DurationVar(&b.lasts, "storm", time.Minute, "how long the storm lasts")
	flag.StringVar(&b.section, "section", "", "run only this section: "+strings.Join(sectionNames(), ", "))
	flag.StringVar(&b.bin, "bin", "bin", "directory of procmond and sentineld")
	flag.StringVar(&b.only, "only", "", "run only rows whose name contains this (and the first), and without -section only the burst")
	flag.Parse()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		b.cleanUp()
		exit(errors.New("interrupted"))
	}()
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
	idle, lasts           time.Duration
	bin, only, section    string

	dir                string // scratch, removed at the end
	storm, tiny, calls string
	mark               string // of this run: the last argument of each exec of the load

	audited bool // auditd has run

	mu   sync.Mutex
	undo []func() error // guarded by mu; one or two for each program that was started
}

// sections are what can be measured, in this order.
var sections = []struct {
	name string
	run  func(*bench) error
}{
	{"burst", (*bench).burst},
	{"failed", (*bench).failed},
	{"storm", (*bench).storms},
	{"latency", (*bench).latency},
	{"rest", (*bench).rest},
}

func sectionNames() (names []string) {
	for _, s := range sections {
		names = append(names, s.name)
	}
	return names
}

func (b *bench) run() error {
	only := b.section
	switch {
	case only != "" && !slices.Contains(sectionNames(), only):
		return fmt.Errorf("-section %s: want one of %s", only, strings.Join(sectionNames(), ", "))
	case b.execs < 2 || b.rounds < 1 || b.alerts < 1:
		return fmt.Errorf("-execs %d -rounds %d -alerts %d: want at least 2, 1 and 1", b.execs, b.rounds, b.alerts)
	case b.idle <= 0 || b.lasts < time.Second:
		return fmt.Errorf("-idle %v -storm %v: want more than 0, and at least 1s", b.idle, b.lasts)
	case os.Geteuid() != 0:
		return fmt.Errorf("needs root, to load BPF programs (run: sudo make bench)")
	case only == "" && b.only != "":
		only = "burst"
	}
	var err error
	if b.dir, err = os.MkdirTemp("", "sentineld-bench-"); err != nil {
		return err
	}
	defer b.cleanUp()
	b.mark = fmt.Sprintf("sentineld-load-%d", os.Getpid())
	if b.bin, err = filepath.Abs(b.bin); err != nil {
		return err
	}
	if err := b.build(); err != nil {
		return err
	}
	fmt.Printf("%d CPUs, Linux %s, %s\n", runtime.NumCPU(), kernel(), runtime.Version())
	for _, s := range sections {
		if only != "" && only != s.name {
			continue
		}
		if err := s.run(b); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// later has f done at the end of the run, also of one that is interrupted, and
// returns it as a function that does it once.
func (b *bench) later(f func() error) func() error {
	once := sync.OnceValue(f)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.undo = append(b.undo, once)
	return once
}

// cleanUp ends what still runs and puts back what was changed.
func (b *bench) cleanUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range slices.Backward(b.undo) {
		if err := f(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
	_ = os.RemoveAll(b.dir)
}

// build makes the load's programs.
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
	b.storm, b.tiny, b.calls = filepath.Join(b.dir, "storm"), filepath.Join(b.dir, "tiny"), filepath.Join(b.dir, "calls")
	for out, args := range map[string][]string{
		b.storm: {"-O2", "-static", "-o", b.storm, "bench/load/storm.c"},
		b.calls: {"-O2", "-static", "-o", b.calls, "bench/load/calls.c"},
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
