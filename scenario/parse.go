package scenario

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// verbs has the least and the most arguments of each; -1 = any number.
var verbs = map[string][2]int{
	"run": {1, -1}, "start": {1, -1}, "ready": {1, 1}, "say": {2, 2}, "close": {1, 1}, "signal": {2, 2}, "wait": {1, 1},
	"until": {0, 0}, "copy": {2, 5}, "link": {2, 2}, "mkdir": {1, 1}, "remove": {1, 1}, "write": {3, 3}, "setenv": {2, 2},
	"agent": {1, 1}, "table": {0, 0}, "logged": {1, 1}, "status": {1, 1}, "nowhere": {1, 1}, "memory": {1, 1},
}

var (
	sectionLine = regexp.MustCompile(`^-- (.+) --$`)
	directive   = regexp.MustCompile(`^(agent|under|skip|pending)( [a-z, ]+)?:(.*)$`)
	stepName    = regexp.MustCompile(`^([a-z][a-z0-9_]*) += +(.*)$`)
	outcome     = regexp.MustCompile(`^(.*) -> (?:(exit|signal) (\d{1,3})|any)$`)
)

// parser reads one file. Its position is for errors.
type parser struct {
	f    *File
	path string
	line int
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %w", p.path, p.line, fmt.Errorf(format, args...))
}

// section is a part of the file: its name, its first line's number, and lines.
type section struct {
	name  string
	line  int
	lines []string
}

