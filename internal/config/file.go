package config

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/sentineld/sentineld/internal/suggest"
)

// maxDepth bounds brackets inside brackets: the parser's time grows with the
// square of it, and no option is deeper than three.
const maxDepth = 20

// file is one configuration file being read.
type file struct {
	name string
	src  []byte
	errs []error
}

// place is where a value stands.
type place struct {
	file         *file
	line, column int     // from 1
	items        []place // where its items stand, of a list
}

// error is a problem at a place, with the line and a caret under it.
func (p place) error(problem string) error {
	text := fmt.Sprintf("%s:%d:%d: %s", p.file.name, p.line, p.column, problem)
	lines := strings.Split(string(p.file.src), "\n")
	if p.line < 1 || p.line > len(lines) {
		return errors.New(text)
	}
	line := []rune(strings.TrimRight(lines[p.line-1], "\r"))
	if len(line) > 200 {
		return errors.New(text)
	}
	for i, r := range line {
		if unicode.IsControl(r) {
			line[i] = ' ' // the caret stays under its place, and the terminal as it is
		}
	}
	number := fmt.Sprint(p.line)
	return fmt.Errorf("%s\n  %s | %s\n  %s | %s^", text, number, string(line), strings.Repeat(" ", len(number)), strings.Repeat(" ", max(0, p.column-1)))
}

func (f *file) at(n ast.Node) place {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		n = m.Values[0].Key // a mapping's own token is its first colon
	}
	return f.token(n.GetToken())
}

func (f *file) token(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{file: f, line: 1, column: 1}
	}
	return place{file: f, line: max(1, t.Position.Line), column: max(1, t.Position.Column)}
}

func (f *file) fail(p place, format string, args ...any) {
	f.errs = append(f.errs, p.error(fmt.Sprintf(format, args...)))
}

// apply reads the file into the options and returns where each that it sets
// stands. What is wrong is in errs.
func (f *file) apply(options map[string]reflect.Value) map[string]place {
	found := map[string]place{}
	f.src = bytes.TrimPrefix(f.src, []byte("\ufeff"))
	if i := notUTF8(f.src); i >= 0 {
		before := string(f.src[:i])
		column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
		f.fail(place{file: f, line: strings.Count(before, "\n") + 1, column: column}, "this is no UTF-8 text")
		return found
	}
	if depth(f.src) > maxDepth {
		f.fail(place{file: f, line: 1, column: 1}, "brackets are nested more than %d deep", maxDepth)
		return found
	}
	tree, err := parser.ParseBytes(f.src, 0)
	if err != nil {
		var y yaml.Error
		if errors.As(err, &y) {
			f.fail(f.token(y.GetToken()), "%s", oneLine(y.GetMessage()))
		} else {
			f.fail(place{file: f, line: 1, column: 1}, "%s", oneLine(err.Error()))
		}
		return found
	}
	for i, d := range tree.Docs {
		switch body := d.Body.(type) {
		case nil, *ast.CommentGroupNode, *ast.NullNode:
		case *ast.MappingNode:
			if i > 0 {
				f.fail(f.at(body), "a second document: a configuration is one")
				continue
			}
			f.mapping(body, "", options, found)
		default:
			f.fail(f.at(body), "a configuration is made of names with values, such as data_dir: /var/lib/sentineld")
		}
	}
	return found
}

// depth is how deep brackets are nested, strings and comments included: it is
// only ever too large.
func depth(src []byte) int {
	now, most := 0, 0
	for _, c := range src {
		switch c {
		case '[', '{':
			now++
			most = max(most, now)
		case ']', '}':
			now = max(0, now-1)
		}
	}
	return most
}

