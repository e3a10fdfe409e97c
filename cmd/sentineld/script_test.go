package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/store"
)

func TestMain(m *testing.M) {
	testscript.Main(tidy{m}, map[string]func(){"sentineld": main})
}

// built is where the programs are once a test has built them.
var built string

// tidy runs the tests and removes what is all tests' own.
type tidy struct{ *testing.M }

func (t tidy) Run() int {
	code := t.M.Run()
	os.RemoveAll(built) // of "" it is nothing
	return code
}

var update = flag.Bool("update", false, "rewrite what the scripts compare with")

// TestScript runs testdata/script/*.txtar: the command line as its users see it.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			// Its own data directory, an empty configuration whatever is on this machine,
			// and one time zone.
			e.Setenv("SENTINELD_DATA_DIR", filepath.Join(e.WorkDir, "data"))
			e.Setenv("SENTINELD_CONFIG", filepath.Join(e.WorkDir, "empty.yaml"))
			e.Setenv("TZ", "UTC")
			e.Setenv("TERM", "xterm")
			return os.WriteFile(filepath.Join(e.WorkDir, "empty.yaml"), nil, 0o600)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"code": cmdCode, "fill": cmdFill, "newer": cmdNewer, "waitfor": cmdWaitFor, "validjson": cmdValidJSON, "validcsv": cmdValidCSV,
			"nocontrol": cmdNoControl,
		},
	})
}

// cmdCode runs `code N COMMAND...`, which must end with exit code N.
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

const (
	fillBoot = int64(1_760_000_000_000_000_000) // 2025-10-09 08:53:20 UTC
	second   = int64(time.Second)
)

// fillKey and its siblings make events of a machine that was booted at fillBoot.
func fillKey(pid uint32) event.ProcessKey {
	return event.ProcessKey{Boot: event.BootID{0xab, 0xcd, 0xef, 0x01}, PID: pid, Start: uint64(pid)}
}

func fillExec(pid, ppid uint32, at int64, exe string, args ...string) event.Event {
	joined := ""
	for _, a := range args {
		joined += a + "\x00"
	}
	return event.Event{
		Kind: event.KindExec, Source: event.SourceEBPF, Time: fillBoot + at*second, Process: fillKey(pid), Parent: fillKey(ppid),
		Known: event.KnownTime | event.KnownParent | event.KnownUID | event.KnownExe | event.KnownArgs | event.KnownUser,
		Exec: &event.Exec{
			UID: 1000, GID: 1000, User: "ann", Exe: exe, Args: joined, ArgsLen: uint64(len(joined)), Argc: uint32(len(args)),
		},
	}
}

func fillFork(pid, ppid uint32, at int64) event.Event {
	return event.Event{
		Kind: event.KindFork, Source: event.SourceEBPF, Time: fillBoot + at*second, Process: fillKey(pid), Parent: fillKey(ppid),
		Known: event.KnownTime | event.KnownParent,
	}
}

func fillExit(pid uint32, at int64, code, signal uint8) event.Event {
	return event.Event{
		Kind: event.KindExit, Source: event.SourceEBPF, Time: fillBoot + at*second, Process: fillKey(pid),
		Known: event.KnownTime | event.KnownCode | event.KnownDuration,
		Exit:  &event.Exit{Code: code, Signal: signal, DurationNS: second},
	}
}

