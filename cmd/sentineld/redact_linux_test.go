package main

import (
	"bytes"
	"crypto/rand"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// newPollLab is a lab that needs no privileges.
func newPollLab(t *testing.T) *lab {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return &lab{T: t, bin: bin, dir: filepath.Join(t.TempDir(), "data")}
}

// secretRule raises an alert with the command line of what secretProcess starts.
const secretRule = `id: tail-of-nothing
title: Tail of nothing
severity: high
description: For a test.
sql: SELECT seq, process, cmdline FROM execs WHERE cmdline LIKE '%hold-still%'
`

// secretProcess starts a process that has a secret among its arguments and lives
// until the test ends.
func secretProcess(t *testing.T) (pid int, secret string) {
	t.Helper()
	secret = "hunter2-" + rand.Text()
	c := exec.Command("/bin/sh", "-c", "read x", "hold-still", "--password", secret, "http://ann:"+secret+"@host/")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = c.Wait()
	})
	return c.Process.Pid, secret
}

// holds lists the files below dir that hold text.
func holds(t *testing.T, dir, text string) (files []string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		n++
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			files = append(files, path)
		}
		return err
	})
	if err != nil || n == 0 {
		t.Fatalf("%d files, %v", n, err)
	}
	return files
}

// TestSecretIsNowhere wants the arguments of a real process without their secret
// in the record, the alert, the log and every file, while the agent runs and
// afterwards; and all of them when that was switched off, which shows.
func TestSecretIsNowhere(t *testing.T) {
	pid, secret := secretProcess(t)
	l := newPollLab(t)
	rules := t.TempDir()
	if err := os.WriteFile(filepath.Join(rules, "r.yaml"), []byte(secretRule), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"--source", "poll", "--poll-interval", "50ms", "--log-level", "debug", "--live", "--rules", rules,
		"--alert-output", "json", "--alert-file", filepath.Join(filepath.Dir(l.dir), "alerts.ndjson"),
	}
	l.run(args...)
	l.wait("the process", func() bool {
		rows, n := l.query("SELECT cmdline, redacted FROM execs WHERE pid = " + strconv.Itoa(pid))
		return n > 0 && rows[0]["cmdline"] == "/bin/sh -c read x hold-still --password [redacted] http://ann:[redacted]@host/" && rows[0]["redacted"] == 1.0
	})
	// It was started during the run, so that rules and live output have it too.
	second, secondSecret := secretProcess(t)
	l.wait("the alert", func() bool {
		return strings.Contains(l.out.String(), `"rule_id":"tail-of-nothing"`) && strings.Contains(l.out.String(), strconv.Itoa(second))
	})
	for _, when := range []string{"while it runs", "afterwards"} {
		for _, s := range []string{secret, secondSecret} {
			if files := holds(t, filepath.Dir(l.dir), s); files != nil {
				t.Errorf("%s: %s is in %q", when, s, files)
			}
			if strings.Contains(l.out.String(), s) {
				t.Errorf("%s: %s is in the output:\n%s", when, s, l.out)
			}
		}
		if when == "while it runs" {
			l.stop()
		}
	}
	if holds(t, filepath.Dir(l.dir), "hold-still") == nil {
		t.Error("the search finds nothing at all")
	}
	l.want("SELECT redacted AS n FROM runs", 1)

	config := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(config, []byte("redact: {enabled: false}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	third, thirdSecret := secretProcess(t)
	l.run(append(args, "--config", config)...)
	l.wait("the process as it is", func() bool {
		rows, n := l.query("SELECT cmdline, redacted FROM execs WHERE pid = " + strconv.Itoa(third))
		return n > 0 && strings.Contains(rows[0]["cmdline"].(string), thirdSecret) && rows[0]["redacted"] == 0.0
	})
	status := exec.Command(filepath.Join(l.bin, "sentineld"), "status", "--data-dir", l.dir, "-o", "table")
	out, _ := status.Output()
	if status.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "! secrets in arguments and environment are stored as they are (redact.enabled is false)") {
		t.Errorf("status ends with %d:\n%s", status.ProcessState.ExitCode(), out)
	}
	l.stop()
	if !strings.Contains(l.out.String(), "level=WARN msg=\"secrets in arguments and environment are stored as they are") {
		t.Errorf("no warning:\n%s", l.out)
	}
	l.want("SELECT redacted AS n FROM runs ORDER BY started DESC LIMIT 1", 0)
}
