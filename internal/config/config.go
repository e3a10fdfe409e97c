// Package config gathers the settings of sentineld from its layers: defaults,
// files, environment, flags; the later wins. Every option is a field of Config
// and named by its path in a file, such as store.batch_rows; an error says
// where the value was set, what is wrong with it and how to mend it.
package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/sentineld/sentineld/internal/pipeline"
)

// Config is all settings. The tags are the names in files and, upper-case and
// joined by underscores behind SENTINELD_, in the environment.
type Config struct {
	DataDir   string    `yaml:"data_dir" help:"directory of the store; /var/lib/sentineld for root, else below the user's state directory"`
	Log       Log       `yaml:"log"`
	Collector Collector `yaml:"collector"`
	Store     Store     `yaml:"store"`
	Redact    Redact    `yaml:"redact"`
	Rules     Rules     `yaml:"rules"`
	Detect    Detect    `yaml:"detect"`
	Alerts    Alerts    `yaml:"alerts"`
}

// Log is what is logged to stderr.
type Log struct {
	Level  string `yaml:"level" help:"least level that is logged to stderr: debug, info, warn or error"`
	Format string `yaml:"format" help:"form of the log: text or json"`
}

// Collector is procmond: where it is, or how it is started.
type Collector struct {
	Source       string        `yaml:"source" help:"where procmond reads events: auto (the best that opens), ebpf, procconn or poll"`
	Socket       string        `yaml:"socket" help:"of a procmond that runs; if none serves there, one is started"`
	Procmond     string        `yaml:"procmond" help:"program to start; empty: beside sentineld, then in PATH"`
	RingBytes    int           `yaml:"ring_bytes" help:"the kernel's buffer in bytes, a power of two from 4096 to 1 GiB"`
	QueueBytes   int           `yaml:"queue_bytes" help:"bytes of events that procmond holds until they are stored, 256 KiB to 1 GiB"`
	ArgsMax      int           `yaml:"args_max" help:"bytes of arguments kept of one exec, 1 to 128 KiB; what is cut is flagged"`
	ExecFailures bool          `yaml:"exec_failures" help:"record failed execs too; costs every system call of the host some time where the kernel takes no fexit programs"`
	Env          []string      `yaml:"env" help:"names of the environment variables to keep of each exec; NAME* stands for all that begin so"`
	BTF          string        `yaml:"btf" help:"file with the types of the running kernel (BTF), for one that has none itself"`
	FlushDelay   time.Duration `yaml:"flush_delay" help:"how long an event may wait in the kernel for others, 1ms to 1s"`
	PollInterval time.Duration `yaml:"poll_interval" help:"between two looks when polling, 10ms to 1h"`
	HashRate     int           `yaml:"hash_rate" help:"bytes of executables hashed a second, on average, at least 64 KiB; 0 hashes none"`
	HashMax      int           `yaml:"hash_max" help:"size in bytes of the largest executable that is hashed, at least 4 KiB"`
}

// Store is how events are stored.
type Store struct {
	BatchRows  int           `yaml:"batch_rows" help:"events stored in one transaction at most, 1 to 100,000"`
	BatchDelay time.Duration `yaml:"batch_delay" help:"how long an event waits for others to be stored with, 1ms to 10s"`
}

// Redact is which secrets are replaced before anything is stored.
type Redact struct {
	Enabled  bool     `yaml:"enabled" help:"replace secrets in arguments and environment before they are stored"`
	Flags    []string `yaml:"flags" help:"further flags with a secret, without dashes: my-cred is --my-cred X and --my-cred=X of any program"`
	Env      []string `yaml:"env" help:"further variables with a secret; * at an end stands for anything: MY_CRED, CORP_*"`
	Programs []string `yaml:"programs" help:"further flags with a secret of one program: mytool:-p, mytool:--pin, mytool:/p:"`
}

// Rules is which rules are evaluated.
type Rules struct {
	Defaults bool     `yaml:"defaults" help:"evaluate the built-in rules"`
	Dirs     []string `yaml:"dirs" help:"and the rules in these directories"`
}

