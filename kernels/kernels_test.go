package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sentineld/sentineld/internal/testenv"
)

func TestChoose(t *testing.T) {
	packages := []string{
		"linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-50-cloud-amd64", "linux-image-6.1.0-50-cloud-amd64-unsigned",
		"linux-image-6.12.107+deb13-cloud-amd64", "linux-image-6.12.117+deb13-cloud-amd64", "linux-image-6.19.14+deb13-cloud-amd64",
		"linux-image-7.3.4+deb13-cloud-amd64", "linux-image-7.10.1+deb13-cloud-amd64", "linux-image-7.3.4+deb13-cloud-amd64-dbg", "linux-image-cloud-amd64",
	}
	for series, want := range map[string]string{
		"6.1":    "linux-image-6.1.0-50-cloud-amd64",
		"6.12":   "linux-image-6.12.117+deb13-cloud-amd64",
		"7.3":    "linux-image-7.3.4+deb13-cloud-amd64",
		"newest": "linux-image-7.10.1+deb13-cloud-amd64",
		"5.15":   "",
	} {
		if got, ok := choose(packages, series); got != want || ok != (want != "") {
			t.Errorf("%s: %q", series, got)
		}
	}
	if got := seriesOf(packages); !slices.Equal(got, []string{"6.1", "6.12", "6.19", "7.3", "7.10"}) {
		t.Errorf("series %q", got)
	}
}

func TestFindImage(t *testing.T) {
	for file, want := range map[string]string{"boot/vmlinuz-6.1.0-50": "6.1.0-50", "usr/lib/modules/7.3.4/vmlinuz": "7.3.4", "boot/config-6.1": ""} {
		dir := t.TempDir()
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		image, err := findImage(dir)
		if err != nil || (image == path) != (want != "") || image != "" && release(image) != want {
			t.Errorf("%s: %q, %v", file, image, err)
		}
	}
}

