package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// packages are those whose tests ask the kernel something.
var packages = []string{
	"internal/source/ebpf", "internal/source/procconn", "internal/source/poll", "internal/procfs", "internal/collect",
}

// The guest's directories of ours.
const (
	binDir     = "opt/sentineld"
	testsDir   = "opt/tests"   // one directory a package: go.test and testdata
	scenarioGo = "opt/runner"  // go.test of the scenario runner
	filesDir   = "opt/files"   // the scenarios
	helpersDir = "opt/helpers" // their programs
	testBinary = "go.test"
)

// compilers make the scenarios' helpers, which are static.
var compilers = map[string]tool{
	"amd64": {"x86_64-linux-gnu-gcc", "gcc libc6-dev"},
	"arm64": {"aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"},
}

// builder makes the initramfs of one architecture.
type builder struct {
	root string // of the repository
	dir  string // for what is built
	arch string
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// hasScenarios tells whether there are scenarios to run.
func hasScenarios(root string) bool { return exists(filepath.Join(root, "scenario")) }

// gocmd runs the go command for the guest.
func (b builder) gocmd(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+b.arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s for linux/%s: %w\n%s", strings.Join(args, " "), b.arch, err, bytes.TrimSpace(out))
	}
	return nil
}

// initramfs builds everything and returns the file.
func (b builder) initramfs(ctx context.Context, userland string) (string, error) {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return "", err
	}
	file := filepath.Join(b.dir, "initramfs")
	f, err := os.Create(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	c := newCPIO(f)
	for _, d := range []string{"proc", "sys", "dev", "run", "tmp", "root", "newroot", "etc", "var"} {
		c.dir(d)
	}
	c.device("dev/console", 5, 1)
	c.device("dev/null", 1, 3)
	c.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n")
	c.text("etc/group", "root:x:0:\nnogroup:x:65534:\n")
	// A Debian host has its programs below /usr; packages of old still say /bin.
	for _, d := range []string{"bin", "sbin", "lib", "lib64"} {
		c.dir("usr/" + d)
		c.symlink(d, "usr/"+d)
	}
	c.tree("", userland, func(rel string) string {
		first, _, _ := strings.Cut(rel, "/")
		switch {
		case strings.Contains(rel, "/gconv"), first == "etc", first == "var", rel == "unpacked":
			return ""
		case first == "bin", first == "sbin", first == "lib", first == "lib64":
			return "usr/" + rel
		}
		return rel
	})
	for program, pkg := range map[string]string{"init": "./kernels", binDir + "/procmond": "./cmd/procmond", binDir + "/sentineld": "./cmd/sentineld"} {
		out := filepath.Join(b.dir, path.Base(program))
		if err := b.gocmd(ctx, "build", "-trimpath", "-ldflags", "-s -w", "-o", out, pkg); err != nil {
			return "", err
		}
		c.file(program, out)
	}
	for _, pkg := range packages {
		if exists(filepath.Join(b.root, pkg)) {
			if err := b.test(ctx, c, pkg, testsDir+"/"+pkg); err != nil {
				return "", err
			}
		}
	}
	if hasScenarios(b.root) {
		if err := b.scenarios(ctx, c); err != nil {
			return "", err
		}
	}
	if err := c.close(); err != nil {
		return "", fmt.Errorf("write %s: %w", file, err)
	}
	return file, f.Close()
}

func everything(rel string) string { return rel }

// test adds the test binary of a package, and its testdata.
func (b builder) test(ctx context.Context, c *cpio, pkg, to string) error {
	out := filepath.Join(b.dir, strings.ReplaceAll(pkg, "/", "_")+".test")
	if err := b.gocmd(ctx, "test", "-c", "-trimpath", "-ldflags", "-s -w", "-o", out, "./"+pkg); err != nil {
		return err
	}
	c.file(to+"/"+testBinary, out)
	if data := filepath.Join(b.root, pkg, "testdata"); exists(data) {
		c.tree(to+"/testdata", data, everything)
	}
	return c.err
}

// scenarios adds the runner, its files and its helpers.
func (b builder) scenarios(ctx context.Context, c *cpio) error {
	if err := b.test(ctx, c, "scenario", scenarioGo); err != nil {
		return err
	}
	c.tree(filesDir, filepath.Join(b.root, "testdata", "scenarios"), everything)
	sources, err := filepath.Glob(filepath.Join(b.root, "testdata", "helpers", "*.c"))
	if err != nil {
		return err
	}
	c.dir(helpersDir)
	for _, src := range sources {
		name := strings.TrimSuffix(filepath.Base(src), ".c")
		out := filepath.Join(b.dir, "helper-"+name)
		cc := exec.CommandContext(ctx, compilers[b.arch].program, "-O1", "-static", "-pthread", "-o", out, src)
		if msg, err := cc.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s for %s: %w\n%s", src, b.arch, err, msg)
		}
		c.file(helpersDir+"/"+name, out)
	}
	return c.err
}
