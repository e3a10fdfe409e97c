//go:build linux && (amd64 || arm64)

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
)

// envMax is how much of an environment the programs read when variables are
// wanted.
const envMax = 32 << 10

// Open loads and attaches the programs: as tp_btf, and as raw_tp where that
// does not load. From its return on every exec, fork and exit is recorded or
// counted as lost.
func Open(_ context.Context, o Options) (source.Source, error) {
	o.FillDefaults()
	if o.spares == 0 && preemptible() {
		o.spares = numSpares
	}
	if err := usable(o.BTF); err != nil {
		return nil, err
	}
	// Before 5.11 maps count against RLIMIT_MEMLOCK. Raising it needs
	// CAP_SYS_RESOURCE, so a refusal counts only if the load then fails.
	limitErr := rlimit.RemoveMemlock()

	l, err := newLoader(o)
	if err != nil {
		return nil, fmt.Errorf("load BPF programs: %w", err)
	}
	var s *ring
	var errs []error
	for _, kind := range []ebpf.ProgramType{ebpf.Tracing, ebpf.RawTracepoint} {
		var err error
		if s, err = open(o, l, kind); err == nil {
			break
		}
		errs = append(errs, fmt.Errorf("as %s: %w", kindName(kind), err))
	}
	if s == nil {
		return nil, explain(errors.Join(errs...), limitErr)
	}
	go s.run()
	return s, nil
}

func kindName(kind ebpf.ProgramType) string {
	if kind == ebpf.Tracing {
		return "tp_btf"
	}
	return "raw_tp"
}

// The ways to see what not every kernel shows, best first. Each is the programs
// that it takes.
var (
	prepareWays = [][]string{{"prepare_btf"}, {"prepare_raw"}, {"prepare_fentry"}, {"prepare_kprobe"}}
	failedWays  = [][]string{{"failed_fexit_execve", "failed_fexit_execveat"}, {"failed_btf"}, {"failed_raw"}}
)

func open(o Options, l *loader, kind ebpf.ProgramType) (_ *ring, err error) {
	suffix := map[ebpf.ProgramType]string{ebpf.Tracing: "_btf", ebpf.RawTracepoint: "_raw"}[kind]
	// What sees the end of a process comes first, and what sees its beginning last:
	// one that is told to begin must not end unseen before the next program is
	// attached, since nothing would ever tell that it is gone. They are detached in
	// the reverse order.
	core := []string{"exit" + suffix, "exec" + suffix, "fork" + suffix}
	load := core
	if o.spares > 0 {
		load, core = l.spares(core, o.spares)
	}
	c, err := l.load(load, nil)
	if err != nil {
		return nil, err
	}
	s := &ring{
		Options: o, detail: kindName(kind), collections: []*ebpf.Collection{c}, stop: make(chan struct{}), events: newEvents(),
		looked: source.ClockNow(unix.CLOCK_BOOTTIME),
	}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if s.reader, err = ringbuf.NewReader(c.Maps["events"]); err != nil {
		return nil, err
	}
	if err := c.Variables["canary_tgid"].Set(int32(os.Getpid())); err != nil {
		return nil, err
	}
	ways := o.prepare
	if ways == nil {
		ways = prepareWays
	}
	// In front of the core, so that no exec is seen whose begin was not.
	if err := s.attachOne(l, ways, nil); err != nil {
		s.detail += ", privileges gained not always seen"
		o.Log.Info("the kernel does not show what privileges an exec gives: of some it is not known", "reason", err)
	}
	if err := s.attach(c, core); err != nil {
		return nil, err
	}
	if o.ExecFailures {
		s.openFailed(l)
	}
	return s, nil
}

// loader loads programs that share their maps.
type loader struct {
	spec  *ebpf.CollectionSpec
	types *btf.Spec // of the kernel; nil = it has them itself
	cache *btf.Cache
}

