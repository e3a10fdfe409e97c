package store

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// checkStatement looks at the first word only. SQLite and the authorizer judge
// the rest; the two that the authorizer does not see (EXPLAIN, and VACUUM until
// it runs) can only stand first.
func checkStatement(sql string) error {
	if i := strings.IndexByte(sql, 0); i >= 0 {
		line, col := position(sql, i)
		return fmt.Errorf("%d:%d: %w: a NUL byte", line, col, ErrForbidden)
	}
	rest := skipBlank(sql, true)
	word := rest
	for i := 0; i < len(rest); i++ {
		if c := rest[i] | 0x20; c < 'a' || c > 'z' {
			word = rest[:i]
			break
		}
	}
	line, col := position(sql, len(sql)-len(rest))
	switch strings.ToUpper(word) {
	case "SELECT", "VALUES", "WITH":
		return nil
	case "":
		if rest == "" {
			return fmt.Errorf("%d:%d: %w: no statement", line, col, ErrForbidden)
		}
		if rest[0] == '(' {
			return fmt.Errorf("%d:%d: %w: a statement begins with SELECT, VALUES or WITH, not with a parenthesis", line, col, ErrForbidden)
		}
	case "EXPLAIN":
		return fmt.Errorf("%d:%d: %w: EXPLAIN is not open to queries: `sentineld rules explain` shows what a rule costs", line, col, ErrForbidden)
	case "PRAGMA":
		return fmt.Errorf("%d:%d: %w: PRAGMA is not open to queries: `sentineld status` shows the state of the store", line, col, ErrForbidden)
	}
	return fmt.Errorf("%d:%d: %w: a query only reads: use SELECT, VALUES or WITH ... SELECT over %s",
		line, col, ErrForbidden, strings.Join(viewNames[:], ", "))
}

// Complete reports whether what was typed so far ends with a semicolon that is no
// part of a text or a comment.
func Complete(sql string) bool {
	token := ""
	for rest := skipBlank(sql, false); rest != ""; rest = skipBlank(rest, false) {
		quoted := strings.IndexByte("'\"`[", rest[0]) >= 0
		if token, rest = cutToken(rest); quoted {
			token = "" // whatever is in it
		}
	}
	return token == ";"
}

// checkWhole refuses a view that is named by its schema: that is the whole record,
// behind the views of a range of time. The authorizer is not asked about a view
// of which no column is read.
func checkWhole(sql string) error {
	for rest := skipBlank(sql, true); rest != ""; rest = skipBlank(rest, true) {
		at := len(sql) - len(rest)
		var schema, view string
		schema, rest = cutToken(rest)
		dotted, ok := strings.CutPrefix(skipBlank(rest, false), ".")
		if !ok || !strings.EqualFold(schema, "main") {
			continue
		}
		if view, rest = cutToken(skipBlank(dotted, false)); slices.Contains(viewNames[:], strings.ToLower(view)) {
			line, col := position(sql, at)
			return fmt.Errorf("%d:%d: %w: main.%s is the whole record, not that of --since and --until: name it without main", line, col, ErrForbidden, strings.ToLower(view))
		}
	}
	return nil
}

// cutToken cuts the first token off: a name or a literal, without its quotes,
// else one byte. The text does not begin with a blank.
func cutToken(s string) (token, rest string) {
	if s == "" {
		return "", ""
	}
	switch c := s[0]; c {
	case '\'', '"', '`':
		for i := 1; i < len(s); i++ {
			if s[i] != c {
				continue
			}
			if i+1 < len(s) && s[i+1] == c { // doubled: part of it
				i++
				continue
			}
			return s[1:i], s[i+1:]
		}
		return s[1:], ""
	case '[':
		token, rest, _ = strings.Cut(s[1:], "]")
		return token, rest
	}
	n := 0
	for n < len(s) && (s[n] == '_' || s[n] == '$' || s[n] >= 0x80 || s[n] >= '0' && s[n] <= '9' || s[n]|0x20 >= 'a' && s[n]|0x20 <= 'z') {
		n++
	}
	n = max(n, 1)
	return s[:n], s[n:]
}

// skipBlank cuts white space and comments as SQLite's tokenizer knows them off
// the front, and semicolons too when asked.
func skipBlank(s string, semicolons bool) string {
	for s != "" {
		switch {
		case strings.IndexByte(" \t\n\f\r", s[0]) >= 0, s[0] == ';' && semicolons:
			s = s[1:]
		case strings.HasPrefix(s, "\ufeff"):
			s = s[len("\ufeff"):]
		case strings.HasPrefix(s, "--"):
			i := strings.IndexByte(s, '\n')
			if i < 0 {
				return ""
			}
			s = s[i+1:]
		case strings.HasPrefix(s, "/*") && len(s) > 2:
			i := strings.Index(s[2:], "*/")
			if i < 0 {
				return "" // SQLite lets a comment run to the end
			}
			s = s[2+i+2:]
		default:
			return s
		}
	}
	return s
}

// position is the line and the column, in characters and from 1, of a byte.
func position(s string, offset int) (line, col int) {
	before := s[:offset]
	line = strings.Count(before, "\n") + 1
	return line, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
}
