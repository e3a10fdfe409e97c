// Kernels boots stock Debian kernels in QEMU and runs in each of them the tests
// that ask the kernel something, and procmond under conditions that a host may
// set: lockdown, no BTF, each layout of cgroups, no privileges. The kernels are
// unpacked, not installed; everything is kept in .cache/kernels.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// standard is what runs when nothing is named.
var standard = []string{"5.10", "6.1", "6.12", "newest", "arm64-6.1"}

func main() {
	if os.Args[0] == "/init" {
		guest()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := matrix(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
}

// lab is one run of the matrix.
type lab struct {
	out, log io.Writer
	root     string // of the repository
	dir      string // for what is kept
	mirror   string
	suites   []string
	only     *regexp.Regexp
	chosen   choice
	timeout  time.Duration
	accel    string
}

// choice is what of the suite a guest runs.
type choice struct {
	tests     string // regular expression of the packages with tests; "" = all
	backends  string // of scenarios, joined by commas
	scenarios string // regular expression of their names; "" = all
}

func (c choice) check() error {
	for name, pattern := range map[string]string{"-tests": c.tests, "-scenarios": c.scenarios} {
		if _, err := regexp.Compile(pattern); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if strings.ContainsAny(c.tests+c.scenarios+c.backends, " \t\"") {
		return errors.New("-tests, -scenarios, -backends: they are words of the guest kernel's command line, without blanks and quotes")
	}
	return nil
}

// target is one kernel.
type target struct {
	name   string // as it was asked for
	arch   string
	series string
	machine
}

func matrix(ctx context.Context, args []string, out, log io.Writer) error {
	l := lab{out: out, log: log}
	flags := flag.NewFlagSet("kernels", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.StringVar(&l.mirror, "mirror", "", "Debian mirror (default: that of this host's apt)")
	suites := flags.String("suites", "bullseye bookworm trixie trixie-backports", "suites of Debian to take kernels from")
	only := flags.String("only", "", "only boots whose name matches this regular expression: "+suite+", lockdown, BTF, user, cgroup")
	flags.StringVar(&l.chosen.backends, "backends", "ebpf", "backends to run the scenarios with, joined by commas")
	flags.StringVar(&l.chosen.scenarios, "scenarios", "", "only scenarios whose name matches this regular expression")
	flags.StringVar(&l.chosen.tests, "tests", "", "only Go tests of packages whose directory matches this regular expression")
	flags.DurationVar(&l.timeout, "timeout", 90*time.Minute, "of one boot")
	flags.StringVar(&l.accel, "accel", "tcg,thread=single,tb-size=256",
		"how QEMU runs the guest; with tcg,thread=multi its CPUs run beside each other, which is faster, but QEMU 7.2 loses track of a kernel that changes its own code")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := l.chosen.check(); err != nil {
		return err
	}
	l.suites = strings.Fields(*suites)
	names := flags.Args()
	if len(names) == 0 {
		names = standard
	}
	var err error
	if l.only, err = regexp.Compile(*only); err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	if l.root, err = os.Getwd(); err != nil {
		return err
	}
	if !exists(filepath.Join(l.root, "bpf")) {
		return fmt.Errorf("%s is not the repository (run: make test-kernels)", l.root)
	}
	l.dir = filepath.Join(l.root, ".cache", "kernels")
	targets, err := parseTargets(names)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		return err
	}
	lock := flock.New(filepath.Join(l.dir, "lock"))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return errors.Join(err, fmt.Errorf("another test of kernels uses %s (wait for its end)", l.dir))
	}
	defer func() { _ = lock.Close() }()
	if err := l.prepare(ctx, targets); err != nil {
		return err
	}
	return l.run(ctx, targets)
}

func parseTargets(names []string) (targets []target, err error) {
	for _, n := range names {
		m := kernelName.FindStringSubmatch(n)
		if m == nil {
			return nil, fmt.Errorf("kernel %q: want a series such as 6.1, or newest, with arm64- before it for that architecture", n)
		}
		t := target{name: n, arch: m[1], series: m[2]}
		if t.arch == "" {
			t.arch = "amd64"
		}
		if !slices.ContainsFunc(targets, func(o target) bool { return o.arch == t.arch && o.series == t.series }) {
			targets = append(targets, t)
		}
	}
	return targets, nil
}

// prepare gets everything that the boots need.
func (l *lab) prepare(ctx context.Context, targets []target) error {
	tools := []tool{{"dpkg-deb", "dpkg"}}
	for _, t := range targets {
		tools = append(tools, qemu[t.arch].tool)
		if hasScenarios(l.root) {
			tools = append(tools, compilers[t.arch])
		}
	}
	if err := needTools(ctx, tools); err != nil {
		return err
	}
	if l.mirror == "" {
		var err error
		if l.mirror, err = mirror(ctx); err != nil {
			return err
		}
	}
	archives, initramfs := map[string]*archive{}, map[string]string{}
	for i := range targets {
		t := &targets[i]
		a := archives[t.arch]
		if a == nil {
			l.say("%s: kernels and userland", t.arch)
			var err error
			if a, err = openArchive(ctx, t.arch, filepath.Join(l.dir, "apt", t.arch), l.mirror, l.suites); err != nil {
				return err
			}
			userland, err := a.userland(ctx)
			if err != nil {
				return err
			}
			l.say("%s: programs and tests", t.arch)
			b := builder{root: l.root, dir: filepath.Join(l.dir, "build", t.arch), arch: t.arch}
			if initramfs[t.arch], err = b.initramfs(ctx, userland); err != nil {
				return err
			}
			archives[t.arch] = a
		}
		image, err := a.kernel(ctx, t.series)
		if err != nil {
			return err
		}
		t.machine = machine{arch: t.arch, image: image, initramfs: initramfs[t.arch]}
	}
	return nil
}

func (l *lab) say(format string, args ...any) { fmt.Fprintf(l.log, format+"\n", args...) }

// special is the kernel that the boots under particular conditions take, unless
// they name one: the most widespread of those chosen.
func special(targets []target, series string) (target, bool) {
	for _, want := range []string{series, "6.1", ""} {
		if series != "" && want != series {
			break
		}
		for _, t := range targets {
			if t.arch == "amd64" && (t.series == want || want == "") {
				return t, true
			}
		}
	}
	return target{}, false
}

// run boots one guest after the other and prints what came of them.
func (l *lab) run(ctx context.Context, targets []target) error {
	var t tables
	for _, target := range targets {
		if l.only.MatchString(suite) {
			o, err := l.boot(ctx, target, boot{name: suite})
			if err != nil {
				return err
			}
			t.addSuite(target, o)
		}
	}
	for _, b := range boots {
		if !l.only.MatchString(b.name) {
			continue
		}
		target, ok := special(targets, b.series)
		if !ok {
			t.omit(b)
			continue
		}
		o, err := l.boot(ctx, target, b)
		if err != nil {
			return err
		}
		t.addBoot(target, b, o)
	}
	t.print(l.out)
	if len(t.failures) > 0 {
		return fmt.Errorf("%d failures; consoles are in %s", len(t.failures), filepath.Join(l.dir, "consoles"))
	}
	return nil
}

// boot starts one guest and keeps its console in a file.
func (l *lab) boot(ctx context.Context, t target, b boot) (*outcome, error) {
	dir := filepath.Join(l.dir, "consoles")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" =,/", r) {
			return '-'
		}
		return r
	}, t.name+"-"+b.name)
	f, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l.say("%s (%s): %s", t.name, release(t.image), b.name)
	o := t.machine.boot(ctx, b, l.chosen, l.accel, l.timeout, f)
	return o, ctx.Err()
}