// Parse reads a scenario. path is for messages, and its last part names it.
func Parse(path string, data []byte) (*File, error) {
	name := path[strings.LastIndexAny(path, `/\`)+1:]
	p := &parser{path: path, f: &File{
		Name: strings.TrimSuffix(name, ".txtar"), Skip: map[string]string{}, Pending: map[string]string{}, Expect: map[string][]Expectation{},
	}}
	sections := split(data)
	if err := p.head(sections[0]); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, s := range sections[1:] {
		p.line = s.line - 1
		kind, backends, _ := strings.Cut(s.name, " ")
		if seen[s.name] {
			return nil, p.errorf("section %q is there twice", s.name)
		}
		seen[s.name] = true
		var err error
		switch {
		case s.name == "config":
			p.f.Config = strings.Join(s.lines, "\n") + "\n"
		case s.name == "run":
			err = p.steps(s)
		case kind == "expect":
			err = p.expect(backends, s)
		default:
			err = p.errorf("unknown section %q: want config, run, expect or expect BACKEND", s.name)
		}
		if err != nil {
			return nil, err
		}
	}
	return p.f, p.whole()
}

func split(data []byte) []section {
	sections := []section{{line: 1}}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := strings.TrimRight(string(line), "\r\n")
		if m := sectionLine.FindStringSubmatch(text); m != nil {
			sections = append(sections, section{name: m[1], line: n + 1})
			continue
		}
		s := &sections[len(sections)-1]
		s.lines = append(s.lines, text)
	}
	return sections
}

// whole checks what only the whole file can be wrong in.
func (p *parser) whole() error {
	p.line = 1
	f := p.f
	switch {
	case f.About == "":
		return p.errorf("say in # lines what the behaviour is")
	case len(f.Steps) == 0:
		return p.errorf("there is no step: add a section -- run --")
	case !f.Agent.Own && f.Config != "":
		return p.errorf("a configuration needs the directive agent: own or agent: later")
	case !f.Agent.Own && len(f.Agent.Under) > 0:
		return p.errorf("under needs the directive agent: own or agent: later")
	}
	for _, b := range Backends {
		if f.Skip[b] == "" && len(f.Expected(b)) == 0 && !f.hasChecks() {
			return p.errorf("nothing is expected of %s: add -- expect -- or -- expect %s --, or skip it", b, b)
		}
	}
	for _, s := range f.Steps {
		p.line = s.Line
		switch {
		case f.Agent.Own:
		case s.Verb == "agent":
			return p.errorf("the agent of all scenarios is not for this one to control: add the directive agent: own")
		case s.Verb == "memory":
			return p.errorf("the memory of the agent of all scenarios is not for this one to judge: add the directive agent: own")
		}
	}
	return nil
}

func (p *parser) head(s section) error {
	var about []string
	for i, line := range s.lines {
		p.line = s.line + i
		if text, ok := strings.CutPrefix(line, "#"); ok {
			about = append(about, strings.TrimPrefix(text, " "))
			continue
		}
		if strings.TrimSpace(line) == "" {
			continue
		}
		m := directive.FindStringSubmatch(line)
		if m == nil {
			return p.errorf("%q is no directive: want agent, under, skip or pending and a colon, or # in front of a comment", line)
		}
		if err := p.directive(m[1], strings.TrimSpace(m[2]), strings.TrimSpace(m[3])); err != nil {
			return err
		}
	}
	p.f.About = strings.TrimSpace(strings.Join(about, "\n"))
	return nil
}

func (p *parser) directive(name, backends, value string) error {
	if value == "" {
		return p.errorf("%s: the value is missing", name)
	}
	switch name {
	case "agent":
		kind, flags, _ := strings.Cut(value, " ")
		if kind != "own" && kind != "later" {
			return p.errorf("agent: %s: want own or later, then flags", kind)
		}
		words, err := p.words(flags)
		p.f.Agent.Own, p.f.Agent.Later, p.f.Agent.Flags = true, kind == "later", words
		return err
	case "under":
		words, err := p.words(value)
		p.f.Agent.Under = words
		return err
	}
	list, err := p.backends(backends)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		if name == "skip" {
			return p.errorf("skip: name the backends: skip poll: WHY")
		}
		list = Backends
	}
	to := map[string]map[string]string{"skip": p.f.Skip, "pending": p.f.Pending}[name]
	for _, b := range list {
		to[b] = value
	}
	return nil
}

func (p *parser) backends(list string) ([]string, error) {
	var names []string
	for name := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		if !slices.Contains(Backends, name) {
			return nil, p.errorf("unknown backend %q: want %s", name, strings.Join(Backends, ", "))
		}
		names = append(names, name)
	}
	return names, nil
}

func (p *parser) words(text string) ([]Word, error) {
	words, err := ParseWords(text)
	if err != nil {
		return nil, p.errorf("%w", err)
	}
	return words, nil
}

func (p *parser) steps(s section) error {
	for i, line := range s.lines {
		p.line = s.line + i
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		step, err := p.step(line)
		if err != nil {
			return err
		}
		p.f.Steps = append(p.f.Steps, step)
	}
	return nil
}

func (p *parser) step(line string) (Step, error) {
	s := Step{Line: p.line}
	if m := stepName.FindStringSubmatch(line); m != nil {
		s.Name, line = m[1], m[2]
	}
	verb, rest, _ := strings.Cut(line, " ")
	count, ok := verbs[verb]
	if !ok {
		return s, p.errorf("unknown step %q", verb)
	}
	s.Verb = verb
	if verb == "until" {
		if s.SQL = strings.TrimSpace(rest); s.SQL == "" {
			return s, p.errorf("until: the query is missing")
		}
		return s, nil
	}
	if m := outcome.FindStringSubmatch(line); m != nil {
		if verb != "run" && verb != "wait" {
			return s, p.errorf("%s does not wait for an end: -> goes with run and wait", verb)
		}
		n, _ := strconv.Atoi(m[3]) // of three digits at most
		switch m[2] {
		case "signal":
			s.Outcome.Signal = n
		case "exit":
			s.Outcome.Code = n
		default:
			s.Outcome.Any = true
		}
		_, rest, _ = strings.Cut(m[1], " ")
	}
	var err error
	if s.Args, err = p.words(rest); err != nil {
		return s, err
	}
	if n := len(s.Args); n < count[0] || count[1] >= 0 && n > count[1] {
		return s, p.errorf("%s with %d arguments: want %s", verb, n, span(count))
	}
	switch {
	case s.Name != "" && verb != "run" && verb != "start":
		return s, p.errorf("%s starts no program: it can have no name", verb)
	case s.Name == "" && verb == "start":
		return s, p.errorf("start needs a name: NAME = start ...")
	case slices.Contains(builtin, s.Name):
		return s, p.errorf("the name %s is taken: $%s has a meaning already", s.Name, s.Name)
	}
	return s, nil
}

func span(count [2]int) string {
	switch {
	case count[1] < 0:
		return fmt.Sprintf("%d or more", count[0])
	case count[0] == count[1]:
		return strconv.Itoa(count[0])
	}
	return fmt.Sprintf("%d to %d", count[0], count[1])
}

func (p *parser) expect(backends string, s section) error {
	names, err := p.backends(backends)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		names = []string{""}
	}
	list, err := p.expectations(s)
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, ok := p.f.Expect[name]; ok {
			p.line = s.line - 1
			return p.errorf("what is expected of %s is there twice", name)
		}
		p.f.Expect[name] = list
	}
	return nil
}

// expectations are queries of one or more lines, each followed by its rows.
func (p *parser) expectations(s section) ([]Expectation, error) {
	var list []Expectation
	rows := true // the last query has its rows, so that a line begins the next
	none := false
	for i, line := range s.lines {
		p.line = s.line + i
		line = strings.TrimSpace(line)
		last := len(list) - 1
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '{' || line == "no rows":
			if last < 0 {
				return nil, p.errorf("a row without a query in front")
			}
			if none || rows && line == "no rows" {
				return nil, p.errorf("rows and no rows at once")
			}
			rows, none = true, line == "no rows"
			if !none {
				list[last].Rows = append(list[last].Rows, line)
			}
		case rows:
			list = append(list, Expectation{Line: p.line, SQL: line})
			rows, none = false, false
		default:
			list[last].SQL += " " + line
		}
	}
	if !rows {
		p.line = list[len(list)-1].Line
		return nil, p.errorf("the query has no rows: write them as JSON objects, or the line: no rows")
	}
	if len(list) == 0 {
		p.line = s.line - 1
		return nil, p.errorf("the section is empty")
	}
	for _, e := range list {
		for _, row := range e.Rows {
			if !plausible(row) {
				p.line = e.Line
				return nil, p.errorf("row is no JSON object: %s", row)
			}
		}
	}
	return list, nil
}

var variable = regexp.MustCompile(`\$(\{[a-z][a-z0-9_.]*\}|[a-z][a-z0-9_.]*)`)

// plausible tells whether a row is JSON once its variables are numbers.
func plausible(row string) bool {
	return json.Valid(variable.ReplaceAll([]byte(strings.ReplaceAll(row, "$$", "0")), []byte("0")))
}
