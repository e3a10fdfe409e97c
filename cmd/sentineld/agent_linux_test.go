package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/testenv"
)

// TestStorm wants every one of 30,000 execs by two workers, as fast as they go,
// with its arguments, its fork and its exit in the right process.
func TestStorm(t *testing.T) {
	const each = 15_000
	l := newLab(t)
	l.run("--alert-output", "none")
	tiny := testenv.TinyProgram(t, t.TempDir())
	pids := make([][]int, 2)
	var wg sync.WaitGroup
	for w := range pids {
		wg.Go(func() {
			for i := range each {
				pid, err := syscall.ForkExec(tiny, []string{"tiny", fmt.Sprintf("w%d-%d", w, i), "", "a b"}, &syscall.ProcAttr{})
				if err != nil {
					t.Error(err)
					return
				}
				var status syscall.WaitStatus
				if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
					t.Error(err)
					return
				}
				pids[w] = append(pids[w], pid)
			}
		})
	}
	wg.Wait()
	l.stop()
	l.want("SELECT count(*) AS n FROM gaps", 0)
	const ours = `SELECT process, pid, args FROM execs WHERE cmdline GLOB 'tiny w[01]-*'`
	l.want("SELECT count(*) AS n FROM ("+ours+")", 2*each)
	l.want("SELECT count(DISTINCT process) AS n FROM ("+ours+")", 2*each)
	l.want("SELECT count(*) AS n FROM forks WHERE process IN (SELECT process FROM ("+ours+")) AND ppid = "+strconv.Itoa(os.Getpid()), 2*each)
	l.want("SELECT count(*) AS n FROM exits WHERE process IN (SELECT process FROM ("+ours+")) AND code = 0 AND signal = 0 AND NOT presumed", 2*each)
	rows, _ := l.query(ours)
	got := map[string]int{}
	for _, r := range rows {
		args, err := json.Marshal(r["args"])
		if err != nil {
			t.Fatal(err)
		}
		got[string(args)] = int(r["pid"].(float64))
	}
	for w := range pids {
		for i, pid := range pids[w] {
			if args := fmt.Sprintf(`["tiny","w%d-%d","","a b"]`, w, i); got[args] != pid {
				t.Fatalf("%s: pid %d, want %d", args, got[args], pid)
			}
		}
	}
}

// TestProcmondKilled wants the agent to notice, to start another and to say what
// it may have missed.
func TestProcmondKilled(t *testing.T) {
	l := newLab(t)
	l.run()
	l.mark("before-the-kill")
	l.waitMark("before-the-kill")
	old := l.procmond()
	if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	l.wait("another procmond", func() bool { return l.procmond() != old })
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("it took %v to start another procmond", took)
	}
	l.wait("the gap", func() bool {
		_, n := l.query("SELECT 1 FROM gaps WHERE cause LIKE 'procmond ended: signal: killed%' AND lost IS NULL AND until > ts")
		return n == 1
	})
	l.mark("after-the-kill")
	l.waitMark("after-the-kill")
	l.stop()
	l.want("SELECT count(*) AS n FROM gaps", 1)
	// The processes that lived through it are still the same.
	l.want(fmt.Sprintf("SELECT count(*) AS n FROM processes WHERE pid = %d AND ended IS NULL", os.Getpid()), 1)
	l.want("SELECT count(*) AS n FROM (SELECT pid FROM processes WHERE ended IS NULL GROUP BY pid HAVING count(*) > 1)", 0)
}