func newLoader(o Options) (*loader, error) {
	spec, err := loadProcess()
	if err != nil {
		return nil, err
	}
	env := uint32(0)
	if len(o.Env) > 0 {
		env = envMax
	}
	spec.Maps["events"].MaxEntries = uint32(o.RingBytes)
	l := &loader{spec: spec, cache: btf.NewCache()}
	if o.BTF != "" {
		if l.types, err = btf.LoadSpec(o.BTF); err != nil {
			return nil, fmt.Errorf("read the kernel's types from %s: %w", o.BTF, err)
		}
	}
	return l, errors.Join(
		spec.Variables["exit_after_mm"].Set(l.exitAfterMM()),
		spec.Variables["args_max"].Set(uint32(o.ArgsMax)),
		spec.Variables["env_max"].Set(env),
		spec.Variables["hooks_only"].Set(o.HooksOnly),
	)
}

// exitAfterMM reports whether the kernel has let go of a task's memory when it tells that
// the task exits. Commit "exit: move and extend sched_process_exit() tracepoint" (6.16)
// moved it and gave it an argument. A kernel whose types cannot be read is not loaded
// into either.
func (l *loader) exitAfterMM() bool {
	types := l.types
	if types == nil {
		var err error
		if types, err = l.cache.Kernel(); err != nil {
			return false
		}
	}
	var def *btf.Typedef
	if err := types.TypeByName("btf_trace_sched_process_exit", &def); err != nil {
		return false
	}
	pointer, ok := def.Type.(*btf.Pointer)
	if !ok {
		return false
	}
	proto, ok := pointer.Target.(*btf.FuncProto)
	return ok && len(proto.Params) == 2 // data, task
}

func (l *loader) load(programs []string, maps map[string]*ebpf.Map) (*ebpf.Collection, error) {
	spec := l.spec.Copy()
	clear(spec.Programs)
	for _, name := range programs {
		spec.Programs[name] = l.spec.Programs[name].Copy()
		if program, target := spared(name); program != "" {
			spec.Maps[target].Contents = []ebpf.MapKV{{Key: uint32(0), Value: program}}
		}
	}
	return ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		Programs: ebpf.ProgramOptions{KernelTypes: l.types}, MapReplacements: maps, Cache: l.cache,
	})
}

// attachOne attaches the first of several ways that the kernel has, and of which works
// says that it does. works may be nil.
func (s *ring) attachOne(l *loader, ways [][]string, works func() error) error {
	var errs []error
	for _, programs := range ways {
		if err := s.attachWay(l, programs, works); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", programs[0], err))
			continue
		}
		return nil
	}
	return errors.Join(errs...)
}

func (s *ring) attachWay(l *loader, programs []string, works func() error) error {
	c, err := l.load(programs, s.collections[0].Maps)
	if err != nil {
		return err
	}
	links, skips := len(s.links), len(s.skips)
	if err = s.attach(c, programs); err == nil && works != nil {
		err = works()
	}
	if err != nil {
		for _, l := range s.links[links:] {
			_ = l.Close() // it is given up
		}
		s.links, s.skips = s.links[:links], s.skips[:skips]
		c.Close()
		return err
	}
	s.collections = append(s.collections, c)
	return nil
}

// attach attaches programs. With an error some may be: their links are the caller's to
// close.
func (s *ring) attach(c *ebpf.Collection, programs []string) error {
	for _, name := range programs {
		p := c.Programs[name]
		var l link.Link
		var err error
		switch p.Type() {
		case ebpf.RawTracepoint:
			what, _, _ := strings.Cut(name, "_")
			l, err = link.AttachRawTracepoint(link.RawTracepointOptions{Name: attachTo[what+"_raw"], Program: p})
		case ebpf.Kprobe:
			l, err = link.Kprobe(attachTo[name], p, nil)
		default: // its type says to what
			l, err = link.AttachTracing(link.TracingOptions{Program: p})
		}
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		s.links = append(s.links, l)
	}
	for _, name := range programs {
		kind := kindOf(name)
		switch program, _ := spared(name); {
		case kind == 0 || strings.Contains(name, spare):
		case program != "":
			s.spares.groups = append(s.spares.groups, spareGroup{kind: kind, first: c.Programs[name], least: math.MaxInt64})
		default:
			s.skips = append(s.skips, skipping{program: c.Programs[name], kind: kind})
		}
	}
	return nil
}

