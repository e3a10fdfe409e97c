package detect_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/sentineld/sentineld/internal/detect"
	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/rule"
)

const rulesDir = "../../testdata/rules"

// ruleTest is a file of testdata/rules.
type ruleTest struct {
	Rule  string     `yaml:"rule"`
	Cases []ruleCase `yaml:"cases"`
}

type ruleCase struct {
	Name  string   `yaml:"name"`
	Alert bool     `yaml:"alert"`
	Title string   `yaml:"title"` // the alert's title contains it
	Exec  testExec `yaml:"exec"`
	Execs []string `yaml:"execs"` // instead: command lines of Exec's children, a second apart
}

// testExec is an exec; what is not given is as on an ordinary machine.
type testExec struct {
	Exe     string    `yaml:"exe"` // default /usr/bin/ARGS[0]
	Invoked string    `yaml:"invoked"`
	Args    []string  `yaml:"args"`
	Cmd     string    `yaml:"cmd"` // instead of args: cut at spaces
	Sh      string    `yaml:"sh"`  // instead of args: sh -c SH
	Cwd     string    `yaml:"cwd"`
	User    string    `yaml:"user"` // default root
	UID     uint32    `yaml:"uid"`
	AUID    uint32    `yaml:"auid"`
	Source  string    `yaml:"source"`
	Parent  *testExec `yaml:"parent"` // default bash, of root

	Fileless bool `yaml:"fileless"`
	Deleted  bool `yaml:"deleted"`
}

func (x *testExec) event(l *lab, parent uint32) event.Event {
	l.Helper()
	if x.Sh != "" {
		x.Args = []string{"sh", "-c", x.Sh}
		if x.Exe == "" {
			x.Exe, x.Invoked = "/usr/bin/dash", "/bin/sh"
		}
	}
	if x.Cmd != "" {
		x.Args = strings.Fields(x.Cmd)
	}
	if x.Exe == "" && len(x.Args) > 0 {
		x.Exe = "/usr/bin/" + filepath.Base(strings.TrimPrefix(x.Args[0], "-"))
	}
	e := l.exec(parent, x.Exe, x.Args...)
	e.Exec.UID, e.Exec.EUID, e.Exec.AUID, e.Exec.User = x.UID, x.UID, event.AUIDUnset, "root"
	if x.User != "" {
		e.Exec.User = x.User
	}
	if x.AUID != 0 {
		e.Exec.AUID = x.AUID
	}
	if x.Invoked != "" {
		e.Exec.Invoked = x.Invoked
	}
	if x.Cwd != "" {
		e.Exec.Cwd = x.Cwd
	}
	if x.Source == "snapshot" {
		e.Source = event.SourceSnapshot
	}
	e.Exec.Fileless, e.Exec.Deleted = x.Fileless, x.Deleted
	return e
}

// play appends what happens in a case, an hour after the one before.
func (c *ruleCase) play(l *lab) {
	l.Helper()
	l.now += 3600 * second
	parent := c.Exec.Parent
	if parent == nil {
		parent = &testExec{Cmd: "bash"}
	}
	p := parent.event(l, 1)
	l.append(p)
	x := c.Exec.event(l, p.Process.PID)
	if x.Exec.Exe != "" {
		l.append(x)
	}
	for _, cmd := range c.Execs {
		child := testExec{Cmd: cmd}
		l.append(child.event(l, p.Process.PID))
	}
}

func readTests(t *testing.T) []ruleTest {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(rulesDir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal("no rule tests", err)
	}
	var tests []ruleTest
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var rt ruleTest
		if err := yaml.NewDecoder(bytes.NewReader(data), yaml.DisallowUnknownField()).Decode(&rt); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if rt.Rule != strings.TrimSuffix(filepath.Base(file), ".yaml") {
			t.Fatalf("%s: is about rule %q", file, rt.Rule)
		}
		tests = append(tests, rt)
	}
	return tests
}

func TestDefaultRules(t *testing.T) {
	l := newLab(t)
	defaults := rule.Defaults()
	e := l.engine(detect.Options{Rules: defaults})
	for _, s := range e.Status() {
		if s.State != detect.StateOK {
			t.Errorf("%s: %s %s", s.ID, s.State, s.Err)
		}
	}
	tested := map[string][2]int{}
	for _, rt := range readTests(t) {
		if rt.Rule == "benign" {
			continue
		}
		for i, c := range rt.Cases {
			t.Run(fmt.Sprintf("%s/%d_%s", rt.Rule, i, c.Name), func(t *testing.T) {
				outer := l.TB
				l.TB = t
				defer func() { l.TB = outer }()
				runCase(l, e, rt.Rule, c)
			})
			n := tested[rt.Rule]
			if c.Alert {
				n[0]++
			} else {
				n[1]++
			}
			tested[rt.Rule] = n
		}
	}
	for _, r := range defaults {
		if n := tested[r.ID]; n[0] < 1 || n[1] < 2 {
			t.Errorf("%s: %d cases that match and %d that do not: want at least 1 and 2", r.ID, n[0], n[1])
		}
	}
}

func runCase(l *lab, e *detect.Engine, id string, c ruleCase) {
	l.Helper()
	c.play(l)
	var all []string
	fired := false
	for _, a := range l.evaluate(e).Alerts {
		all = append(all, a.RuleID+": "+a.Title)
		if a.RuleID != id {
			continue
		}
		fired = true
		if !strings.Contains(a.Title, c.Title) {
			l.Errorf("title %q: want one with %q", a.Title, c.Title)
		}
		if !json.Valid(a.Evidence.Row) || a.Evidence.Process == nil || a.Evidence.Parent == nil || !a.Complete {
			l.Errorf("evidence is not whole: %s %+v", a.Evidence.Row, a)
		}
	}
	if fired != c.Alert {
		l.Errorf("alert %v, want %v; alerts: %q", fired, c.Alert, all)
	}
}

// TestBenign runs what ordinary machines do, and wants no alert of any rule.
func TestBenign(t *testing.T) {
	l := newLab(t)
	e := l.engine(detect.Options{Rules: rule.Defaults()})
	n := 0
	for _, rt := range readTests(t) {
		if rt.Rule != "benign" {
			continue
		}
		for _, c := range rt.Cases {
			n++
			c.play(l)
			for _, a := range l.evaluate(e).Alerts {
				t.Errorf("%s: %s: %s", c.Name, a.RuleID, a.Title)
			}
		}
	}
	if n < 60 {
		t.Errorf("%d benign cases, want 60 at least", n)
	}
}