// TestAgentKilled wants a store that opens, a procmond that ends, and a next run
// that says what it did not see.
func TestAgentKilled(t *testing.T) {
	l := newLab(t)
	l.run()
	sleeper, ends := exec.Command("/bin/sleep", "1000"), exec.Command("/bin/sleep", "1000")
	for _, c := range []*exec.Cmd{sleeper, ends} {
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Process.Kill(); _ = c.Wait() }()
	}
	l.mark("before-the-crash")
	l.waitMark("before-the-crash")
	procmond := l.procmond()
	l.kill()
	l.wait("procmond to end", func() bool { return syscall.Kill(procmond, 0) != nil })
	_ = ends.Process.Kill()
	_ = ends.Wait()
	l.mark("while-it-was-down")
	_, n := l.query("SELECT 1 FROM execs WHERE cmdline = '/bin/true before-the-crash'")
	if n != 1 {
		t.Errorf("the store of a killed agent has %d rows of what was stored", n)
	}
	l.run()
	l.wait("the gap", func() bool {
		_, n := l.query("SELECT 1 FROM gaps WHERE cause = 'sentineld was killed or crashed, and did not run' AND lost IS NULL")
		return n == 1
	})
	l.wait("the reconciliation", func() bool {
		_, n := l.query(fmt.Sprintf("SELECT 1 FROM exits WHERE pid = %d AND presumed AND code IS NULL", ends.Process.Pid))
		return n == 1
	})
	l.stop()
	l.want("SELECT count(*) AS n FROM execs WHERE cmdline = '/bin/true while-it-was-down'", 0)
	l.want(fmt.Sprintf("SELECT count(*) AS n FROM processes WHERE pid = %d AND ended IS NULL", sleeper.Process.Pid), 1)
	l.want(fmt.Sprintf("SELECT count(*) AS n FROM execs WHERE pid = %d AND name = 'sleep'", sleeper.Process.Pid), 1)
}

// TestDrain wants the first signal to lose nothing that happened before it.
func TestDrain(t *testing.T) {
	l := newLab(t)
	l.run()
	for i := range 50 {
		l.mark("drain-" + strconv.Itoa(i))
	}
	l.stop()
	l.want("SELECT count(*) AS n FROM execs WHERE cmdline LIKE '/bin/true drain-%'", 50)
	l.want("SELECT count(*) AS n FROM exits WHERE process IN (SELECT process FROM execs WHERE cmdline LIKE '/bin/true drain-%')", 50)
}

// TestSeparateProcmond wants an agent that is killed and comes back to go on in
// the stream of a procmond that ran on, without a gap and without a loss.
func TestSeparateProcmond(t *testing.T) {
	l := newLab(t)
	socket := filepath.Join(t.TempDir(), "p.sock")
	l.separate(socket)
	l.run("--socket", socket)
	l.mark("first")
	l.waitMark("first")
	l.kill()
	l.mark("alone")
	l.run("--socket", socket)
	l.mark("second")
	l.waitMark("second")
	l.stop()
	l.want("SELECT count(*) AS n FROM gaps", 0)
	l.want("SELECT count(*) AS n FROM execs WHERE cmdline IN ('/bin/true first', '/bin/true alone', '/bin/true second')", 3)
	l.mark("again-alone")
	l.run("--socket", socket)
	l.waitMark("again-alone")
	l.stop()
	l.want("SELECT count(*) AS n FROM gaps", 0)
}

// TestSeparateProcmondRestarted wants an agent to wait for the procmond that it
// used, instead of starting one.
func TestSeparateProcmondRestarted(t *testing.T) {
	l := newLab(t)
	socket := filepath.Join(t.TempDir(), "p.sock")
	first := l.separate(socket)
	l.run("--socket", socket)
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	l.wait("the loss to be noticed", func() bool { a, _ := l.status(); return a.NoEvents != "" })
	second := l.separate(socket)
	l.wait("the other one to be used", func() bool {
		a, _ := l.status()
		return a.NoEvents == "" && a.Collector != nil && a.Collector.PID == second.Process.Pid
	})
	l.mark("by-the-other")
	l.waitMark("by-the-other")
	l.stop()
	l.want("SELECT count(*) AS n FROM gaps", 1)
}