func TestParseTargets(t *testing.T) {
	got, err := parseTargets([]string{"6.1", "arm64-6.1", "amd64-6.1", "newest"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, x := range got {
		names = append(names, x.arch+" "+x.series)
	}
	if !slices.Equal(names, []string{"amd64 6.1", "arm64 6.1", "amd64 newest"}) {
		t.Errorf("%q", names)
	}
	for _, bad := range []string{"6", "6.1.2", "riscv64-6.1", "latest", ""} {
		if _, err := parseTargets([]string{bad}); err == nil || !strings.Contains(err.Error(), "want a series such as 6.1") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if got, ok := special(got, ""); !ok || got.name != "6.1" {
		t.Errorf("special boots on %v", got)
	}
	if _, ok := special(got, "5.10"); ok {
		t.Error("a boot for 5.10 on another kernel")
	}
	if _, ok := special([]target{{arch: "arm64", series: "6.1"}}, ""); ok {
		t.Error("special boots on arm64")
	}
}

// console is a report as it comes, among other things.
func console(t *testing.T, records ...record) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("[    0.1] Linux version 6.1\r\n")
	for _, r := range records {
		j, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(mark + string(j) + "\r\n")
	}
	b.WriteString("[    9.9] reboot: Power down\r\n")
	return b.String()
}

func output(name string, code int, lines ...string) (list []record) {
	for _, l := range lines {
		list = append(list, record{Job: name, Line: &l})
	}
	return append(list, record{Job: name, End: true, Code: code, Seconds: 1.5})
}

func TestConsole(t *testing.T) {
	empty := ""
	records := output("p", 0, "=== RUN   TestA", "--- PASS: TestA (0.00s)", "    --- PASS: TestA/"+mark+" (0.00s)",
		"=== RUN   TestB", "    b_test.go:12: SKIPPED: needs luck", "--- SKIP: TestB (0.00s)",
		"=== RUN   TestC", "=== RUN   TestC/x", "    c_test.go:1: said", "    c_test.go:2: SKIPPED: needs x", "=== RUN   TestC/y", "    c_test.go:3: y is here",
		"=== NAME  TestC", "    c_test.go:4: over", "--- PASS: TestC (0.00s)", "    --- SKIP: TestC/x (0.00s)", "    --- PASS: TestC/y (0.00s)",
		"=== RUN   TestD", "--- SKIP: TestD (0.00s)", "PASS")
	records = append(records, record{Job: "p", Line: &empty}, record{Fact: "source", Value: "ebpf"}, record{End: true})
	var o outcome
	o.read(strings.NewReader(console(t, records...)))
	if !o.ended || len(o.problems) > 0 || o.facts["source"] != "ebpf" || len(o.jobs) != 1 || !o.jobs[0].ended {
		t.Fatalf("%+v", o)
	}
	want := counts{passed: 4, skipped: 3, reasons: []string{"p TestB: needs luck", "p TestC/x: needs x", "p TestD: "}}
	if d := cmp.Diff(want, o.jobs[0].tests(), cmp.AllowUnexported(counts{})); d != "" {
		t.Error(d)
	}
	if len(o.tail) != 2 || o.tail[1] != "[    9.9] reboot: Power down" {
		t.Errorf("tail %q", o.tail)
	}
}

// What went wrong in a guest is never a success.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		console string
		want    string
	}{
		"panic": {"[ 1.0] Kernel panic - not syncing: Oops\r\n", "Kernel panic - not syncing"},
		"a test that fails": {console(t, slices.Concat(output("self-check", 0, "  ✓ ebpf            would run (tp_btf)"),
			output("p", 1, "--- FAIL: TestA (0.00s)", "    a_test.go:1: bang"), []record{{End: true}})...), "bang"},
		"a crash of a test": {console(t, slices.Concat(output("self-check", 0, "  ✓ ebpf            would run (tp_btf)"),
			output("p", 2, "--- PASS: TestA (0.00s)", "panic: bang"), []record{{End: true}})...), "p ended with exit code 2"},
		"a job without end": {console(t, append(output("p", 0, "--- PASS: TestA (0.00s)")[:1], record{End: true})...), "p did not end"},
		"nothing runs":      {console(t, record{End: true}), "the tests did not run"},
		"no source": {console(t, append(append(output("self-check", 1, "  ✗ ebpf            no luck"), output("p", 0, "--- PASS: TestA (0.00s)")...),
			record{End: true})...), "no luck"},
		"garbled":            {console(t, record{End: true}) + mark + "{\"job\":[  1.0] oh\r\n", "garbled report"},
		"a guest's problem":  {console(t, record{Problem: "mount: bang"}, record{End: true}), "mount: bang"},
		"scenarios that die": {console(t, append(output("scenarios", 0, "--- PASS: TestScenarios (0.00s)"), record{End: true})...), "told no totals"},
		"no scenario": {console(t, append(output("scenarios", 0, "scenarios ebpf: 0 passed, 0 failed, 0 skipped", "--- PASS: TestScenarios (0.00s)"),
			record{End: true})...), "scenarios ran none with ebpf"},
	} {
		var o outcome
		o.read(strings.NewReader(c.console))
		var all tables
		all.addSuite(target{arch: "amd64", machine: machine{image: "/boot/vmlinuz-6.1"}}, &o)
		if got := strings.Join(all.failures, ""); !strings.Contains(got, c.want) {
			t.Errorf("%s: failures %q", name, got)
		}
	}
}

func TestTable(t *testing.T) {
	var o outcome
	o.read(strings.NewReader(console(t, slices.Concat(
		output("self-check", 0, "  ✓ ebpf            would run (tp_btf)"),
		output("p", 0, "--- PASS: TestA (0.00s)"),
		output("scenarios", 0, "    x_test.go:1: scenarios ebpf: 41 passed, 0 failed, 2 skipped", "scenarios poll: 7 passed, 0 failed, 30 skipped", "--- PASS: TestScenarios (1.00s)"),
		[]record{{End: true}})...)))
	o.seconds = 12.4
	var all tables
	all.addSuite(target{arch: "amd64", machine: machine{image: "/boot/vmlinuz-6.1.0-50"}}, &o)
	var out bytes.Buffer
	all.print(&out)
	if want := "| 6.1.0-50 | amd64 | ebpf tp_btf | 1/0/0 | ebpf 41/0/2, poll 7/0/30 | 12 |\n"; !strings.Contains(out.String(), want) || len(all.failures) > 0 {
		t.Errorf("%s\nwant %s", out.String(), want)
	}
}

