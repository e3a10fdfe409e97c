//go:build linux && (amd64 || arm64)

package ebpf

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/source"
)

// Open loads and attaches the programs: as tp_btf, and as raw_tp where that
// does not load. From its return on every exec, fork and exit is recorded or
// counted as lost.
func Open(_ context.Context, o Options) (source.Source, error) {
	o.FillDefaults()
	if err := usable(); err != nil {
		return nil, err
	}
	// Before 5.11 maps count against RLIMIT_MEMLOCK. Raising it needs
	// CAP_SYS_RESOURCE, so a refusal counts only if the load then fails.
	limitErr := rlimit.RemoveMemlock()

	var s *ring
	var errs []error
	for _, kind := range []ebpf.ProgramType{ebpf.Tracing, ebpf.RawTracepoint} {
		var err error
		if s, err = open(o, kind); err == nil {
			break
		}
		errs = append(errs, fmt.Errorf("as %s: %w", map[ebpf.ProgramType]string{ebpf.Tracing: "tp_btf", ebpf.RawTracepoint: "raw_tp"}[kind], err))
	}
	if s == nil {
		return nil, explain(errors.Join(errs...), limitErr)
	}
	go s.run()
	return s, nil
}

func open(o Options, kind ebpf.ProgramType) (_ *ring, err error) {
	spec, err := loadProcess()
	if err != nil {
		return nil, err
	}
	for name, p := range spec.Programs {
		if p.Type != kind {
			delete(spec.Programs, name)
		}
	}
	spec.Maps["events"].MaxEntries = uint32(o.RingBytes)
	if err := errors.Join(
		spec.Variables["args_max"].Set(uint32(o.ArgsMax)),
		spec.Variables["hooks_only"].Set(o.HooksOnly),
	); err != nil {
		return nil, err
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, err
	}
	s := &ring{Options: o, programs: kind, collection: c, stop: make(chan struct{}), events: newEvents()}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if s.reader, err = ringbuf.NewReader(c.Maps["events"]); err != nil {
		return nil, err
	}
	for _, name := range attachOrder(c.Programs) {
		p := c.Programs[name]
		var l link.Link
		if kind == ebpf.Tracing {
			l, err = link.AttachTracing(link.TracingOptions{Program: p})
		} else {
			event, _, _ := strings.Cut(name, "_")
			l, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sched_process_" + event, Program: p})
		}
		if err != nil {
			return nil, fmt.Errorf("attach %s: %w", name, err)
		}
		s.links = append(s.links, l)
	}
	return s, nil
}

// attachOrder puts what sees the end of a process first, and what sees its
// beginning last: one that is told to begin must not end unseen before the next
// program is attached, since nothing would ever tell that it is gone.
func attachOrder(programs map[string]*ebpf.Program) []string {
	rank := func(name string) int {
		return slices.IndexFunc([]string{"exit", "exec", "fork"}, func(event string) bool { return strings.HasPrefix(name, event+"_") })
	}
	return slices.SortedFunc(maps.Keys(programs), func(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) })
}

// usable looks for what is certain to stop the load, and that the kernel's own
// error would not name.
func usable() error {
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return fmt.Errorf("load BPF programs: the kernel has no BTF: %w (needs CONFIG_DEBUG_INFO_BTF)", err)
	}
	if b, err := os.ReadFile("/sys/kernel/security/lockdown"); err == nil && strings.Contains(string(b), "[confidentiality]") {
		return errors.New("load BPF programs: kernel lockdown is in mode confidentiality, which forbids reading kernel memory (boot with lockdown=integrity)")
	}
	return nil
}

// explain adds to a load error what its user can do.
func explain(err, limitErr error) error {
	switch {
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		if limitErr != nil && errors.Is(err, unix.EPERM) && os.Geteuid() == 0 {
			return fmt.Errorf("load BPF programs: %w (RLIMIT_MEMLOCK: %v)", err, limitErr)
		}
		return fmt.Errorf("load BPF programs: permission denied (needs CAP_BPF and CAP_PERFMON: run with sudo, or use --source=poll)")
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("load BPF programs: %w (the kernel has no bpf(2), or a seccomp filter hides it)", err)
	}
	return fmt.Errorf("load BPF programs: %w", err)
}
