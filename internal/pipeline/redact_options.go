package pipeline

import (
	"errors"
	"fmt"
	"strings"
)

// CheckFlag says what is wrong with an entry of RedactOptions.Flags.
func CheckFlag(s string) error {
	_, err := parseFlag(s)
	return err
}

// CheckEnv says what is wrong with an entry of RedactOptions.Env.
func CheckEnv(s string) error {
	_, err := parsePattern(s)
	return err
}

// CheckProgram says what is wrong with an entry of RedactOptions.Programs.
func CheckProgram(s string) error {
	_, _, err := parseProgram(s)
	return err
}

func parseFlag(s string) (string, error) {
	var buf [maxName]byte
	folded, ok := lower(&buf, s)
	switch {
	case s == "":
		return "", errors.New("a flag has no name")
	case s[0] == '-':
		return "", fmt.Errorf("flag %q: write it without dashes", s)
	case !ok || !isFlagName(s):
		return "", fmt.Errorf("flag %q: want 2 to %d letters, digits, -, _ and . (a flag of one letter is a program's: see redact.programs)", s, maxName)
	}
	return strings.ReplaceAll(string(folded), "_", "-"), nil
}

func (r *Redactor) matchFlag(name string) bool {
	if len(r.flags) == 0 {
		return false
	}
	folded := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	for _, f := range r.flags {
		if f == folded {
			return true
		}
	}
	return false
}

// pattern is a name, with * at an end for anything.
type pattern struct {
	text       string // folded
	head, tail bool   // anything before, behind
}

func parsePattern(s string) (pattern, error) {
	p := pattern{text: strings.ToLower(s)}
	p.text, p.head = strings.CutPrefix(p.text, "*")
	p.text, p.tail = strings.CutSuffix(p.text, "*")
	if p.text == "" {
		return p, fmt.Errorf("variable %q: want a name, such as MY_CREDENTIAL, MY_* or *_CREDENTIAL", s)
	}
	for i := range len(p.text) {
		if !isNameByte(p.text[i]) {
			return p, fmt.Errorf("variable %q: want letters, digits, _, - and ., and * only at an end", s)
		}
	}
	return p, nil
}

func (r *Redactor) matchEnv(name string) bool {
	if len(r.env) == 0 || name == "" {
		return false
	}
	name = strings.ToLower(name)
	for _, p := range r.env {
		switch {
		case p.head && p.tail && strings.Contains(name, p.text), p.head && strings.HasSuffix(name, p.text),
			p.tail && strings.HasPrefix(name, p.text), name == p.text:
			return true
		}
	}
	return false
}

func parseProgram(s string) (name string, r rule, err error) {
	name, flag, ok := strings.Cut(s, ":")
	var buf [maxName]byte
	folded, short := programName(&buf, name)
	switch {
	case !ok || name == "" || flag == "":
		return "", r, fmt.Errorf("program %q: want PROGRAM:FLAG, such as mytool:-p or mytool:--pin", s)
	case !short || strings.ContainsAny(name, `/\ `):
		return "", r, fmt.Errorf("program %q: want the name of the program without its directory", s)
	case flag[0] != '-' && flag[0] != '/' || len(flag) < 2 || flag == "--" || strings.ContainsAny(flag, "= ") || strings.Contains(strings.TrimSuffix(flag, ":"), ":"):
		return "", r, fmt.Errorf("program %q: %q is no flag (want -p, --pin or /p:)", s, flag)
	}
	return string(folded), rule{flag: flag, kind: whole}, nil
}
