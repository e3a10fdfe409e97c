package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHashes wants the hash of what is executed and of what was found running in
// every view that has it, a changed binary to be seen, and one alert of a rule on
// a hash.
func TestHashes(t *testing.T) {
	l := newLab(t)
	t.Setenv("SENTINELD_COLLECTOR_HASH_RATE", "1073741824") // the machine may be busy, and then it is an eighth
	dir := t.TempDir()
	path := filepath.Join(dir, "tool")
	write := func(tail string) string {
		t.Helper()
		b, err := os.ReadFile("/bin/true")
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, tail...)
		if err := os.WriteFile(path, b, 0o755); err != nil {
			t.Fatal(err)
		}
		<-time.After(20 * time.Millisecond) // of what was written just before its exec, the process alone can tell
		return fmt.Sprintf("%x", sha256.Sum256(b))
	}
	two := write("two") // what the rule is about
	rules := filepath.Join(dir, "rules")
	if err := os.Mkdir(rules, 0o755); err != nil {
		t.Fatal(err)
	}
	text := "id: bad\ntitle: Bad\nseverity: high\nsql: SELECT seq, cmdline FROM execs WHERE sha256 = '" + two + "'\n"
	if err := os.WriteFile(filepath.Join(rules, "bad.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sleeper := exec.Command("/bin/sleep", "1000")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() }()

	l.run("--rules", rules)
	one := write("one")
	run := func(marker, hash string) {
		t.Helper()
		if err := exec.Command(path, marker).Run(); err != nil {
			t.Fatal(err)
		}
		l.wait("the hash of "+marker, func() bool {
			_, n := l.query("SELECT 1 FROM execs WHERE cmdline LIKE '%" + marker + "' AND sha256 = '" + hash + "' AND known LIKE '%sha256%'")
			return n == 1
		})
	}
	run("first-content", one)
	write("two")
	run("second-content", two)
	l.wait("the alert", func() bool { return l.number("SELECT count(*) AS n FROM alerts WHERE rule_id = 'bad'") == 1 })
	rows, n := l.query("SELECT sha256, previous, execs, size FROM binaries WHERE exe = '" + path + "' ORDER BY first_seen")
	if n != 2 || rows[0]["sha256"] != one || rows[0]["previous"] != nil || rows[1]["sha256"] != two || rows[1]["previous"] != one || rows[1]["execs"] != 1.0 {
		t.Errorf("binaries: %v", rows)
	}
	sleep, err := filepath.EvalSymlinks("/bin/sleep")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	l.wait("the hash of what was found running", func() bool {
		_, n := l.query(fmt.Sprintf("SELECT 1 FROM processes WHERE pid = %d AND sha256 = '%x'", sleeper.Process.Pid, sha256.Sum256(b)))
		return n == 1
	})
	status := func() string {
		out, _ := exec.Command(filepath.Join(l.bin, "sentineld"), "status", "--data-dir", l.dir, "-o", "table").CombinedOutput()
		return string(out)
	}
	if s := status(); !strings.Contains(s, "files hashed (") {
		t.Error(s)
	}
	l.stop()
	l.run("--rules", rules)
	l.wait("hashes after a restart", func() bool { return strings.Contains(status(), " 0 waiting") })
	l.stop()
	l.want("SELECT count AS n FROM alerts WHERE rule_id = 'bad'", 1)
	l.want("SELECT count(*) AS n FROM gaps WHERE kind = 'hash'", 0)
}

// TestNoHashes: what is switched off is off, and the status says so.
func TestNoHashes(t *testing.T) {
	l := newLab(t)
	t.Setenv("SENTINELD_COLLECTOR_HASH_RATE", "0")
	l.run()
	l.mark("not-hashed")
	l.waitMark("not-hashed")
	out, _ := exec.Command(filepath.Join(l.bin, "sentineld"), "status", "--data-dir", l.dir, "-o", "table").CombinedOutput()
	if !strings.Contains(string(out), "hashes     off") {
		t.Errorf("%s", out)
	}
	l.stop()
	l.want("SELECT count(sha256) AS n FROM execs", 0)
}