// TestHungProcmond wants an agent to end although its procmond does not, when it
// is told to twice.
func TestHungProcmond(t *testing.T) {
	l := newLab(t)
	l.run()
	begin, procmond := time.Now(), l.procmond()
	if err := syscall.Kill(procmond, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	l.mark("meanwhile")
	const silent = "procmond has not answered since "
	for range 2 {
		if _, missing, code := l.querySince(begin); code != 3 || !strings.Contains(missing, "no events come in: "+silent) {
			t.Errorf("a query while procmond hangs: code %d, %s", code, missing)
		}
		if a, code := l.status(); code != 3 || a.State != health.Degraded || !strings.HasPrefix(a.NoEvents, silent) {
			t.Errorf("status while procmond hangs: code %d, %s: %v", code, a.State, a.Reasons)
		}
	}
	if err := syscall.Kill(procmond, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if rows, missing, code := l.querySince(begin); code != 0 || !strings.Contains(rows, "/bin/true meanwhile") {
		t.Errorf("a query when it goes on: code %d, %s\n%s", code, missing, rows)
	}
	if err := syscall.Kill(procmond, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second) // two signals in one moment are one
	}
	ended := make(chan error, 1)
	go func() { ended <- l.cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatalf("the agent still runs\n%s", l.out)
	}
}

// TestStatusWhileProcmondStarts wants an answer before there are events, and
// that it says so.
func TestStatusWhileProcmondStarts(t *testing.T) {
	l := newLab(t)
	slow, goOn := l.slowProcmond()
	l.start("--procmond", slow)
	l.wait("an answer", func() bool {
		a, code := l.status()
		return code == 3 && a.State == health.Degraded && slices.Contains(a.Reasons, "no events come in: procmond is being started")
	})
	if err := os.WriteFile(goOn, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	l.wait("the agent to be healthy", func() bool {
		a, code := l.status()
		return code == 0 && a.State == health.Healthy && a.Collector != nil
	})
	l.stop()
}

func TestSecondAgentIsRefused(t *testing.T) {
	l := newLab(t)
	l.run()
	out, err := exec.Command(filepath.Join(l.bin, "sentineld"), "run", "--data-dir", l.dir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), fmt.Sprintf("is in use by another sentineld, pid %d", l.cmd.Process.Pid)) {
		t.Errorf("%v: %s", err, out)
	}
	l.mark("still-recording")
	l.waitMark("still-recording")
	l.stop()
}

// TestShippedRuleFires wants an alert with process, parent and ancestors within
// a second of a real command.
func TestShippedRuleFires(t *testing.T) {
	l := newLab(t)
	l.run("--alert-output", "json", "--alert-file", filepath.Join(t.TempDir(), "alerts.ndjson"))
	begin := time.Now()
	cmd := exec.Command("/bin/bash", "-c", "exec -a '[kworker/u8:3]' /bin/sleep 0.01")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	l.wait("the alert", func() bool { return strings.Contains(l.out.String(), `"rule_id":"kernel-thread-masquerade"`) })
	t.Logf("from before the exec to the alert: %v", time.Since(begin))
	out, err := exec.Command(filepath.Join(l.bin, "sentineld"), "alerts", "list", "--data-dir", l.dir, "-o", "json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var alert struct {
		RuleID   string `json:"rule_id"`
		Severity string
		Evidence struct {
			Process, Parent struct {
				PID     int
				Cmdline string
			}
			Ancestors []string
		}
	}
	found := false
	for line := range strings.Lines(string(out)) {
		if err := json.Unmarshal([]byte(line), &alert); err != nil {
			t.Fatal(err)
		}
		if found = alert.RuleID == "kernel-thread-masquerade"; found {
			break
		}
	}
	e := alert.Evidence
	if !found || alert.Severity != "high" || e.Process.PID != cmd.Process.Pid || e.Process.Cmdline != "[kworker/u8:3] 0.01" ||
		e.Parent.PID != os.Getpid() || len(e.Ancestors) == 0 || !strings.HasSuffix(e.Ancestors[0], ".test") {
		t.Errorf("alerts list:\n%s", out)
	}
	l.stop()
}

// TestWithoutPrivileges wants polling, and one line that says what is missing.
func TestWithoutPrivileges(t *testing.T) {
	l := newLab(t)
	// The programs and the data directory must be reachable for nobody.
	dir, err := os.MkdirTemp("", "sentineld-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, p := range []string{"procmond", "sentineld"} {
		data, err := os.ReadFile(filepath.Join(l.bin, p))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, p), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l.dir, l.out = filepath.Join(dir, "data"), &syncBuffer{}
	l.cmd = exec.Command(filepath.Join(dir, "sentineld"), "run", "--data-dir", l.dir, "--poll-interval", "50ms", "--socket", filepath.Join(dir, "none"))
	l.cmd.Stdout, l.cmd.Stderr = l.out, l.out
	l.cmd.Env = append(os.Environ(), "HOME="+dir)
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.cmd.Process.Kill() }()
	l.wait("the first look", func() bool { _, n := l.query("SELECT 1 FROM processes LIMIT 1"); return n == 1 })
	sleeper := exec.Command("/bin/sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	l.wait("the sleeper", func() bool {
		_, n := l.query(fmt.Sprintf("SELECT 1 FROM execs WHERE pid = %d AND source = 'poll' AND cmdline = '/bin/sleep 1000'", sleeper.Process.Pid))
		return n == 1
	})
	_ = sleeper.Process.Kill()
	_ = sleeper.Wait()
	l.wait("its end", func() bool {
		_, n := l.query(fmt.Sprintf("SELECT 1 FROM exits WHERE pid = %d AND presumed AND code IS NULL", sleeper.Process.Pid))
		return n == 1
	})
	// What it cannot see is told as one gap that grows, and is no reason to look again.
	a, code := l.status()
	if c := a.Collector; code != 3 || c == nil || c.Source != "poll" || c.Gaps == 0 || c.Resyncs != 0 || a.Loss.Gaps != 0 {
		t.Errorf("code %d, %+v, %+v", code, a.Collector, a.Loss)
	}
	l.stop()
	l.want("SELECT count(*) AS n FROM gaps", 1)
	l.want("SELECT count(*) AS n FROM gaps WHERE source = 'poll' AND lost IS NULL AND cause = 'polling: what lives shorter than 50ms is not seen'", 1)
	for _, view := range []string{"execs", "exits"} {
		l.want("SELECT count(*) AS n FROM "+view+" e WHERE source = 'poll' AND NOT EXISTS (SELECT 1 FROM gaps g WHERE g.ts <= e.ts AND g.until >= e.ts)", 0)
	}
	if n := strings.Count(l.out.String(), "needs CAP_BPF and CAP_PERFMON: run with sudo, or use --source=poll"); n != 1 {
		t.Errorf("%d lines say what is missing:\n%s", n, l.out)
	}
	l.want("SELECT count(*) AS n FROM forks", 0)
}

// TestQuerySeesWhatWasBefore asks at once for what has just been executed, of a source
// that gives others time to come.
func TestQuerySeesWhatWasBefore(t *testing.T) {
	for _, source := range []string{"ebpf", "procconn"} {
		t.Run(source, func(t *testing.T) {
			l := newLab(t)
			settings := filepath.Join(t.TempDir(), "settings.yaml")
			if err := os.WriteFile(settings, []byte("collector:\n  flush_delay: 500ms\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			l.run("--alert-output", "none", "--source", source, "--config", settings)
			begin := time.Now()
			for range 5 {
				cmd := exec.Command("/bin/true") // the connector tells little more of it than its pid
				if err := cmd.Run(); err != nil {
					t.Fatal(err)
				}
				want := fmt.Sprintf(`"pid":%d,`, cmd.Process.Pid)
				if rows, missing, code := l.querySince(begin); code != 0 || !strings.Contains(rows, want) {
					t.Errorf("%s is not there: code %d, %s\n%s", want, code, missing, rows)
				}
			}
			l.stop()
		})
	}
}
