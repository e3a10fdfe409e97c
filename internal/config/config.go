// Package config gathers the settings of sentineld from its layers: defaults,
// files, environment, flags; the later wins. Every option is a field of Config
// and named by its path in a file, such as store.batch_rows; an error says
// where the value was set, what is wrong with it and how to mend it.
package config

import (
	"fmt"
	"time"
)

// Config is all settings. The tags are the names in files and, upper-case and
// joined by underscores behind SENTINELD_, in the environment.
type Config struct {
	DataDir   string    `yaml:"data_dir"` // where the store is kept
	Log       Log       `yaml:"log"`
	Collector Collector `yaml:"collector"`
	Store     Store     `yaml:"store"`
	Rules     Rules     `yaml:"rules"`
	Detect    Detect    `yaml:"detect"`
	Alerts    Alerts    `yaml:"alerts"`
}

// Log is what is logged to stderr.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text, json
}

// Collector is procmond: where it is, or how it is started.
type Collector struct {
	Source       string        `yaml:"source"`        // auto, ebpf, poll
	Socket       string        `yaml:"socket"`        // of one that runs; tried first
	Procmond     string        `yaml:"procmond"`      // program to start; "" = beside sentineld, then PATH
	RingBytes    int           `yaml:"ring_bytes"`    // kernel buffer, a power of two
	QueueBytes   int           `yaml:"queue_bytes"`   // held until they are stored
	ArgsMax      int           `yaml:"args_max"`      // bytes of arguments kept of one exec
	FlushDelay   time.Duration `yaml:"flush_delay"`   // how long an event may wait in the kernel
	PollInterval time.Duration `yaml:"poll_interval"` // between two looks when polling
}

// Store is how events are stored.
type Store struct {
	BatchRows  int           `yaml:"batch_rows"`  // events stored at once at most
	BatchDelay time.Duration `yaml:"batch_delay"` // how long an event waits for others
}

// Rules is which rules are evaluated.
type Rules struct {
	Defaults bool     `yaml:"defaults"` // those in the program
	Dirs     []string `yaml:"dirs"`     // and those in these directories
}

// Detect is how rules are evaluated.
type Detect struct {
	Deadline time.Duration `yaml:"deadline"` // for one evaluation of one rule
}

// Alerts is what happens with alerts beside storing them.
type Alerts struct {
	Output string        `yaml:"output"` // on stdout: text, json, none
	File   string        `yaml:"file"`   // JSON lines are appended to it; "" = none
	Fold   time.Duration `yaml:"fold"`   // repeats within it are counted, not raised
}

// Default is the configuration of a host on which nothing is configured.
func Default() Config {
	return Config{
		DataDir: defaultDataDir(),
		Log:     Log{Level: "info", Format: "text"},
		Collector: Collector{
			Source: "auto", Socket: defaultSocket, RingBytes: 8 << 20, QueueBytes: 8 << 20, ArgsMax: 64 << 10,
			FlushDelay: 50 * time.Millisecond, PollInterval: time.Second,
		},
		Store:  Store{BatchRows: 1000, BatchDelay: 250 * time.Millisecond},
		Rules:  Rules{Defaults: true},
		Detect: Detect{Deadline: 2 * time.Second},
		Alerts: Alerts{Output: "text", Fold: time.Hour},
	}
}

// check lists what is wrong with the values, by path.
func (c *Config) check() []fault {
	var faults []fault
	fail := func(path, format string, args ...any) {
		faults = append(faults, fault{path, fmt.Sprintf(format, args...)})
	}
	oneOf := func(path, value string, allowed ...string) {
		for _, a := range allowed {
			if value == a {
				return
			}
		}
		fail(path, "%q is none of %v", value, allowed)
	}
	number := func(path string, value, low, high int) {
		if value < low || value > high {
			fail(path, "%d is not between %d and %d", value, low, high)
		}
	}
	duration := func(path string, value, low, high time.Duration) {
		if value < low || value > high {
			fail(path, "%v is not between %v and %v", value, low, high)
		}
	}
	if c.DataDir == "" {
		fail("data_dir", "it is empty")
	}
	oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	oneOf("log.format", c.Log.Format, "text", "json")
	oneOf("collector.source", c.Collector.Source, "auto", "ebpf", "poll")
	number("collector.ring_bytes", c.Collector.RingBytes, 4096, 1<<30)
	if n := c.Collector.RingBytes; n&(n-1) != 0 {
		fail("collector.ring_bytes", "%d is not a power of two", n)
	}
	number("collector.queue_bytes", c.Collector.QueueBytes, 256<<10, 1<<30)
	number("collector.args_max", c.Collector.ArgsMax, 1024, 128<<10)
	duration("collector.flush_delay", c.Collector.FlushDelay, time.Millisecond, time.Second)
	duration("collector.poll_interval", c.Collector.PollInterval, 10*time.Millisecond, time.Hour)
	number("store.batch_rows", c.Store.BatchRows, 1, 100_000)
	duration("store.batch_delay", c.Store.BatchDelay, time.Millisecond, 10*time.Second)
	duration("detect.deadline", c.Detect.Deadline, 10*time.Millisecond, time.Minute)
	oneOf("alerts.output", c.Alerts.Output, "text", "json", "none")
	duration("alerts.fold", c.Alerts.Fold, 0, 30*24*time.Hour)
	return faults
}

// fault is a value that cannot be.
type fault struct{ path, problem string }