// Detect is how rules are evaluated.
type Detect struct {
	Deadline time.Duration `yaml:"deadline" help:"of one evaluation of one rule, 10ms to 1m"`
}

// Alerts is what happens with alerts beside storing them.
type Alerts struct {
	Output string        `yaml:"output" help:"form of alerts on stdout: text, json or none"`
	File   string        `yaml:"file" help:"file that alerts are appended to, one JSON object a line; empty: none"`
	Fold   time.Duration `yaml:"fold" help:"repeats of an alert within this time are counted, not raised, up to 720h"`
}

// Default is the configuration of a host on which nothing is configured.
func Default() Config {
	return Config{
		DataDir: defaultDataDir(),
		Log:     Log{Level: "info", Format: "text"},
		Collector: Collector{
			Source: "auto", Socket: defaultSocket, RingBytes: 8 << 20, QueueBytes: 8 << 20, ArgsMax: 64 << 10,
			FlushDelay: 50 * time.Millisecond, PollInterval: time.Second, HashRate: 64 << 20, HashMax: 512 << 20,
		},
		Store:  Store{BatchRows: 1000, BatchDelay: 250 * time.Millisecond},
		Redact: Redact{Enabled: true},
		Rules:  Rules{Defaults: true},
		Detect: Detect{Deadline: 2 * time.Second},
		Alerts: Alerts{Output: "text", Fold: time.Hour},
	}
}

// check lists what is wrong with the values, by path.
func (c *Config) check() []fault {
	var faults []fault
	fail := func(path, format string, args ...any) {
		faults = append(faults, fault{path: path, problem: fmt.Sprintf(format, args...)})
	}
	each := func(path string, list []string, check func(string) error) {
		for i, s := range list {
			if err := check(s); err != nil {
				faults = append(faults, fault{path, err.Error(), i + 1})
			}
		}
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
	oneOf("collector.source", c.Collector.Source, "auto", "ebpf", "procconn", "poll")
	number("collector.ring_bytes", c.Collector.RingBytes, 4096, 1<<30)
	if n := c.Collector.RingBytes; n&(n-1) != 0 {
		fail("collector.ring_bytes", "%d is not a power of two", n)
	}
	number("collector.queue_bytes", c.Collector.QueueBytes, 256<<10, 1<<30)
	for _, name := range c.Collector.Env {
		if name == "" || strings.ContainsRune(name, '=') || strings.Contains(strings.TrimSuffix(name, "*"), "*") {
			fail("collector.env", "%q is neither the name of a variable nor the beginning of one with a * behind it", name)
		}
	}
	number("collector.args_max", c.Collector.ArgsMax, 1024, 128<<10)
	duration("collector.flush_delay", c.Collector.FlushDelay, time.Millisecond, time.Second)
	duration("collector.poll_interval", c.Collector.PollInterval, 10*time.Millisecond, time.Hour)
	if n := c.Collector.HashRate; n != 0 && (n < 64<<10 || n > 1<<30) {
		fail("collector.hash_rate", "%d is neither 0, which hashes none, nor between %d and %d", n, 64<<10, 1<<30)
	}
	number("collector.hash_max", c.Collector.HashMax, 4096, 1<<30)
	number("store.batch_rows", c.Store.BatchRows, 1, 100_000)
	duration("store.batch_delay", c.Store.BatchDelay, time.Millisecond, 10*time.Second)
	each("redact.flags", c.Redact.Flags, pipeline.CheckFlag)
	each("redact.env", c.Redact.Env, pipeline.CheckEnv)
	each("redact.programs", c.Redact.Programs, pipeline.CheckProgram)
	duration("detect.deadline", c.Detect.Deadline, 10*time.Millisecond, time.Minute)
	oneOf("alerts.output", c.Alerts.Output, "text", "json", "none")
	duration("alerts.fold", c.Alerts.Fold, 0, 30*24*time.Hour)
	return faults
}

// fault is a value that cannot be.
type fault struct {
	path, problem string
	item          int // of a list, from 1; 0 = all of the value
}
