package scenario

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentineld/sentineld/internal/testenv"
)

var (
	binDir    = flag.String("bin", "", "directory of procmond and sentineld; empty: built with go")
	helperDir = flag.String("helpers", "", "directory of the helpers; empty: built with cc")
	filesDir  = flag.String("files", "../testdata/scenarios", "directory of the scenarios")
	backends  = flag.String("backends", "", "backends to run with, and none may be missing; empty: all that sentineld knows")
	patience  = flag.Duration("patience", time.Minute, "how long anything is waited for")
	keepDir   = flag.String("work", "", "directory to work in, which stays; empty: a temporary one")
)

// TestScenarios runs every scenario with every backend.
func TestScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: -short; the scenarios test other processes, which no race detector sees")
	}
	testenv.NeedRoot(t)
	files := load(t)
	work := workDir(t)
	s := Setup{Bin: programs(t, work), Helpers: helpers(t, work), Patience: *patience}
	names, asked := Backends, *backends != ""
	if asked {
		names = strings.Split(*backends, ",")
	}
	for _, name := range names {
		if !slices.Contains(Backends, name) {
			t.Fatalf("-backends: unknown backend %q: want %s", name, strings.Join(Backends, ", "))
		}
		t.Run(name, func(t *testing.T) {
			s.Backend = name
			runAll(t, s, files, filepath.Join(work, name), asked)
		})
	}
}

func runAll(t *testing.T, s Setup, files []*File, work string, asked bool) {
	if s.Backend == "ebpf" && !asked {
		testenv.NeedBPF(t)
	}
	shared, err := NewService(s, filepath.Join(work, "agent"), "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	if err := shared.Start(); err != nil {
		if errors.Is(err, errUsage) && !asked {
			testenv.Skip(t, "this sentineld has no backend "+s.Backend)
		}
		t.Fatal(err)
	}
	counts := map[Verdict]int{}
	var notes []string
	for _, f := range files {
		var r Result
		ran := false
		ok := t.Run(f.Name, func(t *testing.T) {
			ran = true
			dir := filepath.Join(work, f.Name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			r = Run(f, s, shared, dir)
			switch r.Verdict {
			case Failed:
				t.Errorf("%s\n%s", r.Why, firstLine(f.About))
			case Skipped:
				t.Skipf("SKIPPED: %s", r.Why)
			case Lacking:
				testenv.Skip(t, r.Why)
			case Pending:
				t.Skipf("PENDING: %s", r.Why)
			}
		})
		if !ran { // -run is for others
			continue
		}
		if !ok {
			r.Verdict = Failed
		}
		counts[r.Verdict]++
		if r.Verdict != Passed {
			notes = append(notes, fmt.Sprintf("  %s %s", f.Name, r))
		}
	}
	if len(counts) == 0 {
		t.Error("-run chooses no scenario")
	}
	// Not a subtest: it is for whatever -run chooses. What polling cannot see, whatever
	// happens, is a gap all the time.
	if rows, err := shared.Query("SELECT cause, lost FROM gaps WHERE source <> 'poll'"); err != nil || len(rows) > 0 {
		t.Errorf("the agent of all scenarios has lost something: %v %v", rows, err)
	}
	if err := shared.Stop(); err != nil {
		t.Error(err)
	}
	summary := fmt.Sprintf("scenarios %s: %d passed, %d failed, %d skipped", s.Backend, counts[Passed]+counts[Ahead], counts[Failed],
		counts[Skipped]+counts[Lacking])
	if n := counts[Pending]; n > 0 {
		summary += fmt.Sprintf(", %d pending", n)
	}
	fmt.Println(strings.Join(append([]string{summary}, notes...), "\n"))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// load reads all scenarios, also those that the machine cannot run.
func load(t *testing.T) []*File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(*filesDir, "*.txtar"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scenarios in %s: %v", *filesDir, err)
	}
	files := make([]*File, len(paths))
	for i, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if files[i], err = Parse(path, data); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// workDir can be entered by everybody: some scenarios run as other users.
func workDir(t *testing.T) string {
	t.Helper()
	dir := *keepDir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "scenarios-"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	return resolved(t, dir)
}

// resolved is a path as the kernel shows it.
func resolved(t *testing.T, dir string) string {
	t.Helper()
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func programs(t *testing.T, work string) string {
	t.Helper()
	if *binDir != "" {
		return resolved(t, *binDir)
	}
	dir := filepath.Join(work, "bin")
	if out, err := exec.Command("go", "build", "-o", dir+"/", "../cmd/procmond", "../cmd/sentineld").CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v\n%s", err, out)
	}
	return dir
}

func helpers(t *testing.T, work string) string {
	t.Helper()
	if *helperDir != "" {
		return resolved(t, *helperDir)
	}
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	if _, err := exec.LookPath(cc); err != nil {
		testenv.Skip(t, "needs a C compiler for testdata/helpers, or -helpers with programs that are built")
	}
	dir := filepath.Join(work, "helpers")
	if out, err := exec.Command("sh", "../scripts/build-helpers.sh", dir).CombinedOutput(); err != nil {
		t.Fatalf("build the helpers: %v\n%s", err, out)
	}
	return dir
}
