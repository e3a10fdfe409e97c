package pipeline

import (
	"strings"
	"unsafe"
)

// A command line as a text is taken apart as sh does (POSIX.1-2017, XCU 2.2 to 2.7),
// as far as it matters for which bytes are one word: quotes, backslashes,
// separators, comments, redirections. The commands of a substitution are read as
// others are; what is substituted stays as it is written.

// blanks end a word, and so do operators outside of quotes.
const (
	blanks    = " \t\r"
	operators = "<>\n;&|()"
)

// script looks at the commands in text[from:] of w. cmd is one that it goes
// on with; nil = its first word names one.
func (r *Redactor) script(w word, from int, cmd *command) {
	level := w.level + 1
	if level >= maxDepth {
		w.code = true
		r.text(w, from)
		return
	}
	r.outer[level], r.deepest = w, max(r.deepest, level)
	first := &r.cmds[level]
	*first = command{start: true}
	if cmd != nil {
		*first = *cmd
		first.joined = false // its words are taken here
	}
	t := w.text
	here := "" // ends the here-document that begins with the next line
	for i := from; i < len(t); {
		switch c := t[i]; {
		case strings.IndexByte(blanks, c) >= 0:
			i++
		case c == '<' || c == '>' || c == '&' && i+1 < len(t) && t[i+1] == '>':
			i = r.redirection(t, i, level, &here)
		case c == '\n' && here != "":
			i = r.hereDocument(t, i, level, here)
			*first, here = command{start: true}, ""
		case strings.IndexByte(operators, c) >= 0:
			*first = command{start: true}
			i++
		case c == '#':
			end := i + indexAny(t[i:], "\n")
			r.text(word{text: t[i:end], level: level, off: i, code: true}, 0)
			i = end
		default:
			var inner word
			inner, i = r.next(t, i, level)
			if i < len(t) && (t[i] == '<' || t[i] == '>') && inner.marks == nil && isPort(inner.text) {
				continue // the number of a file: 2>/dev/null
			}
			r.step(first, inner)
		}
	}
	if cmd != nil {
		*cmd = *first
		cmd.joined = true
	}
}

// redirection takes the operator at t[i:] and the word behind it, and returns where
// that ends. here becomes the word when a here-document begins.
func (r *Redactor) redirection(t string, i, level int, here *string) int {
	from := i
	for i < len(t) && (strings.IndexByte("<>&|", t[i]) >= 0 || t[i] == '-' && t[i-1] == '<') {
		i++
	}
	operator := t[from:i]
	if i < len(t) && t[i] == '(' { // <(command)
		return r.substitution(t, i+1, level)
	}
	for i < len(t) && strings.IndexByte(blanks, t[i]) >= 0 {
		i++
	}
	if i == len(t) || strings.IndexByte(operators, t[i]) >= 0 {
		return i
	}
	w, end := r.next(t, i, level)
	if operator == "<<" || operator == "<<-" {
		*here = strings.Clone(w.text)
	} else {
		r.text(w, 0)
	}
	return end
}

// hereDocument looks at the lines behind the line break at t[i], up to one that is
// end, and returns where that ends. Each is read as one of commands, which it is
// for sh and ssh, and so that a quote in a sentence goes no further, and as one of
// SQL.
func (r *Redactor) hereDocument(t string, i, level int, end string) int {
	for i < len(t) {
		i++
		line := t[i : i+indexAny(t[i:], "\n")]
		if strings.Trim(line, "\t\r") == end {
			return i + len(line)
		}
		w := word{text: line, level: level, off: i}
		r.script(w, 0, nil)
		r.statement(w)
		i += len(line)
	}
	return i
}

// substitution looks at the commands that begin at t[i:], behind $( or <(, and
// returns where they end, behind the bracket.
func (r *Redactor) substitution(t string, i, level int) int {
	end, closed := r.closing(t, i)
	return r.commands(t, i, end, closed, level)
}

// backquoted is substitution behind a backquote.
func (r *Redactor) backquoted(t string, i, level int) int {
	end := i + quoteEnd(t[i:], '`')
	return r.commands(t, i, min(end, len(t)), end < len(t), level)
}