// cmdFill is `fill WHAT...`: it adds to the store what is named.
//
//	events   a server, its shell with arguments that try to do harm, and more
//	gap      one gap of which the number of lost events is known, one of which it is not
//	late     a gap that lies in the time of alert, told after everything else
//	alert    one open alert with all of its evidence
//	hurt     a closed alert that is not complete
//	many     1,000 execs
//	later    one exec and its exit, after everything else
func cmdFill(ts *testscript.TestScript, _ bool, args []string) {
	ctx := context.Background()
	db, err := store.Open(ctx, store.Options{Dir: ts.Getenv("SENTINELD_DATA_DIR"), BootTime: func() int64 { return fillBoot }})
	ts.Check(err)
	for _, what := range args {
		var events []event.Event
		var alerts []event.Alert
		switch what {
		case "events":
			events = []event.Event{
				fillExec(100, 1, 10, "/usr/sbin/nginx", "nginx", "-g", "daemon off;"),
				fillFork(200, 100, 20),
				fillExec(200, 100, 20, "/bin/sh", "sh", "-c", "printf '\x1b[31mred\x1b]0;title\x07'\nrm -rf \"x\", y", "", "\xff\xfe", "\u202etxt.exe"),
				fillExit(200, 21, 1, 0),
				fillFork(201, 100, 22),
				fillExec(201, 100, 22, "/usr/bin/id", "id"),
				fillExit(201, 23, 0, 9),
			}
		case "gap":
			events = []event.Event{
				{
					Kind: event.KindGap, Source: event.SourceEBPF, Time: fillBoot + 30*second, Known: event.KnownTime | event.KnownLost,
					Gap: &event.Gap{Until: fillBoot + 31*second, Of: event.KindExec, Lost: 5, Cause: "ring buffer full"},
				},
				{
					Kind: event.KindGap, Source: event.SourceAgent, Time: fillBoot + 40*second, Known: event.KnownTime,
					Gap: &event.Gap{Until: fillBoot + 45*second, Cause: "sentineld did not run"},
				},
			}
		case "late":
			events = []event.Event{{
				Kind: event.KindGap, Source: event.SourceEBPF, Time: fillBoot + 19*second, Known: event.KnownTime | event.KnownLost,
				Gap: &event.Gap{Until: fillBoot + 20*second, Of: event.KindFork, Lost: 1, Cause: "ring buffer full"},
			}}
		case "alert", "hurt":
			uid := int64(1000)
			a := event.Alert{
				ID: "0123456789abcdef", Time: fillBoot + 20*second, RuleID: "service-spawned-shell", RuleName: "Server started a shell",
				RuleVersion: "v1", Author: "SentinelD", Severity: event.SeverityHigh, Tags: []string{"attack.t1505.003"},
				Title: "Server started a shell: sh \x1b[31m", Key: "k", FirstSeen: fillBoot + 20*second, LastSeen: fillBoot + 20*second,
				Process: fillKey(200).String(), Complete: what == "alert",
				Evidence: event.Evidence{
					Row:       json.RawMessage(`{"seq":3}`),
					Process:   &event.ProcessInfo{Process: fillKey(200).String(), PID: 200, Exe: "/bin/sh", Cmdline: "sh -c x", UID: &uid, User: "ann"},
					Parent:    &event.ProcessInfo{Process: fillKey(100).String(), PID: 100, Exe: "/usr/sbin/nginx"},
					Ancestors: []string{"/usr/sbin/nginx", "/sbin/init"},
				},
			}
			if what == "hurt" {
				a.ID, a.State, a.Key, a.Time, a.Evidence = "fedcba9876543210", "closed", "l", a.Time+second, event.Evidence{Row: json.RawMessage(`{}`)}
			}
			alerts = append(alerts, a)
		case "many":
			for i := range uint32(1000) {
				events = append(events, fillExec(1000+i, 1, 100+int64(i), "/usr/bin/true", "true", strconv.Itoa(int(i)), strings.Repeat("x", 200)))
			}
		case "later":
			events = []event.Event{
				fillExec(9000, 100, 5000, "/usr/bin/curl", "curl", "http://later.example/"),
				fillExit(9000, 5001, 6, 0),
			}
		case "run": // over all of these, without failed execs
			_, err := db.BeginRun(ctx, store.Begin{Boot: event.BootID{1}, At: fillBoot})
			ts.Check(err)
			ts.Check(db.EndRun(ctx, store.End{At: fillBoot + 60*second, Covered: fillBoot + 50*second}))
		default:
			ts.Fatalf("fill %s: there is no such thing", what)
		}
		if len(events) > 0 {
			_, err := db.Append(ctx, events)
			ts.Check(err)
		}
		if len(alerts) > 0 {
			_, err := db.RecordAlerts(ctx, db.LastSeq(), alerts, 0)
			ts.Check(err)
		}
	}
	ts.Check(db.Close())
}

// cmdNewer makes the store one of a sentineld that does not exist yet.
func cmdNewer(ts *testscript.TestScript, _ bool, _ []string) {
	conn, err := sqlite.OpenConn(filepath.Join(ts.Getenv("SENTINELD_DATA_DIR"), store.FileName), sqlite.OpenReadWrite)
	ts.Check(err)
	ts.Check(sqlitex.ExecuteTransient(conn, "PRAGMA user_version = 99", nil))
	ts.Check(conn.Close())
}

// cmdWaitFor is `waitfor FILE REGEXP`: it waits until a program in the
// background has written that.
func cmdWaitFor(ts *testscript.TestScript, _ bool, args []string) {
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var text []byte
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		text, _ = os.ReadFile(ts.MkAbs(args[0])) // not there yet
		if re.Match(text) {
			return
		}
	}
	ts.Fatalf("waited 15 s for %s in:\n%s", args[1], text)
}

// cmdValidJSON is `validjson N`: stdout has N lines, each a JSON object of UTF-8.
func cmdValidJSON(ts *testscript.TestScript, _ bool, args []string) {
	n := 0
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil || strings.ToValidUTF8(line, "") != line {
			ts.Fatalf("%q: %v", line, err)
		}
		n++
	}
	if strconv.Itoa(n) != args[0] {
		ts.Fatalf("%d lines, want %s", n, args[0])
	}
}

// cmdValidCSV is `validcsv N`: stdout is N records of one length.
func cmdValidCSV(ts *testscript.TestScript, _ bool, args []string) {
	records, err := csv.NewReader(strings.NewReader(ts.ReadFile("stdout"))).ReadAll()
	ts.Check(err)
	if strconv.Itoa(len(records)) != args[0] {
		ts.Fatalf("%d records, want %s", len(records), args[0])
	}
}

// cmdNoControl is `nocontrol FILE`: nothing in it steers a terminal. FILE may be
// stdout, stderr or ttyout.
func cmdNoControl(ts *testscript.TestScript, neg bool, args []string) {
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "\r\n", "\n") // a terminal's own
	i := strings.IndexFunc(text, func(r rune) bool {
		return r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r == 0xfffd || r >= 0x202a && r <= 0x202e
	})
	if (i >= 0) != neg {
		ts.Fatalf("control character at %d of %q", i, text)
	}
}
