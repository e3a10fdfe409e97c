package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentineld/sentineld/internal/suggest"
)

// EnvPrefix begins the names of all environment variables that are read.
const EnvPrefix = "SENTINELD_"

// MaxFileBytes bounds a configuration file.
const MaxFileBytes = 1 << 20

// Layers are where settings come from. The zero value reads the default files
// and nothing else.
type Layers struct {
	File  string            // --config: read instead of the default files, and must be there
	Env   []string          // as os.Environ gives it
	Flags map[string]string // by path; a list is separated by commas
}

// Loaded is a configuration and where each value of it comes from.
type Loaded struct {
	Config
	Origins map[string]string // path -> "default", "FILE:LINE", "SENTINELD_...", "flag"
}

// Load reads the layers. The error joins everything that is wrong.
func Load(l Layers) (Loaded, error) {
	out := Loaded{Config: Default(), Origins: map[string]string{}}
	options := out.options()
	for path := range options {
		out.Origins[path] = "default"
	}
	where := map[string]place{} // of values from files, for what check finds
	var errs []error
	files := DefaultFiles()
	if l.File != "" {
		files = []string{l.File}
	}
	for i, name := range files {
		data, err := readFile(name)
		if l.File == "" && (errors.Is(err, fs.ErrNotExist) || i > 0 && errors.Is(err, fs.ErrPermission)) {
			continue // the home directory may be another user's, as after su without -
		} else if err != nil {
			errs = append(errs, fmt.Errorf("read configuration: %w", err))
			continue
		}
		f := file{name: name, src: data}
		for path, p := range f.apply(options) {
			out.Origins[path], where[path] = fmt.Sprintf("%s:%d", name, p.line), p
		}
		errs = append(errs, f.errs...)
	}
	errs = append(errs, out.env(l.Env, options, where)...)
	for _, path := range slices.Sorted(mapKeys(l.Flags)) {
		if err := set(options[path], l.Flags[path]); err != nil {
			errs = append(errs, fmt.Errorf("flag for %s: %w", path, err))
		}
		out.Origins[path] = "flag"
		delete(where, path)
	}
	if len(errs) > 0 {
		return out, errors.Join(errs...)
	}
	for _, f := range out.check() {
		if p, ok := where[f.path]; ok {
			if f.item > 0 {
				p = p.items[f.item-1]
			}
			errs = append(errs, p.error(f.path+": "+f.problem))
		} else {
			errs = append(errs, fmt.Errorf("%s (%s): %s", f.path, out.Origins[f.path], f.problem))
		}
	}
	return out, errors.Join(errs...)
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func readFile(name string) ([]byte, error) {
	switch ext := filepath.Ext(name); ext {
	case ".yaml", ".yml", ".json":
	case ".toml":
		return nil, fmt.Errorf("%s: TOML is not read yet (write it as YAML or JSON)", name)
	default:
		return nil, fmt.Errorf("%s: the suffix %q says nothing about its form (.yaml, .yml or .json do)", name, ext)
	}
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: it is not a file", name)
	}
	if st.Size() > MaxFileBytes {
		return nil, fmt.Errorf("%s: it has %d bytes, more than %d", name, st.Size(), MaxFileBytes)
	}
	return os.ReadFile(name)
}

// options are the leaves of the configuration by path.
func (c *Config) options() map[string]reflect.Value {
	m := map[string]reflect.Value{}
	collect(reflect.ValueOf(c).Elem(), "", m)
	return m
}

func collect(v reflect.Value, prefix string, m map[string]reflect.Value) {
	for i := range v.NumField() {
		path := prefix + v.Type().Field(i).Tag.Get("yaml")
		if f := v.Field(i); f.Kind() == reflect.Struct {
			collect(f, path+".", m)
		} else {
			m[path] = f
		}
	}
}

// set reads text into an option.
func set(v reflect.Value, text string) error {
	switch v.Interface().(type) {
	case string:
		v.SetString(text)
	case []string:
		var list []string
		for s := range strings.SplitSeq(text, ",") {
			if s = strings.TrimSpace(s); s != "" {
				list = append(list, s)
			}
		}
		v.Set(reflect.ValueOf(list))
	case bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration (such as 250ms, 10s, 1h)", text)
		}
		v.SetInt(int64(d))
	default:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is no whole number", text)
		}
		v.SetInt(n)
	}
	return nil
}

// envNames are not options and still ours.
var envNames = []string{EnvPrefix + "CONFIG"}

// env reads the environment. A variable with our prefix that names no option is
// an error, since whoever set it meant something.
func (l *Loaded) env(env []string, options map[string]reflect.Value, where map[string]place) (errs []error) {
	names := map[string]string{}
	for path := range options {
		names[EnvPrefix+strings.ToUpper(strings.ReplaceAll(path, ".", "_"))] = path
	}
	for _, e := range slices.SortedFunc(slices.Values(env), cmp.Compare[string]) {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, EnvPrefix) || slices.Contains(envNames, name) {
			continue
		}
		path, ok := names[name]
		if !ok {
			text := fmt.Sprintf("environment: %s names no option", name)
			if near := suggest.Closest(name, slices.Sorted(mapKeys(names))); near != "" {
				text += ": did you mean " + near + "?"
			}
			errs = append(errs, errors.New(text))
			continue
		}
		if err := set(options[path], value); err != nil {
			errs = append(errs, fmt.Errorf("environment: %s: %w", name, err))
		}
		l.Origins[path] = name
		delete(where, path)
	}
	return errs
}
