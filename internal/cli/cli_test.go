package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestExitCode(t *testing.T) {
	plain := errors.New("plain")
	for _, test := range []struct {
		name string
		err  error
		code int
		text string // on stderr
	}{
		{"done", nil, 0, ""},
		{"failed", plain, 1, "prog: plain\n"},
		{"usage", Usage(plain), 2, "prog: plain\n"},
		{"wrapped usage", fmt.Errorf("read: %w", Usage(plain)), 2, "prog: read: plain\n"},
		{"joined usage", errors.Join(plain, Usagef("line %d", 3)), 2, "prog: plain\nline 3\n"},
		{"incomplete", ErrIncomplete, 3, ""},
		{"wrapped incomplete", fmt.Errorf("query: %w", ErrIncomplete), 3, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stderr bytes.Buffer
			if code := Main("prog", &stderr, test.err); code != test.code || code != ExitCode(test.err) || stderr.String() != test.text {
				t.Errorf("code %d, stderr %q; want %d, %q", code, stderr.String(), test.code, test.text)
			}
		})
	}
	if Usage(nil) != nil {
		t.Error("Usage of no error is an error")
	}
	if !errors.Is(Usage(plain), plain) || !errors.Is(Usagef("x: %w", plain), plain) {
		t.Error("Usage hides its cause")
	}
}

type grammar struct {
	Logging
	Run struct {
		Count int    `help:"How many."`
		Name  string `arg:"" optional:""`
	} `cmd:"" help:"Do it."`
	Rules struct {
		List struct {
			checked
		} `cmd:"" help:"List them."`
	} `cmd:"" help:"Rules."`
}

type checked struct {
	Limit int `default:"1"`
}

func (c checked) Validate() error {
	if c.Limit < 1 {
		return fmt.Errorf("--limit=%d: want 1 or more", c.Limit)
	}
	return nil
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		args    string
		command string // that was chosen
		text    string // of the error
	}{
		{"run --count=3 x", "run <name>", ""},
		{"--log-level=debug run", "run", ""},
		{"run --log-level=debug", "run", ""},
		{"rules list", "rules list", ""},
		{"", "", "(see prog --help)"},
		{"walk", "", "unexpected argument walk (see prog --help)"},
		{"--fast run", "", "unknown flag --fast (see prog --help)"},
		{"run --fast", "", "unknown flag --fast (see prog run --help)"},
		{"run --count=x", "", "(see prog run --help)"},
		{"rules list --fast", "", "unknown flag --fast (see prog rules list --help)"},
		{"rules list --limit=0", "", "--limit=0: want 1 or more (see prog rules list --help)"},
		{"run --log-level=loud", "", "--log-level must be one of"},
	} {
		t.Run(test.args, func(t *testing.T) {
			var g grammar
			var out, log bytes.Buffer
			k, done, err := Parse(&g, strings.Fields(test.args), &out, &log, kong.Name("prog"))
			switch {
			case done:
				t.Error("done")
			case test.text != "":
				if ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), test.text) {
					t.Errorf("error %v (exit %d), want exit 2 with %q", err, ExitCode(err), test.text)
				}
			case err != nil:
				t.Error(err)
			case k.Command() != test.command:
				t.Errorf("command %q, want %q", k.Command(), test.command)
			}
			if out.Len()+log.Len() > 0 {
				t.Errorf("it printed %q and %q: errors are Main's to print", &out, &log)
			}
		})
	}
}

func TestParseHelp(t *testing.T) {
	for args, want := range map[string]string{
		"--help":            "Usage: prog <command>",
		"run --help":        "Usage: prog run [<name>]",
		"run --count=3 -h":  "How many.",
		"rules --help":      "List them.",
		"rules list --help": "--limit=1",
	} {
		var g grammar
		var out bytes.Buffer
		_, done, err := Parse(&g, strings.Fields(args), &out, io.Discard, kong.Name("prog"))
		if !done || err != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: done %v, %v, printed %q; want %q", args, done, err, &out, want)
		}
	}
}

func TestParseBadGrammar(t *testing.T) {
	var g struct {
		A int `default:"x" enum:"x"`
		B chan int
	}
	if _, _, err := Parse(&g, nil, io.Discard, io.Discard); err == nil || ExitCode(err) != ExitFailed {
		t.Errorf("error %v: a grammar that is wrong is not the user's fault", err)
	}
}

func TestLogger(t *testing.T) {
	for _, test := range []struct {
		level string
		lines int
	}{{"debug", 4}, {"info", 3}, {"warn", 2}, {"error", 1}} {
		for _, format := range []string{"text", "json"} {
			var out bytes.Buffer
			log := Logging{LogLevel: test.level, LogFormat: format}.Logger(&out)
			log.Debug("m", "k", "a b")
			log.Info("m", "k", "a b")
			log.Warn("m", "k", "a b")
			log.Error("m", "k", "a b")
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if len(lines) != test.lines {
				t.Errorf("%s: %d lines, want %d", test.level, len(lines), test.lines)
			}
			for _, line := range lines {
				if format == "json" {
					var m map[string]any
					if err := json.Unmarshal([]byte(line), &m); err != nil || m["msg"] != "m" || m["k"] != "a b" || m["time"] == nil {
						t.Errorf("%v in %q", err, line)
					}
				} else if !strings.Contains(line, `msg=m k="a b"`) {
					t.Errorf("got %q", line)
				}
			}
		}
	}
}

func TestBuild(t *testing.T) {
	b := ThisBuild()
	if b.Version != "dev" || b.Go != runtime.Version() || b.Platform != runtime.GOOS+"/"+runtime.GOARCH {
		t.Errorf("%+v", b)
	}
	for want, b := range map[string]Build{
		"dev go1 linux/amd64":               {Version: "dev", Go: "go1", Platform: "linux/amd64"},
		"v1 (0123456789ab) go1 linux/amd64": {Version: "v1", Revision: "0123456789abcdef", Go: "go1", Platform: "linux/amd64"},
		"v1 (01) go1 linux/amd64":           {Version: "v1", Revision: "01", Go: "go1", Platform: "linux/amd64"},
	} {
		if got := b.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