func (f *file) mapping(m *ast.MappingNode, prefix string, options map[string]reflect.Value, found map[string]place) {
	for _, v := range m.Values {
		key, ok := v.Key.(ast.Node)
		if !ok {
			continue
		}
		name := key.GetToken().Value
		path := prefix + name
		option, ok := options[path]
		if ok {
			// The parser finds a key that stands twice in one place; this is a.b: beside
			// a: {b: }.
			if _, twice := found[path]; twice {
				f.fail(f.at(key), "%s is set twice", path)
				continue
			}
			p := f.at(v.Value)
			if list, ok := v.Value.(*ast.SequenceNode); ok {
				for _, item := range list.Values {
					p.items = append(p.items, f.at(item))
				}
			}
			found[path] = p
			f.value(v.Value, path, option)
			continue
		}
		if !isSection(path, options) {
			f.unknown(key, prefix, name, options)
			continue
		}
		switch section := v.Value.(type) {
		case *ast.MappingNode:
			f.mapping(section, path+".", options, found)
		case *ast.NullNode:
		default:
			f.fail(f.at(v.Value), "%s is a group of options, not a value (write %s.NAME on a line of its own below it)", path, path)
		}
	}
}

// notUTF8 is the first byte that is not, -1 when all are.
func notUTF8(src []byte) int {
	for i := 0; i < len(src); {
		r, size := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return -1
}

// oneLine is the parser's message, which may quote the file, without what would
// break the line or steer a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

func isSection(path string, options map[string]reflect.Value) bool {
	for p := range options {
		if strings.HasPrefix(p, path+".") {
			return true
		}
	}
	return false
}

// unknown reports a key that is no option, with the one that it is nearest to.
func (f *file) unknown(key ast.Node, prefix, name string, options map[string]reflect.Value) {
	var here, all []string
	for p := range options {
		all = append(all, p)
		if rest, ok := strings.CutPrefix(p, prefix); ok {
			next, _, _ := strings.Cut(rest, ".")
			if !slices.Contains(here, next) {
				here = append(here, next)
			}
		}
	}
	slices.Sort(here)
	slices.Sort(all)
	hint := "there are " + strings.Join(here, ", ")
	if near := suggest.Closest(name, here); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	} else if i := slices.IndexFunc(all, func(p string) bool { return strings.HasSuffix(p, "."+name) }); i >= 0 {
		hint = "did you mean " + all[i] + "?"
	}
	f.fail(f.at(key), "unknown option %q: %s", prefix+name, hint)
}

// value reads a node into an option. The type in the file must be the option's:
// a quoted number is a text.
func (f *file) value(n ast.Node, path string, option reflect.Value) {
	wrong := func(want string) { f.fail(f.at(n), "%s is %s, not %s", path, kindOf(n), want) }
	// What is printed later, in messages and in the status, steers no terminal.
	clean := func(at ast.Node, s string) bool {
		i := strings.IndexFunc(s, unicode.IsControl)
		if i >= 0 {
			r, _ := utf8.DecodeRuneInString(s[i:])
			f.fail(f.at(at), "%s holds the control character %q", path, r)
		}
		return i < 0
	}
	switch option.Interface().(type) {
	case bool:
		b, ok := n.(*ast.BoolNode)
		if !ok {
			wrong("true or false")
			return
		}
		option.SetBool(b.Value)
	case int:
		i, ok := n.(*ast.IntegerNode)
		if !ok {
			wrong("a whole number")
			return
		}
		if err := set(option, fmt.Sprint(i.Value)); err != nil {
			f.fail(f.at(n), "%s: %v", path, err)
		}
	case []string:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			wrong("a list of texts")
			return
		}
		values := make([]string, 0, len(list.Values))
		for _, item := range list.Values {
			s, ok := textOf(item)
			if !ok {
				f.fail(f.at(item), "%s holds %s, not a text", path, kindOf(item))
				return
			}
			if !clean(item, s) {
				return
			}
			values = append(values, s)
		}
		option.Set(reflect.ValueOf(values))
	case time.Duration:
		s, ok := textOf(n)
		if !ok {
			wrong("a duration such as 250ms, 10s or 1h")
			return
		}
		if err := set(option, s); err != nil {
			f.fail(f.at(n), "%s: %v", path, err)
		}
	default:
		s, ok := textOf(n)
		if !ok {
			wrong("a text")
			return
		}
		if clean(n, s) {
			option.SetString(s)
		}
	}
}

func textOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "a text"
	case *ast.IntegerNode, *ast.FloatNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.NullNode:
		return "empty"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode:
		return "a group of options"
	}
	return "something that is not supported here"
}
