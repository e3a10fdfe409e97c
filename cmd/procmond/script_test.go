package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sentineld/sentineld/internal/testenv"
)

// noRaceSleep keeps the race detector from sleeping for a second whenever a
// program ends (GORACE).
const noRaceSleep = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"procmond": main, "without-bpf": withoutBPF})
}

var update = flag.Bool("update", false, "rewrite what the scripts compare with")

// TestScript runs testdata/script/*.txtar: the program as its users see it. A
// script whose first line is "# needs bpf", "# needs netadmin" or "# needs linux"
// is left out where that is missing.
func TestScript(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	needs := map[string][]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(b), "\n")
		need, ok := strings.CutPrefix(first, "# needs ")
		if !ok {
			need = "nothing"
		}
		needs[need] = append(needs[need], f)
	}
	for need, files := range needs {
		check, ok := map[string]func(testing.TB){
			"nothing":  func(testing.TB) {},
			"bpf":      testenv.NeedBPF,
			"netadmin": testenv.NeedNetAdmin,
			"linux": func(t testing.TB) {
				if _, err := os.Stat("/proc/self/stat"); err != nil {
					testenv.Skip(t, "needs Linux")
				}
			},
		}[need]
		if !ok {
			t.Fatalf("%q: nobody knows how to find out whether it is there", need)
		}
		t.Run(need, func(t *testing.T) {
			check(t)
			testscript.Run(t, testscript.Params{
				Files: files, UpdateScripts: *update,
				Setup: func(e *testscript.Env) error {
					e.Setenv("GORACE", noRaceSleep)
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": cmdCode, "waitfor": cmdWaitFor, "events": cmdEvents},
			})
		})
	}
}

// cmdCode is `code N COMMAND...`, which must end with exit code N.
func cmdCode(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// cmdWaitFor is `waitfor FILE REGEXP`: another program is to write that.
func cmdWaitFor(ts *testscript.TestScript, _ bool, args []string) {
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var text []byte
	ok := until(func() bool {
		text, _ = os.ReadFile(ts.MkAbs(args[0])) // not there yet
		return re.Match(text)
	})
	if !ok {
		ts.Fatalf("waited in vain for %s in:\n%s", args[1], tail(text))
	}
}

// cmdEvents is `events N FILE NAME=VALUE... NAME~REGEXP...`: FILE has one JSON
// object a line, and N of them have all of these members. VALUE is the text of a
// string, or JSON; NAME= alone is for a member that is not there.
func cmdEvents(ts *testscript.TestScript, _ bool, args []string) {
	n := 0
	text := ts.ReadFile(args[1])
	for line := range strings.Lines(text) {
		var m map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &m); err != nil || !strings.HasSuffix(line, "\n") {
			ts.Fatalf("%v in %q", err, line)
		}
		if matches(ts, m, args[2:]) {
			n++
		}
	}
	if fmt.Sprint(n) != args[0] {
		ts.Fatalf("%d lines have %q, want %s:\n%s", n, args[2:], args[0], tail([]byte(text)))
	}
}

func matches(ts *testscript.TestScript, m map[string]json.RawMessage, want []string) bool {
	for _, w := range want {
		at := strings.IndexAny(w, "=~")
		if at < 0 {
			ts.Fatalf("%q: want NAME=VALUE or NAME~REGEXP", w)
		}
		got := string(m[w[:at]])
		var s string
		if json.Unmarshal([]byte(got), &s) == nil {
			got = s
		}
		if w[at] == '=' && got != w[at+1:] || w[at] == '~' && !regexp.MustCompile(w[at+1:]).MatchString(got) {
			return false
		}
	}
	return true
}

// until asks again and again whether another program has come to do something.
func until(done func() bool) bool {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		if done() {
			return true
		}
	}
	return false
}

// tail is the end of what may be long.
func tail(b []byte) []byte { return b[max(0, len(b)-4000):] }