func (r *Redactor) commands(t string, i, end int, closed bool, level int) int {
	r.script(word{text: t[i:end], level: level, off: i}, 0, nil)
	if closed {
		end++
	}
	return end
}

// closing finds the bracket that ends what begins at t[i:].
func (r *Redactor) closing(t string, i int) (end int, ok bool) {
	open := append(r.open[:0], '(') // of ( and ", what is open
	defer func() { r.open = open }()
	for ; i < len(t); i++ {
		top := open[len(open)-1]
		switch c := t[i]; {
		case c == '\\':
			i++
		case c == '"' && top == '"', c == ')' && top == '(':
			if open = open[:len(open)-1]; len(open) == 0 {
				return i, true
			}
		case c == '"', c == '(' && (top == '(' || t[i-1] == '$'):
			open = append(open, c)
		case c == '\'' && top == '(':
			i += 1 + indexAny(t[i+1:], "'")
		case c == '`':
			i += 1 + quoteEnd(t[i+1:], '`')
		case c == '#' && top == '(' && strings.IndexByte(blanks+operators, t[i-1]) >= 0:
			i += indexAny(t[i:], "\n")
		}
	}
	return len(t), false
}

// next takes the word at t[i:], which has at least a byte.
func (r *Redactor) next(t string, i, level int) (w word, end int) {
	for end = i; end < len(t); end++ {
		switch t[end] {
		case ' ', '\t', '\r', '<', '>', '\n', ';', '&', '|', '(', ')':
			return word{text: t[i:end], level: level, off: i}, end
		case '$':
			if strings.HasPrefix(t[end:], "$(") {
				return r.quoted(t, i, level)
			}
		case '\'', '"', '\\', '`':
			return r.quoted(t, i, level)
		}
	}
	return word{text: t[i:], level: level, off: i}, len(t)
}

// quoted takes a word apart in which there are quotes, backslashes or
// substitutions, of which it keeps the brackets. Its text is valid until the next
// one of the level.
func (r *Redactor) quoted(t string, i, level int) (word, int) {
	text, marks := r.bufs[level][:0], r.marks[level][:0]
	put := func(from, to, quote int, c byte, literal bool) {
		text = append(text, c)
		marks = append(marks, mark{int32(from), int32(to), int32(quote), literal})
	}
	quote, opened, ansi := byte(0), 0, false
	for ; i < len(t); i++ {
		c := t[i]
		switch {
		case quote == 0 && (c == '\'' || c == '"'):
			quote, opened, ansi = c, i+1, false
		case quote == 0 && c == '$' && strings.HasPrefix(t[i+1:], "'"): // bash: $'a\'b'
			i++
			quote, opened, ansi = '\'', i+1, true
		case quote == 0 && strings.IndexByte(blanks+operators, c) >= 0:
			r.bufs[level], r.marks[level] = text, marks
			return r.decoded(level), i
		case quote != '\'' && c == '$' && strings.HasPrefix(t[i+1:], "("):
			put(i, i+1, opened, '$', false)
			put(i+1, i+2, opened, '(', false)
			i = r.substitution(t, i+2, level) - 1
			put(i, i+1, opened, ')', false)
		case quote != '\'' && c == '`':
			put(i, i+1, opened, '`', false)
			i = r.backquoted(t, i+1, level) - 1
			put(i, i+1, opened, '`', false)
		case quote != 0 && c == quote:
			quote, opened = 0, 0
		case c == '\\' && i+1 < len(t) && (quote == 0 || ansi || quote == '"' && strings.IndexByte("\"\\$`\n", t[i+1]) >= 0):
			put(i, i+2, opened, t[i+1], true)
			i++
		default:
			put(i, i+1, opened, c, quote == '\'')
		}
	}
	r.bufs[level], r.marks[level] = text, marks
	return r.decoded(level), len(t)
}

func (r *Redactor) decoded(level int) word {
	b := r.bufs[level]
	return word{text: unsafe.String(unsafe.SliceData(b), len(b)), level: level, marks: r.marks[level]}
}
