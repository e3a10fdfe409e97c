package rule

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

func minimal(id string) []byte {
	return []byte("id: " + id + "\ntitle: x\nseverity: low\nsql: SELECT seq FROM execs\n")
}

func ids(rules []Rule) string {
	var list []string
	for _, r := range rules {
		list = append(list, r.ID)
	}
	return strings.Join(list, " ")
}

func TestLoadFS(t *testing.T) {
	fsys := fstest.MapFS{
		"b.yaml":          {Data: minimal("b")},
		"a.yml":           {Data: minimal("a")},
		"sub/deep/c.yaml": {Data: minimal("c")},
		"sub/again.yaml":  {Data: minimal("a")},
		"broken.yaml":     {Data: []byte("id: [")},
		"empty.yaml":      {},
		"large.yaml":      {Data: append(minimal("large"), make([]byte, 2*MaxFileBytes)...)},
		"README.md":       {Data: []byte("not a rule")},
		".hidden.yaml":    {Data: minimal("hidden")},
		"..2026/b.yaml":   {Data: minimal("b")}, // how Kubernetes mounts a ConfigMap
		"pipe.yaml":       {Mode: fs.ModeNamedPipe},
	}
	rules, errs := LoadFS(fsys, ".")
	if got := ids(rules); got != "a b c" {
		t.Errorf("loaded %q", got)
	}
	var texts []string
	for _, err := range errs {
		texts = append(texts, strings.SplitN(err.Error(), "\n", 2)[0])
	}
	golden(t, "load", strings.Join(texts, "\n")+"\n")
	if _, errs := LoadFS(fsys, "nowhere"); len(errs) != 1 {
		t.Error(errs)
	}
}

func TestLoadDir(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("..data/x.yaml", minimal("x"))
	write("y.yaml", minimal("y"))
	want := "y"
	if runtime.GOOS != "windows" {
		if err := os.Symlink(filepath.Join("..data", "x.yaml"), filepath.Join(dir, "x.yaml")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("gone", filepath.Join(dir, "z.yaml")); err != nil {
			t.Fatal(err)
		}
		want = "x y"
	}
	rules, errs := LoadDir(dir)
	if ids(rules) != want || rules[len(rules)-1].File != filepath.Join(dir, "y.yaml") {
		t.Errorf("loaded %+v", rules)
	}
	if runtime.GOOS != "windows" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), filepath.Join(dir, "z.yaml"))) {
		t.Error(errs)
	}
	for _, bad := range []string{filepath.Join(dir, "none"), filepath.Join(dir, "y.yaml")} {
		if rules, errs := LoadDir(bad); len(rules) != 0 || len(errs) != 1 || !strings.Contains(errs[0].Error(), bad) {
			t.Errorf("%s: %v %v", bad, rules, errs)
		}
	}
}

func TestDefaults(t *testing.T) {
	rules := Defaults()
	if len(rules) < 10 {
		t.Fatalf("%d rules", len(rules))
	}
	for _, r := range rules {
		if r.Description == "" || r.Author == "" || len(r.Tags) == 0 || len(r.References) == 0 || r.Disabled || !strings.HasPrefix(r.File, "builtin:"+r.ID) {
			t.Errorf("%s: %s: incomplete", r.File, r.ID)
		}
	}
}