// kindOf is what a program tells of, by its name; 0: of nothing by itself.
func kindOf(program string) event.Kind {
	what, _, _ := strings.Cut(program, "_")
	return map[string]event.Kind{
		"exec": event.KindExec, "fork": event.KindFork, "exit": event.KindExit, "failed": event.KindExecFailed,
	}[what]
}

// attachTo has the tracepoint or the function of programs that are not attached by
// what is in the object.
var attachTo = map[string]string{
	"exec_raw": "sched_process_exec", "fork_raw": "sched_process_fork", "exit_raw": "sched_process_exit",
	"prepare_raw": "sched_prepare_exec", "prepare_kprobe": "security_bprm_committing_creds", "failed_raw": "sys_exit",
}

var errLockdown = errors.New("kernel lockdown is in mode confidentiality, which forbids reading kernel memory (boot with lockdown=integrity)")

// usable looks for what is certain to stop the load, or to make it useless, and
// that the kernel's own error would not name.
func usable(btfFile string) error {
	// PROC_PID_INIT_INO of linux/proc_ns.h. The programs see the pids of the initial
	// namespace; /proc, in another one, shows others.
	if ns, err := os.Readlink("/proc/self/ns/pid"); err == nil && ns != "pid:[4026531836]" {
		return errors.New("load BPF programs: this is not the host's pid namespace, so that the kernel's pids are not those of /proc (run with the host's: --pid=host, hostPID: true)")
	}
	if b, err := os.ReadFile("/sys/kernel/security/lockdown"); err == nil && strings.Contains(string(b), "[confidentiality]") {
		return fmt.Errorf("load BPF programs: %w", errLockdown)
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil && btfFile == "" {
		return fmt.Errorf("load BPF programs: the kernel has no BTF: %w (needs CONFIG_DEBUG_INFO_BTF, or a file with this kernel's types: --btf FILE)", err)
	}
	return nil
}

// explain adds to a load error what its user can do.
func explain(err, limitErr error) error {
	var refused *ebpf.VerifierError
	switch {
	case lockedDown(err):
		return fmt.Errorf("load BPF programs: %w: %w", errLockdown, err)
	case errors.As(err, &refused) && len(refused.Log) > 0: // by the verifier: no right is missing
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		filtered, capable, _ := rights()
		switch {
		case filtered && capable:
			return errors.New("load BPF programs: permission denied, with the capabilities that it takes: a seccomp filter forbids bpf(2) (have it allow bpf and perf_event_open)")
		case capable && limitErr != nil && errors.Is(err, unix.EPERM):
			return fmt.Errorf("load BPF programs: %w (RLIMIT_MEMLOCK: %v)", err, limitErr)
		}
		return fmt.Errorf("load BPF programs: permission denied (needs CAP_BPF and CAP_PERFMON: run with sudo, or use --source=poll)")
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("load BPF programs: %w (the kernel has no bpf(2), or a seccomp filter hides it)", err)
	}
	return fmt.Errorf("load BPF programs: %w", err)
}

// lockedDown reports whether the verifier knows no helper that reads the kernel's memory.
// Lockdown takes them away (bpf_tracing_func_proto() in kernel/trace/bpf_trace.c), and
// securityfs, which would tell, is not mounted in most containers.
func lockedDown(err error) bool {
	text := err.Error()
	// In the words of older and of newer kernels (check_helper_call() in kernel/bpf/verifier.c).
	return strings.Contains(text, "unknown func bpf_probe_read") || strings.Contains(text, "cannot use helper bpf_probe_read")
}

// rights tells whether a seccomp filter is on, and whether this process may load
// programs: CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, which 5.7 had in their
// place (linux/capability.h).
func rights() (filtered, capable bool, err error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false, false, err
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); name {
		case "Seccomp":
			filtered = value == "2"
		case "CapEff":
			caps, err := strconv.ParseUint(value, 16, 64)
			capable = err == nil && (caps>>unix.CAP_BPF&1 == 1 && caps>>unix.CAP_PERFMON&1 == 1 || caps>>unix.CAP_SYS_ADMIN&1 == 1)
		}
	}
	return filtered, capable, nil
}
