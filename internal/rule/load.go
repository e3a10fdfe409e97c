package rule

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// LoadDir reads all rule files below a directory; see LoadFS.
func LoadDir(dir string) ([]Rule, []error) {
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return nil, []error{fmt.Errorf("load rules: %w", err)}
	case !info.IsDir():
		return nil, []error{fmt.Errorf("load rules: %s is no directory", dir)}
	}
	return load(os.DirFS(dir), ".", func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) })
}

// LoadFS reads all *.yaml and *.yml files below root, in the order of their
// paths. Each file that cannot be used gives one error, and the others are
// returned all the same; of rules with one id the first is kept. Names that
// begin with a dot are left out: editors keep their copies there, and Kubernetes
// the real files of a mounted ConfigMap, which the visible links lead to.
func LoadFS(fsys fs.FS, root string) ([]Rule, []error) {
	return load(fsys, root, func(name string) string { return name })
}

func load(fsys fs.FS, root string, shown func(string) string) ([]Rule, []error) {
	var rules []Rule
	var errs []error
	first := map[string]string{} // rule id -> its file
	fail := func(name string, err error) { errs = append(errs, fmt.Errorf("load rules: %s: %w", shown(name), err)) }
	walk := func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			fail(name, unpath(err))
			return nil
		case name != root && strings.HasPrefix(entry.Name(), "."):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir() || !isRuleFile(name):
			return nil
		}
		data, err := read(fsys, name)
		if err != nil {
			fail(name, unpath(err))
			return nil
		}
		r, err := Parse(shown(name), data)
		switch {
		case err != nil:
			errs = append(errs, err)
		case first[r.ID] != "":
			errs = append(errs, r.ErrorIn("id", fmt.Sprintf("the id %q is taken by %s", r.ID, first[r.ID]), "every rule needs an id of its own; this one is not loaded"))
		default:
			first[r.ID] = r.File
			rules = append(rules, r)
		}
		return nil
	}
	if err := fs.WalkDir(fsys, root, walk); err != nil {
		fail(root, unpath(err))
	}
	return rules, errs
}

func isRuleFile(name string) bool {
	ext := path.Ext(name)
	return ext == ".yaml" || ext == ".yml"
}

// read returns one byte more than allowed, for Parse to see, of a larger file.
func read(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a named pipe would wait for its writer
		return nil, errors.New("this is no regular file")
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
}

// unpath takes the path off an error, since ours is the one the user knows.
func unpath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

//go:embed defaults/*.yaml
var defaults embed.FS

// Defaults are the rules that come with the program.
func Defaults() []Rule {
	rules, errs := LoadFS(defaults, "defaults")
	if len(errs) > 0 { // they are part of the program, and its tests load them
		panic(errors.Join(errs...))
	}
	for i := range rules {
		rules[i].File = "builtin:" + strings.TrimPrefix(rules[i].File, "defaults/")
	}
	return rules
}
