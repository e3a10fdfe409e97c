package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// executed is when a program with a marker was started, Unix ns.
type executed struct {
	marker         string
	before, behind int64
}

// execute runs a program with a marker and says when.
func (l *lab) execute(marker string) executed {
	l.Helper()
	e := executed{marker: marker, before: time.Now().UnixNano()}
	l.mark(marker)
	e.behind = time.Now().UnixNano()
	return e
}

// wantToldOf wants each to be recorded, or to lie in a gap.
func (l *lab) wantToldOf(all []executed) (recorded int) {
	l.Helper()
	for _, e := range all {
		switch {
		case l.number("SELECT count(*) AS n FROM execs WHERE cmdline = '/bin/true "+e.marker+"'") == 1:
			recorded++
		case l.number(fmt.Sprintf("SELECT count(*) AS n FROM gaps WHERE ts <= %d AND until >= %d", e.before, e.behind)) == 0:
			l.Errorf("%s is neither recorded nor in a gap", e.marker)
		}
	}
	return recorded
}

// TestStopLosesNothingUnsaid starts programs all the while an agent is stopped and
// started again.
func TestStopLosesNothingUnsaid(t *testing.T) {
	l := newLab(t)
	l.run("--alert-output", "none")
	var all []executed
	first := l.cmd
	ended := make(chan error, 1)
	end := time.Now().Add(time.Hour)
	for i := 0; time.Now().Before(end); i++ {
		all = append(all, l.execute(fmt.Sprintf("while-stopped-%d", i)))
		if i == 10 {
			if err := first.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			go func() { ended <- first.Wait() }()
		}
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("agent: %v\n%s", err, l.out)
			}
			end = time.Now().Add(200 * time.Millisecond)
		case <-time.After(10 * time.Millisecond):
		}
	}
	l.start("--alert-output", "none")
	l.wait("events to come in", func() bool { a, _ := l.status(); return a.Collector != nil && a.NoEvents == "" })
	last := l.execute("after-all")
	l.waitMark(last.marker)
	if n := l.wantToldOf(append(all, last)); n < 10 || n == len(all)+1 {
		t.Errorf("%d of %d were recorded", n, len(all)+1)
	}
	l.stop()
}

// TestStopWithoutProcmond wants the time after procmond was lost to be a gap, too,
// when the agent is stopped before it could get another one.
func TestStopWithoutProcmond(t *testing.T) {
	l := newLab(t)
	script, goOn := l.slowProcmond()
	if err := os.WriteFile(goOn, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	l.run("--alert-output", "none", "--procmond", script)
	begin := time.Now()
	seen := l.execute("seen")
	l.waitMark(seen.marker)
	if err := os.Remove(goOn); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(l.procmond(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	l.wait("the loss to be noticed", func() bool { a, _ := l.status(); return a.NoEvents != "" })
	unseen := l.execute("unseen")
	if rows, missing, code := l.querySince(begin); rows == "" || code != 3 || !strings.Contains(missing, "no events come in: ") {
		t.Errorf("a query while no events come in: code %d, %s", code, missing)
	}
	l.stop()
	l.start("--alert-output", "none")
	l.wait("events to come in", func() bool { a, _ := l.status(); return a.Collector != nil && a.NoEvents == "" })
	last := l.execute("after-all")
	l.waitMark(last.marker)
	if n := l.wantToldOf([]executed{seen, unseen, last}); n != 2 {
		t.Errorf("%d were recorded", n)
	}
	l.want("SELECT count(*) AS n FROM gaps WHERE cause LIKE 'procmond ended: %; then sentineld did not run'", 1)
	l.stop()
}

// querySince asks for the execs of a range of time, and gets what is said of missing
// ones, too.
func (l *lab) querySince(since time.Time) (rows, missing string, code int) {
	l.Helper()
	var out, errs strings.Builder
	cmd := exec.Command(filepath.Join(l.bin, "sentineld"), "query", "--data-dir", l.dir, "--since", strconv.FormatInt(since.UnixNano(), 10), "SELECT pid, cmdline FROM execs")
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the code says it
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// slowProcmond makes a procmond that waits for a file before it starts.
func (l *lab) slowProcmond() (script, goOn string) {
	l.Helper()
	script, goOn = filepath.Join(l.TempDir(), "slow-procmond"), filepath.Join(l.TempDir(), "go-on")
	text := fmt.Sprintf("#!/bin/sh\nwhile ! [ -e %s ]; do sleep 0.1; done\nexec %s/procmond \"$@\"\n", goOn, l.bin)
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		l.Fatal(err)
	}
	return script, goOn
}
