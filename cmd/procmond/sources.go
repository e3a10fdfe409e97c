package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
	"github.com/sentineld/sentineld/internal/source/ebpf"
	"github.com/sentineld/sentineld/internal/source/poll"
	"github.com/sentineld/sentineld/internal/source/procconn"
)

// sourceFlags choose and tune the source.
type sourceFlags struct {
	Source       string        `help:"Where to read events: auto takes the best that opens, ebpf, procconn or poll only that one." enum:"auto,ebpf,procconn,poll" default:"auto"`
	RingBytes    int           `help:"Size of the kernel's buffer in bytes, a power of two of at least 4096 (default ${default})." default:"8388608" placeholder:"BYTES"`
	ArgsMax      int           `help:"Bytes of arguments kept of one exec, 1024 to 131072. What is cut is flagged (default ${default})." default:"65536" placeholder:"BYTES"`
	ExecFailures bool          `help:"Failed execs too, where the source can see them. Costs every system call of the host some time, unless the kernel takes fexit programs."`
	Env          []string      `help:"Environment variable to keep of each exec; NAME* stands for all that begin so. May be given more than once." placeholder:"NAME" sep:","`
	BTF          string        `name:"btf" help:"File with the types of the running kernel (BTF), for one that has none itself." placeholder:"FILE" type:"path"`
	FlushDelay   time.Duration `help:"How long an event may wait for others, 1ms to 1s (default ${default})." default:"50ms" placeholder:"DURATION"`
	PollInterval time.Duration `help:"Between two looks when polling, 10ms to 1h (default ${default})." default:"1s" placeholder:"DURATION"`
}

// Validate is called by kong.
func (f sourceFlags) Validate() error {
	switch {
	case f.RingBytes < 4096 || f.RingBytes&(f.RingBytes-1) != 0 || f.RingBytes > 1<<30:
		return fmt.Errorf("--ring-bytes=%d: want a power of two from 4096 to 1073741824", f.RingBytes)
	case f.ArgsMax < 1024 || f.ArgsMax > 131072:
		return fmt.Errorf("--args-max=%d: want 1024 to 131072", f.ArgsMax)
	case f.FlushDelay < time.Millisecond || f.FlushDelay > time.Second:
		return fmt.Errorf("--flush-delay=%s: want 1ms to 1s", f.FlushDelay)
	case f.PollInterval < 10*time.Millisecond || f.PollInterval > time.Hour:
		return fmt.Errorf("--poll-interval=%s: want 10ms to 1h", f.PollInterval)
	}
	for _, name := range f.Env {
		if strings.ContainsAny(name, "=\x00") || strings.Contains(strings.TrimSuffix(name, "*"), "*") || name == "" {
			return fmt.Errorf("--env=%q: want the name of a variable, or its beginning and one *", name)
		}
	}
	return nil
}

// options are what all sources are opened with.
func (f sourceFlags) options(boot event.BootID, log *slog.Logger) source.Options {
	o := source.Options{
		Boot: boot, RingBytes: f.RingBytes, ArgsMax: f.ArgsMax, FlushDelay: f.FlushDelay, PollInterval: f.PollInterval,
		Env: f.Env, ExecFailures: f.ExecFailures, BTF: f.BTF, Log: log,
	}
	o.FillDefaults()
	return o
}

// candidates are the sources that the flags allow, best first.
func (f sourceFlags) candidates() []source.Candidate {
	all := []source.Candidate{
		{Name: event.SourceEBPF, Open: func(ctx context.Context, o source.Options) (source.Source, error) {
			return ebpf.Open(ctx, ebpf.Options{Options: o})
		}},
		{Name: event.SourceProcconn, Open: procconn.Open},
		{Name: event.SourcePoll, Open: poll.Open},
	}
	if f.Source == "auto" {
		return all
	}
	for _, c := range all {
		if c.Name.String() == f.Source {
			return []source.Candidate{c}
		}
	}
	return nil
}

// open opens the best source, and goes on with the others when it is lost.
func (f sourceFlags) open(ctx context.Context, log *slog.Logger) (*source.Ladder, event.BootID, error) {
	boot, err := poll.HostBootID(ctx)
	if err != nil {
		return nil, boot, err
	}
	src, err := source.Climb(ctx, f.options(boot, log), f.candidates())
	if err != nil && f.Source != "auto" {
		err = fmt.Errorf("%w; --source=auto would try the others", err)
	}
	return src, boot, err
}

// lookup looks at single processes.
func (f sourceFlags) lookup(boot event.BootID) func(context.Context, []uint32) ([]event.Event, error) {
	return func(ctx context.Context, pids []uint32) ([]event.Event, error) {
		return poll.Find(ctx, f.options(boot, nil), pids)
	}
}

// detail is what a source says of how it works, if it does.
func detail(s source.Source) string {
	if d, ok := s.(interface{ Detail() string }); ok {
		return d.Detail()
	}
	return ""
}
