package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Word is an argument: literal text and variables in turn.
type Word []piece

type piece struct {
	text     string
	variable bool
}

// builtin are the variables that a program may not be named like.
var builtin = []string{"dir", "base", "helpers", "runner", "begin", "sh", "backend"}

// ParseWords cuts a line into arguments, as the package comment says.
func ParseWords(line string) ([]Word, error) {
	var words []Word
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" {
			return words, nil
		}
		var w Word
		for line != "" && line[0] != ' ' && line[0] != '\t' {
			var err error
			switch line[0] {
			case '\'':
				text, rest, ok := strings.Cut(line[1:], "'")
				if !ok {
					return nil, errors.New("a ' is not closed")
				}
				w, line = append(w, piece{text: text}), rest
			case '"':
				if w, line, err = run(w, line[1:], `"`); err == nil && line == "" {
					err = errors.New(`a " is not closed`)
				}
				line = strings.TrimPrefix(line, `"`)
			default:
				w, line, err = run(w, line, " \t'\"")
			}
			if err != nil {
				return nil, err
			}
		}
		words = append(words, w)
	}
}

// run reads text with escapes and variables up to one of the characters in end.
func run(w Word, line, end string) (Word, string, error) {
	var text strings.Builder
	for line != "" && !strings.Contains(end, line[:1]) {
		switch line[0] {
		case '\\':
			c, rest, err := escape(line)
			if err != nil {
				return nil, "", err
			}
			text.WriteByte(c)
			line = rest
		case '$':
			name, rest, err := cutVariable(line)
			if err != nil {
				return nil, "", err
			}
			if name == "$" {
				text.WriteByte('$')
			} else {
				w = append(w, piece{text: text.String()}, piece{text: name, variable: true})
				text.Reset()
			}
			line = rest
		default:
			text.WriteByte(line[0])
			line = line[1:]
		}
	}
	return append(w, piece{text: text.String()}), line, nil
}

func escape(line string) (byte, string, error) {
	if len(line) < 2 {
		return 0, "", errors.New(`nothing is behind a \`)
	}
	switch c := line[1]; c {
	case 'n':
		return '\n', line[2:], nil
	case 't':
		return '\t', line[2:], nil
	case '\\', '"', '\'', '$', ' ':
		return c, line[2:], nil
	case 'x':
		if len(line) >= 4 {
			if v, err := strconv.ParseUint(line[2:4], 16, 8); err == nil && v != 0 {
				return byte(v), line[4:], nil
			}
		}
		return 0, "", errors.New(`\x needs two hex digits, and an argument holds no byte 0`)
	default:
		return 0, "", fmt.Errorf(`unknown escape \%c: want \n, \t, \xNN, \\, \", \' or \$`, c)
	}
}

// cutVariable reads $NAME, ${NAME}, with .NAME behind, or $$, which is "$".
func cutVariable(s string) (name, rest string, err error) {
	body := s[1:]
	if strings.HasPrefix(body, "$") {
		return "$", body[1:], nil
	}
	if strings.HasPrefix(body, "{") {
		name, rest, ok := strings.Cut(body[1:], "}")
		if !ok || len(name) == 0 || len(ident(name)) != len(name) {
			return "", "", fmt.Errorf("bad variable %.20q: want ${NAME}", s)
		}
		return name, rest, nil
	}
	if name = ident(body); name == "" {
		return "", "", fmt.Errorf("bad variable %.20q: want $NAME, or $$ for the character", s)
	}
	return name, body[len(name):], nil
}

// ident is the name in front of s: a word, or two with a dot between.
func ident(s string) string {
	n := word(s)
	if n > 0 && n < len(s) && s[n] == '.' {
		if m := word(s[n+1:]); m > 0 {
			n += 1 + m
		}
	}
	return s[:n]
}

func word(s string) int {
	n := strings.IndexFunc(s, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	if n < 0 {
		n = len(s)
	}
	if n > 0 && s[0] >= '0' && s[0] <= '9' {
		return 0
	}
	return n
}

// Vars are the values of variables.
type Vars map[string]string

func (v Vars) get(name string) (string, error) {
	if value, ok := v[name]; ok {
		return value, nil
	}
	known := make([]string, 0, len(v))
	for k := range v {
		known = append(known, "$"+k)
	}
	slices.Sort(known)
	return "", &unsetError{name: name, known: known}
}

// unsetError is a variable without a value.
type unsetError struct {
	name  string
	known []string
}

func (e *unsetError) Error() string {
	return fmt.Sprintf("$%s has no value; those that have are %s", e.name, strings.Join(e.known, " "))
}

// Expand gives the argument's text.
func (v Vars) Expand(w Word) (string, error) {
	var b strings.Builder
	for _, p := range w {
		text := p.text
		if p.variable {
			var err error
			if text, err = v.get(p.text); err != nil {
				return "", err
			}
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

func (v Vars) expandAll(words []Word) ([]string, error) {
	texts := make([]string, len(words))
	for i, w := range words {
		var err error
		if texts[i], err = v.Expand(w); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// SQL replaces variables in a query. What a program said is not quoted: it may be
// a list of values.
func (v Vars) SQL(query string) (string, error) {
	return v.replace(query, func(s string) string { return s })
}

// JSON replaces variables in a row, in strings and as numbers.
func (v Vars) JSON(row string) (string, error) {
	return v.replace(row, func(s string) string {
		b, err := json.Marshal(s)
		if err != nil { // a string always can be
			return s
		}
		return string(b[1 : len(b)-1])
	})
}

func (v Vars) replace(s string, quote func(string) string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(s, "$")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		name, rest, err := cutVariable("$" + rest)
		if err != nil {
			return "", err
		}
		value := "$"
		if name != "$" {
			if value, err = v.get(name); err != nil {
				return "", err
			}
			value = quote(value)
		}
		b.WriteString(value)
		s = rest
	}
}
