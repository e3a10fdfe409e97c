package store

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"zombiezen.com/go/sqlite"
)

// function is one SQL function of ours. All are deterministic, may be used in
// views, and give NULL for NULL.
type function struct {
	name string
	args int
	call func(args []sqlite.Value) (sqlite.Value, error)
}

// functions is every SQL function that the store adds; users may call them all.
// REGEXP is apart, since it has a cache for each connection.
var functions = [...]function{
	{"basename", 1, func(a []sqlite.Value) (sqlite.Value, error) { // what follows the last slash
		path := a[0].Text()
		return sqlite.TextValue(path[strings.LastIndexByte(path, '/')+1:]), nil
	}},
	{"rfc3339", 1, func(a []sqlite.Value) (sqlite.Value, error) { // of Unix ns, always nine decimals: sorts as text
		return sqlite.TextValue(time.Unix(0, a[0].Int64()).UTC().Format("2006-01-02T15:04:05.000000000Z")), nil
	}},
	// The second argument is where to cut, see appendSplits.
	{"args_json", -2, func(a []sqlite.Value) (sqlite.Value, error) {
		if a[0].Type() == sqlite.TypeNull {
			return sqlite.Value{}, nil
		}
		var splits []byte
		if a[1].Type() != sqlite.TypeNull {
			splits = append([]byte{}, a[1].Blob()...)
		}
		cmdline := a[0].Text()
		return sqlite.TextValue(string(event.AppendJSONStrings(make([]byte, 0, len(cmdline)+16), splitArgs(cmdline, splits)))), nil
	}},
	{"environ_json", 1, func(a []sqlite.Value) (sqlite.Value, error) {
		return jsonArray((&event.Exec{Env: a[0].Text()}).Environ())
	}},
	{"known_names", 1, func(a []sqlite.Value) (sqlite.Value, error) {
		return jsonArray(event.Known(a[0].Int64()).Names())
	}},
	{"gained_names", 1, func(a []sqlite.Value) (sqlite.Value, error) {
		return jsonArray(event.Gained(a[0].Int64()).Names())
	}},
	{"source_name", 1, func(a []sqlite.Value) (sqlite.Value, error) {
		return sqlite.TextValue(event.Source(a[0].Int64()).String()), nil
	}},
	{"kind_name", 1, func(a []sqlite.Value) (sqlite.Value, error) {
		if k := a[0].Int64(); k != 0 {
			return sqlite.TextValue(event.Kind(k).String()), nil
		}
		return sqlite.TextValue("any"), nil
	}},
	{"severity_name", 1, func(a []sqlite.Value) (sqlite.Value, error) {
		return sqlite.TextValue(event.Severity(a[0].Int64()).String()), nil
	}},
	{"errno_text", 1, func(a []sqlite.Value) (sqlite.Value, error) {
		return sqlite.TextValue(syscall.Errno(a[0].Int64()).Error()), nil
	}},
}

func jsonArray(list []string) (sqlite.Value, error) {
	return sqlite.TextValue(string(event.AppendJSONStrings(make([]byte, 0, 256), list))), nil
}

// registerFunctions adds our functions to a connection.
func registerFunctions(conn *sqlite.Conn) error {
	if _, _, ok := rawContext(sqlite.Context{}); !ok {
		return errors.New("this build's SQLite driver is not one that SentinelD knows: a function's error would become its result")
	}
	add := func(name string, nargs int, call func([]sqlite.Value) (sqlite.Value, error)) error {
		err := conn.CreateFunction(name, &sqlite.FunctionImpl{
			NArgs: nargs, Deterministic: true, AllowIndirect: true,
			Scalar: func(ctx sqlite.Context, args []sqlite.Value) (sqlite.Value, error) {
				v, err := call(args)
				if err != nil {
					return fail(ctx, err)
				}
				return v, nil
			},
		})
		if err != nil {
			return fmt.Errorf("register function %s: %w", name, err)
		}
		return nil
	}
	for _, f := range functions {
		call, nargs := f.call, f.args
		if nargs < 0 { // judges NULL itself
			nargs = -nargs
		} else {
			call = func(args []sqlite.Value) (sqlite.Value, error) {
				for i := range args {
					if args[i].Type() == sqlite.TypeNull {
						return sqlite.Value{}, nil
					}
				}
				return f.call(args)
			}
		}
		if err := add(f.name, nargs, call); err != nil {
			return err
		}
	}
	cache := regexpCache{}
	return add("regexp", 2, cache.match)
}

// Bounds of REGEXP: RE2 takes time with the product of pattern and text.
const (
	maxPatternBytes = 4 << 10
	maxMatchBytes   = 16 << 10
	maxPatterns     = 256 // compiled ones kept for a connection, then all are dropped
)

// regexpCache holds the compiled patterns of one connection.
type regexpCache struct{ m map[string]*regexp.Regexp }

// match is the operator text REGEXP pattern, which SQLite calls as
// regexp(pattern, text): RE2 syntax, anywhere in the text, of which it looks at
// the first 16 KiB.
func (c *regexpCache) match(args []sqlite.Value) (sqlite.Value, error) {
	if args[0].Type() == sqlite.TypeNull || args[1].Type() == sqlite.TypeNull {
		return sqlite.Value{}, nil
	}
	pattern := args[0].Text()
	re := c.m[pattern]
	if re == nil {
		if len(pattern) > maxPatternBytes {
			return sqlite.Value{}, fmt.Errorf("REGEXP pattern of %d bytes: at most %d", len(pattern), maxPatternBytes)
		}
		var err error
		if re, err = regexp.Compile(pattern); err != nil {
			return sqlite.Value{}, fmt.Errorf("REGEXP: %w", err)
		}
		if c.m == nil || len(c.m) >= maxPatterns {
			c.m = make(map[string]*regexp.Regexp)
		}
		c.m[pattern] = re
	}
	text := args[1].Text()
	if len(text) > maxMatchBytes {
		text = text[:maxMatchBytes]
	}
	if re.MatchString(text) {
		return sqlite.IntegerValue(1), nil
	}
	return sqlite.IntegerValue(0), nil
}
