package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/suggest"
)

// params are values for the parameters of a statement, by name.
type params map[string]any

// errUnused marks a value that the statement does not ask for.
var errUnused = errors.New("the query has no such parameter")

var paramName = regexp.MustCompile(`^[:@$]?([A-Za-z_][A-Za-z0-9_]*)$`)

// parseParams reads NAME=VALUE. A value is what it would be in SQL (5, 1.5, NULL,
// x'00ff', 'text'), and text where it is nothing of that.
func parseParams(given []string) (params, error) {
	p := params{}
	for _, g := range given {
		name, text, ok := strings.Cut(g, "=")
		m := paramName.FindStringSubmatch(name)
		wrong := func(err error) (params, error) { return nil, cli.Usage(&optionError{"param", g, err}) }
		if !ok || m == nil {
			return wrong(errors.New("want NAME=VALUE, for :NAME in the query"))
		}
		if _, twice := p[m[1]]; twice {
			return wrong(fmt.Errorf("%s has a value already", m[1]))
		}
		value, err := paramValue(text)
		if err != nil {
			return wrong(err)
		}
		p[m[1]] = value
	}
	return p, nil
}

var (
	sqlInteger = regexp.MustCompile(`^[+-]?[0-9]+$`)
	sqlReal    = regexp.MustCompile(`^[+-]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][+-]?[0-9]+)?$`)
)

func paramValue(text string) (any, error) {
	quoted := len(text) >= 2 && text[len(text)-1] == '\''
	switch {
	case strings.EqualFold(text, "NULL"):
		return nil, nil
	case sqlInteger.MatchString(text):
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
		return nil, fmt.Errorf("%s is no 64-bit integer (in single quotes it is text)", text)
	case sqlReal.MatchString(text):
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is out of range (in single quotes it is text)", text)
		}
		return f, nil
	case quoted && text[0] == '\'':
		inner := text[1 : len(text)-1]
		if strings.Contains(strings.ReplaceAll(inner, "''", ""), "'") {
			return nil, fmt.Errorf("a quote inside of quotes is doubled: %s", safe("'"+strings.ReplaceAll(inner, "'", "''")+"'"))
		}
		return strings.ReplaceAll(inner, "''", "'"), nil
	case quoted && (strings.HasPrefix(text, "x'") || strings.HasPrefix(text, "X'")):
		b, err := hex.DecodeString(text[2 : len(text)-1])
		if err != nil {
			return nil, fmt.Errorf("x'...' wants pairs of hex digits: %w", err)
		}
		return b, nil
	}
	return text, nil
}

// bind gives each parameter of the statement its value. Each must have one, and
// each value a parameter. option is what gives one: --param or .param.
func (p params) bind(stmt *sqlite.Stmt, option string) error {
	var names []string
	for i := range stmt.BindParamCount() {
		param := stmt.BindParamName(i + 1)
		m := paramName.FindStringSubmatch(param)
		if m == nil || param == m[1] {
			return cli.Usagef("query: a parameter without a name (write :name, and give it a value with %s name=VALUE)", option)
		}
		names = append(names, m[1])
		value, ok := p[m[1]]
		if !ok {
			return cli.Usagef("query: parameter %s has no value (%s %s=VALUE gives it one)", param, option, m[1])
		}
		bindAny(stmt, i+1, value)
	}
	for name := range p {
		if slices.Contains(names, name) {
			continue
		}
		hint := "it has none: write :" + name + " where the value belongs"
		if near := suggest.Closest(name, names); near != "" {
			hint = "did you mean " + near + "?"
		} else if len(names) > 0 {
			hint = "it has " + strings.Join(names, ", ")
		}
		return cli.Usagef("%s %s: %w (%s)", option, name, errUnused, hint)
	}
	return nil
}

func bindAny(stmt *sqlite.Stmt, i int, value any) {
	switch v := value.(type) {
	case nil:
		stmt.BindNull(i)
	case int64:
		stmt.BindInt64(i, v)
	case float64:
		stmt.BindFloat(i, v)
	case []byte:
		stmt.BindBytes(i, v)
	case string:
		stmt.BindText(i, v)
	}
}
