package rule

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// Error is one problem of a rule file.
type Error struct {
	File         string
	Line, Column int    // from 1, in characters; 0 = the file as a whole
	Problem      string // what is wrong
	Hint         string // how to mend it, "" = nothing to say
	Snippet      string // the lines around it with a caret under the place
}

// Error is FILE:LINE:COLUMN: PROBLEM (HINT), followed by the snippet.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(e.Problem)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	if e.Snippet != "" {
		b.WriteString("\n" + e.Snippet)
	}
	return b.String()
}

// newError points at a byte of the source; a negative offset points nowhere.
func newError(file string, src []byte, offset int, problem, hint string) *Error {
	e := &Error{File: file, Problem: problem, Hint: hint}
	if offset < 0 {
		return e
	}
	offset = min(offset, len(src))
	before := string(src[:offset])
	start := strings.LastIndexByte(before, '\n') + 1
	e.Line = 1 + strings.Count(before, "\n")
	e.Column = 1 + utf8.RuneCountInString(before[start:])
	e.Snippet = snippet(src, e.Line, e.Column)
	return e
}

// snippet shows a place in the form that goccy/go-yaml's own errors have. It is
// made from the source and not from the token, whose text goccy prints wrongly
// for folded and for escaped values.
func snippet(src []byte, line, column int) string {
	const around = 2
	lines := strings.Split(strings.TrimRight(string(src), "\n"), "\n")
	var b strings.Builder
	for n := max(1, line-around); n <= min(len(lines), line+around); n++ {
		mark := ' '
		if n == line {
			mark = '>'
		}
		text, skipped := cut(printable(lines[n-1]), column)
		fmt.Fprintf(&b, "%c %2d | %s\n", mark, n, text)
		if n == line {
			fmt.Fprintf(&b, "       %s^\n", strings.Repeat(" ", column-1-skipped))
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// cut keeps about 120 characters around the column, and says how many it took
// off the front.
func cut(s string, column int) (string, int) {
	const width = 120
	r := []rune(s)
	from := max(0, min(column-width/2, len(r)-width))
	return string(r[from:min(len(r), from+width)]), from
}

// printable replaces what would move the caret or the terminal's cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.TrimSuffix(s, "\r"))
}

// offsetOf is where a token starts, in bytes. goccy's own offset counts
// characters, and from 1 on the first line only; its line and column are right.
func offsetOf(src []byte, t *token.Token) int {
	if t == nil || t.Position == nil {
		return -1
	}
	at := lineStart(src, t.Position.Line)
	for column := 1; column < t.Position.Column && at < len(src) && src[at] != '\n'; column++ {
		_, size := utf8.DecodeRune(src[at:])
		at += size
	}
	return at
}

// lineStart is the offset of the first byte of a line, counted from 1.
func lineStart(src []byte, line int) int {
	at := 0
	for ; line > 1; line-- {
		n := bytes.IndexByte(src[at:], '\n')
		if n < 0 {
			return len(src)
		}
		at += n + 1
	}
	return at
}

// span is where the value of a key stands in the file.
type span struct {
	start int
	style token.Type
}

func spanOf(src []byte, t *token.Token) span {
	s := span{start: offsetOf(src, t), style: t.Type}
	switch t.Type {
	case token.LiteralType, token.FoldedType:
		s.start = lineStart(src, t.Position.Line+1)
	case token.SingleQuoteType, token.DoubleQuoteType:
		s.start++
	}
	return s
}

// locate finds the file's byte for a byte of the value. YAML only adds, takes
// or folds white space, so the n-th other character of the value is the n-th of
// the source, but for escapes: in double quotes the start has to do.
func (s span) locate(src []byte, value string, offset int) int {
	if offset < 0 || s.start >= len(src) || s.style == token.DoubleQuoteType && bytes.IndexByte(src[s.start:], '\\') >= 0 {
		return min(s.start, len(src))
	}
	n := 0
	for _, c := range []byte(value[:min(offset, len(value))]) {
		if !space(c) {
			n++
		}
	}
	at := s.start
	for ; at < len(src); at++ {
		if space(src[at]) {
			continue
		}
		if n == 0 {
			return at
		}
		n--
		if s.style == token.SingleQuoteType && src[at] == '\'' {
			at++ // '' stands for one quote
		}
	}
	return at
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