// Every expectation can fail, and its kernel's command line says which boot it is.
func TestBoots(t *testing.T) {
	for _, b := range boots {
		if len(b.want) == 0 || strings.ContainsAny(b.name, "_\t\"") {
			t.Errorf("boot %q", b.name)
		}
		if got, err := bootNamed(b.name); err != nil || got.name != b.name {
			t.Errorf("%q: %v", b.name, err)
		}
		if wrong := b.judge(nil); len(wrong) != len(b.want) {
			t.Errorf("%s: without facts only %q is wrong", b.name, wrong)
		}
		for _, w := range b.want {
			facts := map[string]string{w.fact: "something else"}
			if wrong := (boot{want: []want{w}}).judge(facts); len(wrong) != 1 {
				t.Errorf("%s: %q is taken for %s", b.name, facts[w.fact], w.pattern)
			}
		}
	}
	b, err := bootNamed("lockdown=confidentiality")
	if err != nil {
		t.Fatal(err)
	}
	facts := map[string]string{
		"lockdown": "confidentiality", "refused ebpf": "load BPF programs: kernel lockdown is in mode confidentiality",
		"source": "procconn", "exec": `procconn ["/init" "park"]`, "self-check": "exit 3: procconn would run; ebpf would not: lockdown",
	}
	if wrong := b.judge(facts); len(wrong) > 0 {
		t.Errorf("%q", wrong)
	}
	facts["source"], facts["exec"] = "poll", `poll ["/init" "park"]`
	if wrong := b.judge(facts); len(wrong) != 2 {
		t.Errorf("root polls, and only %q is wrong", wrong)
	}
	if _, err := bootNamed("none"); err == nil {
		t.Error("a boot that there is not")
	}
}

// The archive is read by the program that reads initramfs everywhere else.
func TestCPIO(t *testing.T) {
	program, err := exec.LookPath("cpio")
	if err != nil {
		testenv.Skip(t, "needs cpio")
	}
	from := t.TempDir()
	for name, mode := range map[string]os.FileMode{"bin/x": 0o755, "bin/suid": os.ModeSetuid | 0o755, "share/doc": 0o644} {
		path := filepath.Join(from, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("x", filepath.Join(from, "bin", "y")); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	c := newCPIO(&archive)
	c.tree("", from, func(rel string) string {
		if strings.HasPrefix(rel, "share") {
			return ""
		}
		return rel
	})
	c.text("etc/passwd", "root")
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	cmd := exec.Command(program, "-idm", "--quiet", "--no-absolute-filenames")
	cmd.Dir, cmd.Stdin = to, &archive
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, want := range map[string]string{"bin/x": "bin/x", "bin/y": "bin/x", "bin/suid": "bin/suid", "etc/passwd": "root"} {
		if b, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if st, err := os.Stat(filepath.Join(to, "bin/suid")); err != nil || st.Mode()&os.ModeSetuid == 0 {
		t.Errorf("suid: %v, %v", st, err)
	}
	if _, err := os.Stat(filepath.Join(to, "share")); !os.IsNotExist(err) {
		t.Errorf("what was left out: %v", err)
	}
	c = newCPIO(&archive)
	if c.file("gone", filepath.Join(from, "gone")); c.close() == nil {
		t.Error("a file that is not there is no error")
	}
}

func FuzzConsole(f *testing.F) {
	f.Add([]byte(mark + `{"job":"p","line":"--- FAIL: TestA (0.00s)"}` + "\n" + mark + `{"job":"p","end":true,"code":1}`))
	f.Add([]byte(mark + `{"job":"scenarios","line":"scenarios ebpf: 99999999999999999999 passed, 0 failed, 0 skipped"}`))
	f.Add([]byte("[ 1.0] Kernel panic\r\n" + mark + `{"end":true}` + "\n" + mark + "{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var o outcome
		o.read(bytes.NewReader(b))
		if len(o.tail) > tailLines {
			t.Errorf("%d lines kept", len(o.tail))
		}
		var all tables
		all.addSuite(target{arch: "amd64", machine: machine{image: "vmlinuz-x"}}, &o)
		if len(all.failures) == 0 && len(o.jobs) < 2 {
			t.Error("a success without tests")
		}
		all.addBoot(target{machine: machine{image: "vmlinuz-x"}}, boots[0], &o)
	})
}
