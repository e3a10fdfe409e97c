package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// write makes a file in a directory of the test's own.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// noDefaultFiles makes the tests independent of the machine's configuration,
// as far as that is below the home directory.
func noDefaultFiles(t *testing.T) (userDir string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "AppData", "ProgramData"} {
		t.Setenv(name, dir)
	}
	config, err := os.UserConfigDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(config, "sentineld")
}

func TestDefaultsAreValid(t *testing.T) {
	c := Default()
	if faults := c.check(); len(faults) > 0 {
		t.Fatal(faults)
	}
	noDefaultFiles(t)
	l, err := Load(Layers{})
	if err != nil {
		t.Fatal(err)
	}
	for path, origin := range l.Origins {
		if origin != "default" && !strings.HasPrefix(origin, "/etc/") {
			t.Errorf("%s comes from %s", path, origin)
		}
	}
}

// TestLayers gives one option in each layer, and every later layer one more.
func TestLayers(t *testing.T) {
	file := write(t, "c.yaml", `# what this host differs in
data_dir: /from/file
log: {level: debug}
store:
  batch_rows: 10
  batch_delay: 100ms
rules:
  dirs: [/a, "/b, c"]
  defaults: false
alerts.file: /alerts
`)
	l, err := Load(Layers{
		File: file,
		Env: []string{
			"SENTINELD_STORE_BATCH_ROWS=20", "SENTINELD_STORE_BATCH_DELAY=200ms", "SENTINELD_CONFIG=ignored", "PATH=/bin",
			"SENTINELD_COLLECTOR_SOURCE=poll", "SENTINELD_ALERTS_FOLD=0s",
		},
		Flags: map[string]string{"store.batch_rows": "30", "detect.deadline": "5s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.DataDir, want.Log.Level, want.Store.BatchRows, want.Store.BatchDelay = "/from/file", "debug", 30, 200*time.Millisecond
	want.Rules = Rules{Dirs: []string{"/a", "/b, c"}}
	want.Collector.Source, want.Detect.Deadline, want.Alerts.File, want.Alerts.Fold = "poll", 5*time.Second, "/alerts", 0
	if d := cmp.Diff(want, l.Config); d != "" {
		t.Error(d)
	}
	origins := map[string]string{
		"data_dir": file + ":2", "log.level": file + ":3", "log.format": "default", "store.batch_rows": "flag",
		"store.batch_delay": "SENTINELD_STORE_BATCH_DELAY", "rules.dirs": file + ":8", "rules.defaults": file + ":9",
		"collector.source": "SENTINELD_COLLECTOR_SOURCE", "alerts.file": file + ":10", "alerts.fold": "SENTINELD_ALERTS_FOLD",
		"detect.deadline": "flag",
	}
	for path, origin := range l.Origins {
		want, ok := origins[path]
		if !ok {
			want = "default"
		}
		if origin != want {
			t.Errorf("%s comes from %q, want %q", path, origin, want)
		}
	}
	if options := l.options(); len(l.Origins) != len(options) {
		t.Errorf("%d origins of %d options", len(l.Origins), len(options))
	}
}

// TestUserFile is read without being named, and the file of --config instead of
// it.
func TestUserFile(t *testing.T) {
	dir := noDefaultFiles(t)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte("store: {batch_rows: 7}\nlog: {level: error}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Load(Layers{})
	if err != nil || l.Store.BatchRows != 7 {
		t.Fatal(err, l.Store.BatchRows)
	}
	l, err = Load(Layers{File: write(t, "c.json", `{"store": {"batch_rows": 8}}`)})
	if err != nil || l.Store.BatchRows != 8 || l.Log.Level != "info" {
		t.Fatal(err, l.Store.BatchRows, l.Log.Level)
	}
}

// TestBrokenFiles has the exact messages: they are what people work with.
func TestBrokenFiles(t *testing.T) {
	tests := []struct{ name, src, want string }{
		{"misspelled option", "store:\n  batch_rowz: 10\n", `c.yaml:2:3: unknown option "store.batch_rowz": did you mean "batch_rows"?
  2 |   batch_rowz: 10
    |   ^`},
		{"option without its group", "batch_rows: 10\n", `c.yaml:1:1: unknown option "batch_rows": did you mean store.batch_rows?
  1 | batch_rows: 10
    | ^`},
		{"misspelled group", "stor:\n  batch_rows: 10\n", `c.yaml:1:1: unknown option "stor": did you mean "store"?
  1 | stor:
    | ^`},
		{"unknown option", "log:\n  colour: red\n", `c.yaml:2:3: unknown option "log.colour": there are format, level
  2 |   colour: red
    |   ^`},
		{"after characters of more than one byte", "data_dir: é\nlog: {leväl: debug}\n", `c.yaml:2:7: unknown option "log.leväl": did you mean "level"?
  2 | log: {leväl: debug}
    |       ^`},
		{"value for a group", "store: 5\n", `c.yaml:1:8: store is a group of options, not a value (write store.NAME on a line of its own below it)
  1 | store: 5
    |        ^`},
		{"list for a group", "store: [1]\n", `c.yaml:1:8: store is a group of options, not a value (write store.NAME on a line of its own below it)
  1 | store: [1]
    |        ^`},
		{"group for a value", "data_dir:\n  path: /x\n", `c.yaml:2:3: data_dir is a group of options, not a text
  2 |   path: /x
    |   ^`},
		{"number below the range", "store: {batch_rows: 0}\n", `c.yaml:1:21: store.batch_rows: 0 is not between 1 and 100000
  1 | store: {batch_rows: 0}
    |                     ^`},
		{"number above what a number can be", "store: {batch_rows: 18446744073709551615}\n", `c.yaml:1:21: store.batch_rows: "18446744073709551615" is no whole number
  1 | store: {batch_rows: 18446744073709551615}
    |                     ^`},
		{"quoted number", "store: {batch_rows: '10'}\n", `c.yaml:1:21: store.batch_rows is a text, not a whole number
  1 | store: {batch_rows: '10'}
    |                     ^`},
		{"fraction", "store: {batch_rows: 1.5}\n", `c.yaml:1:21: store.batch_rows is a number, not a whole number
  1 | store: {batch_rows: 1.5}
    |                     ^`},
		{"duration without a unit", "store:\n  batch_delay: 250\n", `c.yaml:2:16: store.batch_delay is a number, not a duration such as 250ms, 10s or 1h
  2 |   batch_delay: 250
    |                ^`},
		{"duration with a blank", "store:\n  batch_delay: 250 ms\n", `c.yaml:2:16: store.batch_delay: "250 ms" is no duration (such as 250ms, 10s, 1h)
  2 |   batch_delay: 250 ms
    |                ^`},
		{"duration above the range", "store:\n  batch_delay: 1h\n", `c.yaml:2:16: store.batch_delay: 1h0m0s is not between 1ms and 10s
  2 |   batch_delay: 1h
    |                ^`},
		{"none of the words", "log:\n  level: verbose\n", `c.yaml:2:10: log.level: "verbose" is none of [debug info warn error]
  2 |   level: verbose
    |          ^`},
		{"truth for a text", "log:\n  level: true\n", `c.yaml:2:10: log.level is true or false, not a text
  2 |   level: true
    |          ^`},
		{"word for a truth", "rules:\n  defaults: no\n", `c.yaml:2:13: rules.defaults is a text, not true or false
  2 |   defaults: no
    |             ^`},
		{"text for a list", "rules:\n  dirs: /etc/rules\n", `c.yaml:2:9: rules.dirs is a text, not a list of texts
  2 |   dirs: /etc/rules
    |         ^`},
		{"number in a list", "rules:\n  dirs: [a, 5]\n", `c.yaml:2:13: rules.dirs holds a number, not a text
  2 |   dirs: [a, 5]
    |             ^`},
		{"nothing in a list", "rules:\n  dirs:\n  -\n", `c.yaml:3:5: rules.dirs holds empty, not a text
  3 |   -
    |     ^`},
		{"list without a value", "rules:\n  dirs:\n", `c.yaml:2:9: rules.dirs is empty, not a list of texts
  2 |   dirs:
    |         ^`},
		{"item of a list", "redact:\n  flags: [my-cred, --pin]\n", `c.yaml:2:20: redact.flags: flag "--pin": write it without dashes
  2 |   flags: [my-cred, --pin]
    |                    ^`},
		{"variables and programs", "redact:\n  env:\n  - MY_*\n  - A*B\n  programs:\n  - mytool\n", `c.yaml:4:5: redact.env: variable "A*B": want letters, digits, _, - and ., and * only at an end
  4 |   - A*B
    |     ^
c.yaml:6:5: redact.programs: program "mytool": want PROGRAM:FLAG, such as mytool:-p or mytool:--pin
  6 |   - mytool
    |     ^`},
		{"two faults", "collector:\n  ring_bytes: 5000\n  args_max: 7\n", `c.yaml:2:15: collector.ring_bytes: 5000 is not a power of two
  2 |   ring_bytes: 5000
    |               ^
c.yaml:3:13: collector.args_max: 7 is not between 1024 and 131072
  3 |   args_max: 7
    |             ^`},
		{"hash rate", "collector:\n  hash_rate: 5\n", `c.yaml:2:14: collector.hash_rate: 5 is neither 0, which hashes none, nor between 65536 and 1073741824
  2 |   hash_rate: 5
    |              ^`},
		{"hash size", "collector:\n  hash_max: 0\n", `c.yaml:2:13: collector.hash_max: 0 is not between 4096 and 1073741824
  2 |   hash_max: 0
    |             ^`},
		{"twice", "log:\n  level: debug\n  level: info\n", `c.yaml:3:3: mapping key "level" already defined at [2:3]
  3 |   level: info
    |   ^`},
		{"twice, in both forms", "store.batch_rows: 7\nstore:\n  batch_rows: 8\n", `c.yaml:3:3: store.batch_rows is set twice
  3 |   batch_rows: 8
    |   ^`},
		{"empty", "data_dir: ''\n", `c.yaml:1:11: data_dir: it is empty
  1 | data_dir: ''
    |           ^`},
		{"line break in a text", "data_dir: |\n  /x\n", `c.yaml:1:11: data_dir holds the control character '\n'
  1 | data_dir: |
    |           ^`},
		{"escape sequence", "data_dir: \"\\x1b[31m\"\n", `c.yaml:1:11: data_dir holds the control character '\x1b'
  1 | data_dir: "\x1b[31m"
    |           ^`},
		{"no UTF-8", "log:\n  level: \xff\n", "c.yaml:2:10: this is no UTF-8 text\n  2 |   level: \uFFFD\n    |          ^"},
		{"open bracket", "data_dir: [\n", `c.yaml:1:11: sequence end token ']' not found
  1 | data_dir: [
    |           ^`},
		{"open quote", "data_dir: \"abc\n", `c.yaml:1:11: could not find end character of double-quoted text
  1 | data_dir: "abc
    |           ^`},
		{"two colons", "a: b: c\n", `c.yaml:1:4: mapping value is not allowed in this context
  1 | a: b: c
    |    ^`},
		{"second document", "data_dir: x\n---\ndata_dir: y\n", `c.yaml:3:1: a second document: a configuration is one
  3 | data_dir: y
    | ^`},
		{"list", "- a\n", `c.yaml:1:1: a configuration is made of names with values, such as data_dir: /var/lib/sentineld
  1 | - a
    | ^`},
		{"alias", "data_dir: /x\nalerts: {file: &a /y}\n", `c.yaml:2:16: alerts.file is something that is not supported here, not a text
  2 | alerts: {file: &a /y}
    |                ^`},
		{"deep", strings.Repeat("[", 30) + "\n", `c.yaml:1:1: brackets are nested more than 20 deep
  1 | [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[
    | ^`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := write(t, "c.yaml", test.src)
			_, err := Load(Layers{File: path})
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.ReplaceAll(err.Error(), path, "c.yaml")
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestBrokenEnvironment(t *testing.T) {
	file := write(t, "c.yaml", "store: {batch_rows: 10}\n")
	for _, test := range []struct{ env, want string }{
		{"SENTINELD_STORE_BATCHROWS=5", "environment: SENTINELD_STORE_BATCHROWS names no option: did you mean SENTINELD_STORE_BATCH_ROWS?"},
		{"SENTINELD_NOTHING_AT_ALL_LIKE_IT=5", "environment: SENTINELD_NOTHING_AT_ALL_LIKE_IT names no option"},
		{"SENTINELD_STORE_BATCH_ROWS=many", `environment: SENTINELD_STORE_BATCH_ROWS: "many" is no whole number`},
		{"SENTINELD_STORE_BATCH_DELAY=5", `environment: SENTINELD_STORE_BATCH_DELAY: "5" is no duration (such as 250ms, 10s, 1h)`},
		{"SENTINELD_RULES_DEFAULTS=maybe", `environment: SENTINELD_RULES_DEFAULTS: "maybe" is neither true nor false`},
		{"SENTINELD_REDACT_FLAGS=a-b,-c", `redact.flags (SENTINELD_REDACT_FLAGS): flag "-c": write it without dashes`},
		{"SENTINELD_STORE_BATCH_ROWS=0", "store.batch_rows (SENTINELD_STORE_BATCH_ROWS): 0 is not between 1 and 100000"},
	} {
		_, err := Load(Layers{File: file, Env: []string{test.env}})
		if got := fmt.Sprint(err); got != test.want {
			t.Errorf("%s:\n got %s\nwant %s", test.env, got, test.want)
		}
	}
	if _, err := Load(Layers{File: file, Flags: map[string]string{"detect.deadline": "soon"}}); fmt.Sprint(err) != `flag for detect.deadline: "soon" is no duration (such as 250ms, 10s, 1h)` {
		t.Error(err)
	}
	if _, err := Load(Layers{File: file, Flags: map[string]string{"alerts.output": "xml"}}); fmt.Sprint(err) != `alerts.output (flag): "xml" is none of [text json none]` {
		t.Error(err)
	}
}

func TestFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing.yaml")
	if _, err := Load(Layers{File: missing}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for name, want := range map[string]string{
		write(t, "c.toml", ""): "TOML is not read yet",
		write(t, "c.conf", ""): `the suffix ".conf" says nothing about its form`,
		write(t, "large.yaml", strings.Repeat("#", MaxFileBytes+1)): "it has 1048577 bytes, more than 1048576",
		filepath.Dir(write(t, "x", "")) + "/dir.yaml":               "it is not a file",
	} {
		if filepath.Base(name) == "dir.yaml" {
			if err := os.Mkdir(name, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Load(Layers{File: name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNames keeps the paths apart once they are variables: a.b_c and a_b.c would
// be one.
func TestNames(t *testing.T) {
	c := Default()
	names := map[string]string{}
	for path, v := range c.options() {
		name := strings.ReplaceAll(path, ".", "_")
		if other, taken := names[name]; taken {
			t.Errorf("%s and %s are the same variable", path, other)
		}
		names[name] = path
		switch v.Interface().(type) {
		case string, []string, bool, int, time.Duration:
		default:
			t.Errorf("%s is a %s, which no file can set", path, v.Type())
		}
		if strings.HasSuffix(path, ".") || strings.Contains(path, "..") {
			t.Errorf("a field has no yaml tag: %q", path)
		}
	}
	if reflect.TypeFor[Config]().NumField() != 8 {
		t.Log("new sections need a row in the documentation")
	}
}

func TestDefaultDataDir(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	t.Setenv("HOME", "/home/ann")
	if runtime.GOOS != "linux" {
		t.Skip("the others have one directory each")
	}
	want := "/state/sentineld"
	if os.Geteuid() == 0 {
		want = "/var/lib/sentineld"
	}
	if got := defaultDataDir(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// FuzzFile wants an answer for whatever is in the file, and errors that can be
// shown on a terminal.
func FuzzFile(f *testing.F) {
	for _, s := range []string{
		"store:\n  batch_rows: 10\n", "data_dir: |\n  x\n", "rules: {dirs: [a, b], defaults: no}\n", "<<: {a: b}\n", "? a\n: b\n",
		"a: &x b\nc: *x\n", "---\n...\n---\n", "\tx: 1\n", "x: \"\\u001b\"\n", "log: !!map {level: debug}\n", "- \n- [", "{\"data_dir\": 1e9}",
		"log:\r\n  level: debug\r\n", "\ufeffdata_dir: x\n", "data_dir: \x1b[31m\n\xff\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if len(src) > 4<<10 {
			t.Skip("the parser's time is bounded by the size of the file")
		}
		c := Default()
		file := file{name: "c.yaml", src: src}
		places := file.apply(c.options())
		for _, p := range places {
			if p.line < 1 || p.column < 1 {
				t.Errorf("place %d:%d", p.line, p.column)
			}
		}
		for _, err := range file.errs {
			for _, r := range err.Error() {
				if r < ' ' && r != '\n' || r == 0x7f {
					t.Errorf("error with the control character %q: %q", r, err)
				}
			}
		}
		for _, fault := range c.check() {
			if fault.path == "" || fault.problem == "" {
				t.Error("a fault that says nothing")
			}
		}
	})
}
