package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentineld/sentineld/internal/alert"
	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/config"
	"github.com/sentineld/sentineld/internal/pipeline"
)

type runCmd struct {
	Live         bool     `help:"Print execs and gaps as they are stored."`
	Rules        []string `help:"Directory of rules, beside the built-in ones. May be given more than once." placeholder:"DIR" sep:"none"`
	AlertOutput  string   `help:"Alerts on stdout: text, json or none." placeholder:"FORM"`
	AlertFile    string   `help:"File that alerts are appended to, one JSON object a line." placeholder:"FILE"`
	Source       string   `help:"Where procmond reads events: auto, ebpf, procconn or poll." placeholder:"SOURCE"`
	Socket       string   `help:"Socket of a procmond that runs (default ${socket}). If none serves there, one is started." placeholder:"PATH"`
	Procmond     string   `help:"The procmond to start (default: beside sentineld, then in PATH)." placeholder:"FILE"`
	ExecFailures bool     `help:"Record failed execs too."`
	Env          []string `help:"Environment variable to keep of each exec; NAME* stands for all that begin so. May be given more than once." placeholder:"NAME"`
	BTF          string   `name:"btf" help:"File with the types of the running kernel (BTF), for one that has none itself." placeholder:"FILE"`
	PollInterval string   `help:"Between two looks when polling." placeholder:"DURATION"`
}

// flags puts the flags that were given under their options.
func (r *runCmd) flags(m map[string]string) {
	given(m, "rules.dirs", strings.Join(r.Rules, ","))
	given(m, "alerts.output", r.AlertOutput)
	given(m, "alerts.file", r.AlertFile)
	given(m, "collector.source", r.Source)
	given(m, "collector.socket", r.Socket)
	given(m, "collector.procmond", r.Procmond)
	if r.ExecFailures {
		m["collector.exec_failures"] = "true"
	}
	given(m, "collector.env", strings.Join(r.Env, ","))
	given(m, "collector.btf", r.BTF)
	given(m, "collector.poll_interval", r.PollInterval)
}

// forProcmond are the options that somebody set for a procmond that is started, and where,
// but for what the status of one that runs tells.
func forProcmond(origins map[string]string) (given []string) {
	for path, origin := range origins {
		switch {
		case !strings.HasPrefix(path, "collector.") || origin == "default":
		case path == "collector.socket" || path == "collector.exec_failures":
		default:
			given = append(given, path+" ("+origin+")")
		}
	}
	slices.Sort(given)
	return given
}

// Run runs the agent until a signal.
func (r *runCmd) Run(ctx context.Context, c *config.Loaded, log *slog.Logger, std streams) error {
	drain, abort, stop := cli.Signals(ctx)
	defer stop()
	rules, problems := loadRules(&c.Config)
	if len(problems) > 0 {
		return cli.Usage(errors.Join(problems...))
	}
	o := agentOptions{
		DataDir: c.DataDir, Rules: rules, Deadline: c.Detect.Deadline, Fold: c.Alerts.Fold,
		BatchRows: c.Store.BatchRows, BatchDelay: c.Store.BatchDelay, Log: log,
		Link: linkOptions{
			Socket: c.Collector.Socket, Program: c.Collector.Procmond, Args: procmondArgs(&c.Config), Given: forProcmond(c.Origins),
			Stderr: std.err, Log: log,
		},
		Failures: c.Collector.ExecFailures,
	}
	if o.Unredacted = !c.Redact.Enabled; o.Unredacted {
		log.Warn("secrets in arguments and environment are stored as they are (redact.enabled is false)")
	}
	var err error
	o.Redactor, err = pipeline.NewRedactor(pipeline.RedactOptions{Flags: c.Redact.Flags, Env: c.Redact.Env, Programs: c.Redact.Programs})
	if err != nil {
		return cli.Usagef("redact: %w", err)
	}
	switch c.Alerts.Output {
	case "text":
		o.Sinks = append(o.Sinks, &alert.Writer{W: std.out})
	case "json":
		o.Sinks = append(o.Sinks, &alert.Writer{W: std.out, JSON: true})
	}
	if c.Alerts.File != "" {
		file := &alert.File{Path: c.Alerts.File}
		if err := file.Check(); err != nil {
			return cli.Usagef("alerts.file: %w", err)
		}
		o.Sinks = append(o.Sinks, file)
	}
	if r.Live {
		o.Live = std.out
	}
	return runAgent(drain, abort, o)
}

// procmondArgs passes procmond's share of the configuration on.
func procmondArgs(c *config.Config) []string {
	p := c.Collector
	args := []string{
		"--source=" + p.Source,
		"--ring-bytes=" + strconv.Itoa(p.RingBytes),
		"--queue-bytes=" + strconv.Itoa(p.QueueBytes),
		"--args-max=" + strconv.Itoa(p.ArgsMax),
		"--flush-delay=" + p.FlushDelay.String(),
		"--poll-interval=" + p.PollInterval.String(),
		"--hash-rate=" + strconv.Itoa(p.HashRate),
		"--hash-max=" + strconv.Itoa(p.HashMax),
		"--log-level=" + c.Log.Level,
		"--log-format=" + c.Log.Format,
	}
	if p.ExecFailures {
		args = append(args, "--exec-failures")
	}
	if len(p.Env) > 0 {
		args = append(args, "--env="+strings.Join(p.Env, ","))
	}
	if p.BTF != "" {
		args = append(args, "--btf="+p.BTF)
	}
	return args
}

// age shows how long ago something was, roughly.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
