package rule

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/suggest"
)

// keys are the keys of a rule file, in the order to show them in.
var keys = []string{
	"id", "title", "severity", "description", "author", "references", "tags", "sql", "window", "key", "enabled",
}

var required = []string{"id", "title", "severity", "sql"}

// foreign are the names that other rule languages have for our keys.
var foreign = map[string]string{
	"name": "title", "rule": "id", "level": "severity", "priority": "severity", "query": "sql", "condition": "sql",
	"detection": "sql", "timeframe": "window", "timespan": "window", "interval": "window", "desc": "description",
	"output": "title", "group_by": "key", "status": "enabled", "disabled": "enabled",
}

var (
	idForm     = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	tagForm    = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)+$`)
	columnForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

const (
	maxID    = 80
	maxTitle = 200
	maxList  = 64
	maxDepth = 8 // of flow collections: goccy/go-yaml takes quadratic time in it
)

// Parse reads one rule file. The error joins one *Error per problem, so that
// all of them can be mended in one go. File is used in messages only.
func Parse(file string, data []byte) (Rule, error) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	doc, err := parseMapping(file, data)
	if err != nil {
		return Rule{}, err
	}
	p := fileParser{src: data, rule: Rule{File: file, source: bytes.Clone(data)}}
	p.document(doc)
	if len(p.problems) > 0 {
		return Rule{}, errors.Join(p.problems...)
	}
	p.rule.Version = p.rule.Hash()
	return p.rule, nil
}

// parseMapping reads the one YAML document of a file, which is a mapping.
func parseMapping(file string, src []byte) (*ast.MappingNode, error) {
	whole := func(problem, hint string) error { return newError(file, src, -1, problem, hint) }
	if len(src) > MaxFileBytes {
		return nil, whole(fmt.Sprintf("the file has more than %d KiB", MaxFileBytes>>10), "one file holds one rule")
	}
	for i := 0; i < len(src); {
		r, size := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && size == 1 {
			return nil, newError(file, src, i, "this is no UTF-8 text", "save the file as UTF-8")
		}
		i += size
	}
	tokens := lexer.Tokenize(string(src))
	depth := 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		}
		if depth > maxDepth {
			return nil, newError(file, src, offsetOf(src, t), "brackets are nested too deeply", "a rule needs lists of plain values only")
		}
	}
	yamlFile, err := parser.Parse(tokens, 0)
	if err != nil {
		var at yaml.Error
		if errors.As(err, &at) {
			return nil, newError(file, src, offsetOf(src, at.GetToken()), "no valid YAML: "+at.GetMessage(), "")
		}
		return nil, whole("no valid YAML: "+err.Error(), "")
	}
	docs := slices.DeleteFunc(yamlFile.Docs, func(d *ast.DocumentNode) bool { return d.Body == nil })
	switch {
	case len(docs) == 0:
		return nil, whole("the file is empty", "a rule needs at least "+strings.Join(required, ", "))
	case len(docs) > 1:
		return nil, newError(file, src, offsetOf(src, docs[1].Body.GetToken()),
			"a second YAML document starts here", "one file holds one rule: move it to a file of its own")
	}
	switch body := docs[0].Body.(type) {
	case *ast.MappingNode:
		return body, nil
	case *ast.MappingValueNode:
		return ast.Mapping(body.Start, false, body), nil
	}
	return nil, newError(file, src, offsetOf(src, docs[0].Body.GetToken()),
		"a rule is a mapping of keys to values, not "+typeName(docs[0].Body), "begin with id: and title:")
}

type fileParser struct {
	src      []byte
	rule     Rule
	problems []error
}

func (p *fileParser) fail(n ast.Node, problem, hint string) {
	p.problems = append(p.problems, newError(p.rule.File, p.src, offsetOf(p.src, n.GetToken()), problem, hint))
}

func (p *fileParser) document(doc *ast.MappingNode) {
	seen := map[string]bool{}
	for _, entry := range doc.Values {
		name := entry.Key.GetToken().Value
		if _, plain := entry.Key.(*ast.StringNode); !plain || !slices.Contains(keys, name) {
			hint := "known are " + strings.Join(keys, ", ")
			near := foreign[name]
			if near == "" {
				near = suggest.Closest(name, keys)
			}
			if near != "" {
				hint = "did you mean " + near + "? " + hint
				seen[near] = true // that it is missing would be said twice
			}
			p.fail(entry.Key, fmt.Sprintf("unknown key %q", short(name)), hint)
			continue
		}
		seen[name] = true
		if _, null := entry.Value.(*ast.NullNode); null {
			p.fail(entry.Key, name+" has no value", "give it one, or remove the key")
			continue
		}
		p.value(name, entry.Value)
	}
	for _, name := range required {
		if !seen[name] {
			p.problems = append(p.problems, newError(p.rule.File, p.src, 0, "the rule has no "+name, "a rule needs at least "+strings.Join(required, ", ")))
		}
	}
}

func (p *fileParser) value(name string, n ast.Node) {
	switch r := &p.rule; name {
	case "id":
		r.ID = p.line(name, n, maxID)
		if r.ID != "" && !idForm.MatchString(r.ID) {
			p.fail(n, fmt.Sprintf("bad id %q", short(r.ID)), idHint(r.ID))
		}
	case "title":
		r.Title = p.line(name, n, maxTitle)
	case "severity":
		p.severity(n)
	case "description":
		r.Description = strings.TrimSpace(p.text(name, n))
	case "author":
		r.Author = p.line(name, n, maxTitle)
	case "references":
		r.References = p.list(name, n, nil, "")
	case "tags":
		r.Tags = p.list(name, n, tagForm, "write namespace.value in lower case, such as attack.execution or attack.t1059.004")
	case "sql":
		p.sql(n)
	case "window":
		p.window(n)
	case "key":
		r.Key = p.list(name, n, columnForm, "name columns of the rule's result")
	case "enabled":
		b, ok := n.(*ast.BoolNode)
		if !ok {
			p.fail(n, "enabled is "+typeName(n), "write true or false")
			return
		}
		r.Disabled = !b.Value
	}
}

func idHint(id string) string {
	hint := "use lower-case letters and digits, with single dashes between them"
	mended := strings.FieldsFunc(strings.ToLower(id), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	if len(mended) > 0 {
		hint += ": " + short(strings.Join(mended, "-"))
	}
	return hint
}

func (p *fileParser) severity(n ast.Node) {
	s := p.line("severity", n, maxTitle)
	if s == "" {
		return
	}
	sev, err := event.ParseSeverity(s)
	if err == nil {
		p.rule.Severity = sev
		return
	}
	names := make([]string, 0, 4)
	for v := event.SeverityLow; v <= event.SeverityCritical; v++ {
		names = append(names, v.String())
	}
	hint := "write " + strings.Join(names, ", ")
	if near := suggest.Closest(s, names); near != "" {
		hint = "did you mean " + near + "? " + hint
	}
	p.fail(n, fmt.Sprintf("unknown severity %q", short(s)), hint)
}

func (p *fileParser) sql(n ast.Node) {
	s := p.text("sql", n)
	if s == "" {
		return
	}
	t := n.GetToken()
	p.rule.sql = spanOf(p.src, t)
	p.rule.SQL = s
	first, at := firstWord(s)
	switch {
	case len(s) > MaxSQLBytes:
		p.fail(n, fmt.Sprintf("the SQL has %d bytes, more than %d", len(s), MaxSQLBytes), "split the rule")
	case first == "":
		p.fail(n, "the SQL is empty", "write one SELECT over the views, such as SELECT seq, process FROM execs WHERE name = 'nc'")
	case !strings.EqualFold(first, "SELECT") && !strings.EqualFold(first, "WITH"):
		p.problems = append(p.problems, newError(p.rule.File, p.src, p.rule.sql.locate(p.src, s, at),
			fmt.Sprintf("the SQL begins with %q", short(first)), "a rule is one SELECT: it can only read"))
	}
}

// firstWord skips white space and comments.
func firstWord(sql string) (word string, at int) {
	for rest := sql; ; {
		rest = strings.TrimLeft(rest, " \t\r\n\f")
		var end int
		switch {
		case strings.HasPrefix(rest, "--"):
			end = strings.IndexByte(rest, '\n')
		case strings.HasPrefix(rest, "/*"):
			if end = strings.Index(rest[2:], "*/"); end >= 0 {
				end += 3
			}
		default:
			at = len(sql) - len(rest)
			n := strings.IndexFunc(rest, func(r rune) bool { return !unicode.IsLetter(r) })
			switch {
			case n < 0:
				return rest, at
			case n == 0:
				return rest[:1], at
			}
			return rest[:n], at
		}
		if end < 0 {
			return "", len(sql)
		}
		rest = rest[end+1:]
	}
}

func (p *fileParser) window(n ast.Node) {
	const how = "write a number with a unit, such as 60s, 10m or 24h"
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		p.fail(n, "window "+short(n.GetToken().Value)+" has no unit", how)
		return
	}
	s := p.line("window", n, maxTitle)
	if s == "" {
		return
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		hint := how
		if days, err := strconv.Atoi(strings.TrimSuffix(s, "d")); err == nil && days == 1 {
			hint = "a day is 24h"
		}
		p.fail(n, fmt.Sprintf("bad window %q", short(s)), hint)
	case d < MinWindow || d > MaxWindow:
		p.fail(n, "window "+short(s)+" is out of range", fmt.Sprintf("at least %s, at most %gh", MinWindow, MaxWindow.Hours()))
	}
	p.rule.Window = d
}

// text is the value of a string; what is no string is reported.
func (p *fileParser) text(name string, n ast.Node) string {
	var s string
	switch v := n.(type) {
	case *ast.StringNode:
		s = v.Value
	case *ast.LiteralNode:
		s = v.Value.Value
	default:
		hint := ""
		if _, scalar := n.(ast.ScalarNode); scalar {
			hint = "put it in quotes"
		}
		p.fail(n, name+" is "+typeName(n)+", not text", hint)
		return ""
	}
	if strings.TrimSpace(s) == "" {
		p.fail(n, name+" is empty", "")
		return ""
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }); i >= 0 {
		p.fail(n, fmt.Sprintf("%s holds the control character %q", name, s[i]), "remove it")
		return ""
	}
	return s
}

// line is the value of a string without line breaks.
func (p *fileParser) line(name string, n ast.Node, limit int) string {
	s := p.text(name, n)
	if s == "" {
		return ""
	}
	s = strings.TrimSpace(s)
	switch {
	case strings.ContainsAny(s, "\n\r\t"):
		p.fail(n, name+" has a line break or a tab", "write it on one line")
		return ""
	case len(s) > limit:
		p.fail(n, fmt.Sprintf("%s has %d bytes, more than %d", name, len(s), limit), "shorten it")
		return ""
	}
	return s
}

// list is a list of different one-line strings of a form.
func (p *fileParser) list(name string, n ast.Node, form *regexp.Regexp, hint string) []string {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		p.fail(n, name+" is "+typeName(n)+", not a list", "write ["+short(strings.ReplaceAll(n.GetToken().Value, "\n", " "))+"] or one \"- item\" a line")
		return nil
	}
	if len(seq.Values) > maxList {
		p.fail(n, fmt.Sprintf("%s has %d items, more than %d", name, len(seq.Values), maxList), "")
		return nil
	}
	items := make([]string, 0, len(seq.Values))
	for _, v := range seq.Values {
		if v == nil {
			p.fail(n, name+" has an empty item", "remove it")
			continue
		}
		s := p.line("an item of "+name, v, 4*maxTitle)
		switch {
		case s == "":
		case form != nil && !form.MatchString(s):
			p.fail(v, fmt.Sprintf("bad item %q of %s", short(s), name), hint)
		case slices.Contains(items, s):
			p.fail(v, fmt.Sprintf("%s names %q twice", name, short(s)), "remove one")
		default:
			items = append(items, s)
		}
	}
	return items
}

func typeName(n ast.Node) string {
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.NullNode:
		return "nothing"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "a YAML anchor or alias, which rules do not use"
	case *ast.TagNode:
		return "a YAML tag, which rules do not use"
	}
	return "something else"
}

// short cuts what is repeated in a message.
func short(s string) string {
	const limit = 60
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return string([]rune(s)[:limit]) + "…"
}
