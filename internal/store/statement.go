package store

import (
	"fmt"
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
