package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentineld/sentineld/internal/health"
)

// failingRule finds nothing, and fails where it sees a certain process.
const failingRule = `id: fails-once
title: Fails once
severity: high
sql: SELECT seq FROM execs WHERE NOT json_valid(json_extract(iif(cmdline LIKE '%not-to-be-seen%', '{', '[1]'), '$'))
`

// TestRuleThatMissedSomething: a rule that failed and runs again has not seen everything,
// which status and whoever asks for alerts are told.
func TestRuleThatMissedSomething(t *testing.T) {
	l := newPollLab(t)
	rules := t.TempDir()
	if err := os.WriteFile(filepath.Join(rules, "r.yaml"), []byte(failingRule), 0o600); err != nil {
		t.Fatal(err)
	}
	l.run("--source", "poll", "--poll-interval", "50ms", "--rules", rules, "--alert-output", "none")
	sentineld := func(args ...string) (stdout, stderr string, code int) {
		var out, errOut bytes.Buffer
		c := exec.Command(filepath.Join(l.bin, "sentineld"), append([]string{"--data-dir", l.dir}, args...)...)
		c.Stdout, c.Stderr = &out, &errOut
		_ = c.Run()
		return out.String(), errOut.String(), c.ProcessState.ExitCode()
	}
	const line = "alerts may be missing: rule fails-once (since "
	if _, stderr, _ := sentineld("alerts", "list"); strings.Contains(stderr, "alerts may be missing") {
		t.Errorf("before: %s", stderr)
	}
	hold := func(word string) {
		c := exec.Command("/bin/sh", "-c", "read x", word)
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
	}
	state := func() (r health.Rule) {
		out, _, _ := sentineld("status", "-o", "json")
		var a health.Agent
		if err := json.Unmarshal([]byte(out), &a); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, r := range a.Rules {
			if r.ID == "fails-once" {
				return r
			}
		}
		return r
	}
	hold("not-to-be-seen")
	l.wait("the rule to fail", func() bool { return state().Missed.Evaluations > 0 })
	hold("anything")
	l.wait("the rule to run again", func() bool { return state().State == "ok" })

	out, _, code := sentineld("status", "-o", "table")
	for _, want := range []string{"▲ degraded\n", "! rule fails-once did not look at some events, the last time ", "; 1 did not look at everything\n", "    fails-once: did not look at everything from "} {
		if code != 3 || !strings.Contains(out, want) {
			t.Errorf("status ends with %d and has no %q:\n%s", code, want, out)
		}
	}
	for _, args := range [][]string{{"alerts", "list"}, {"query", "SELECT * FROM alerts"}} {
		if _, stderr, code := sentineld(args...); code != 3 || strings.Count(stderr, line) != 1 {
			t.Errorf("%q ends with %d: %s", args, code, stderr)
		}
	}
	for _, args := range [][]string{{"query", "SELECT count(*) FROM execs"}, {"alerts", "list", "--until", "2020-01-01"}} {
		if _, stderr, _ := sentineld(args...); strings.Contains(stderr, "alerts may be missing") {
			t.Errorf("%q: %s", args, stderr)
		}
	}
	l.stop()
}
