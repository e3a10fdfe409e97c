package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// machine is a guest that can be booted.
type machine struct {
	arch, image, initramfs string
}

// qemu are the programs for each architecture, without acceleration: stock
// kernels of both run wherever these run. cortex-a72 has no pointer
// authentication, which costs half the time when it is emulated.
var qemu = map[string]struct {
	tool    tool
	args    []string
	console string
}{
	"amd64": {tool{"qemu-system-x86_64", "qemu-system-x86"}, []string{"-cpu", "max"}, "ttyS0"},
	"arm64": {tool{"qemu-system-aarch64", "qemu-system-arm"}, []string{"-M", "virt", "-cpu", "cortex-a72"}, "ttyAMA0"},
}

// tailLines is how much of the console is kept for who asks why a guest died.
const tailLines = 40

// outcome is what came of a boot.
type outcome struct {
	report
	tail    []string // last lines of the console that were not reports
	seconds float64
}

// boot starts the guest with b and reads its console until it is off. Whatever
// goes wrong is among the outcome's problems. The console is copied to log.
func (m machine) boot(ctx context.Context, b boot, chosen choice, accel string, timeout time.Duration, log io.Writer) *outcome {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	q := qemu[m.arch]
	cmdline := fmt.Sprintf("console=%s panic=-1 oops=panic loglevel=4 nowatchdog %s guest.time=%d guest.boot=%s guest.tests=%s guest.backends=%s guest.scenarios=%s",
		q.console, b.kernel, time.Now().Unix(), strings.ReplaceAll(b.name, " ", "_"), chosen.tests, chosen.backends, chosen.scenarios)
	args := append([]string{"-accel", accel, "-m", "1024", "-smp", "2", "-nodefaults", "-no-user-config",
		"-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", m.image, "-initrd", m.initramfs, "-append", cmdline}, q.args...)
	var o outcome
	begin := time.Now()
	cmd := exec.CommandContext(ctx, q.tool.program, args...)
	var said strings.Builder
	cmd.Stderr = &said
	console, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		o.problems = append(o.problems, fmt.Sprintf("start %s: %v", q.tool.program, err))
		return &o
	}
	o.read(io.TeeReader(console, log))
	err = cmd.Wait()
	o.seconds = time.Since(begin).Seconds()
	switch {
	case ctx.Err() == context.DeadlineExceeded:
		o.problems = append(o.problems, fmt.Sprintf("the guest hung: not off after %s", timeout))
	case ctx.Err() != nil:
		o.problems = append(o.problems, "interrupted")
	case err != nil:
		o.problems = append(o.problems, fmt.Sprintf("%s: %v: %s", q.tool.program, err, strings.TrimSpace(said.String())))
	case !o.ended:
		o.problems = append(o.problems, "the guest went off before its end: it crashed")
	}
	return &o
}

// read takes in a console to its end.
func (o *outcome) read(console io.Reader) {
	s := bufio.NewScanner(console)
	s.Buffer(make([]byte, 64<<10), 4<<20)
	for s.Scan() {
		line := strings.TrimRight(s.Text(), "\r")
		r, ok, err := decode(line)
		switch {
		case err != nil:
			o.problems = append(o.problems, err.Error())
		case ok:
			o.add(r)
		case strings.TrimSpace(line) != "":
			if len(o.tail) == tailLines {
				o.tail = o.tail[1:]
			}
			o.tail = append(o.tail, line)
		}
	}
	if err := s.Err(); err != nil && !errors.Is(err, os.ErrClosed) {
		o.problems = append(o.problems, "read the console: "+err.Error())
	}
}
