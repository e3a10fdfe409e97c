package poll

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sentineld/sentineld/internal/procfs"
	"github.com/sentineld/sentineld/internal/source"
)

// TestLook shows procTable a /proc that changes in ways a real one does seldom.
func TestLook(t *testing.T) {
	root := t.TempDir()
	puts := 0
	put := func(name, content string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		puts++
		os.Rename(path, fmt.Sprint(path, puts)) // kept, so that its inode is not used again
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stat := func(comm string, flags, start, code, stack, argStart int) {
		put("7/stat", fmt.Sprintf("7 (%s) S 0 0 0 0 0 %d 0 0 0 0 0 0 0 0 0 0 1 0 %d 0 0 0 %d 9 %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 %d 9 0 9 0\n",
			comm, flags, start, code, stack, argStart))
	}
	const kthread, random = 0x00200000, 0x00400000
	o := source.Options{}
	o.FillDefaults()
	table := newTable(o).(*procTable)
	table.fs = procfs.FS{Root: root}
	var p proc
	for _, step := range []struct {
		name string
		do   func()
		want change
	}{
		{"kernel thread", func() { stat("k", kthread, 5, 0, 0, 0) }, replaced},
		{"still one", func() { stat("k2", kthread, 5, 0, 0, 0) }, same},
		{"its exec", func() { put("7/exe", ""); put("7/cmdline", "a\x00"); stat("k", random, 5, 10, 20, 30) }, execed},
		{"another stack", func() { stat("k", random, 5, 10, 21, 30) }, execed},
		{"the arguments moved", func() { put("7/cmdline", "title"); stat("k", random, 5, 10, 21, 31) }, same},
		{"the name changed", func() { stat("thread", random, 5, 10, 21, 31) }, same},
		{"name and file changed", func() { put("7/exe", "new"); stat("b", random, 5, 10, 21, 31) }, execed},
		{"the layout is hidden", func() { stat("b", random, 5, 1, 0, 0) }, same},
		{"hidden, other arguments", func() { put("7/cmdline", "c\x00"); stat("b", random, 5, 1, 0, 0) }, execed},
		{"hidden, no memory", func() { put("7/cmdline", ""); os.Remove(filepath.Join(root, "7/exe")) }, same},
		{"hidden, it was back", func() { put("7/cmdline", "c\x00") }, same},
		{"no longer hidden", func() { stat("b", random, 5, 10, 21, 31) }, same},
		{"half way through an exec", func() { stat("b", random, 5, 0, 21, 0) }, same},
		{"it was one, of the same", func() { stat("b", random, 5, 10, 22, 31) }, execed},
		{"random no more", func() { stat("b", 0, 5, 10, 22, 31) }, execed},
		{"not random, other arguments", func() { put("7/cmdline", "d\x00") }, execed},
		{"pid reused", func() { stat("b", random, 6, 10, 21, 31) }, replaced},
	} {
		step.do()
		c, err := table.look(t.Context(), 7, &p)
		if err != nil || c != step.want {
			t.Fatalf("%s: got %d, %v, want %d", step.name, c, err, step.want)
		}
		if c == same {
			continue
		}
		p = proc{}
		e, err := table.read(t.Context(), 7, &p)
		if err != nil {
			t.Fatal(err)
		}
		p.key = e.Process
	}
}
