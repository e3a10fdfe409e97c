package pipeline

import (
	"strings"
	"unsafe"
)

// A command line as a text is taken apart as sh does (POSIX.1-2017, XCU 2.2, 2.3),
// as far as it matters for which bytes are one word: quotes, backslashes,
// separators. What is substituted stays as it is written.

// script looks at the commands in text[from:] of w. cmd is one that it goes
// on with; nil = its first word names one.
func (r *Redactor) script(w word, from int, cmd *command) {
	level := w.level + 1
	if level >= maxDepth {
		r.text(w, from)
		return
	}
	r.outer[level] = w
	first := &r.cmds[level]
	*first = command{start: true}
	if cmd != nil {
		*first = *cmd
		first.joined = false // its words are taken here
	}
	t := w.text
	for i := from; i < len(t); {
		switch t[i] {
		case ' ', '\t', '\r', '<', '>':
			i++
		case '\n', ';', '&', '|', '(', ')', '`':
			*first = command{start: true}
			i++
		default:
			if strings.HasPrefix(t[i:], "$(") {
				i++
				continue
			}
			var inner word
			inner, i = r.next(t, i, level)
			r.step(first, inner)
		}
	}
	if cmd != nil {
		*cmd = *first
		cmd.joined = true
	}
}

// next takes the word at t[i:], which has at least a byte.
func (r *Redactor) next(t string, i, level int) (w word, end int) {
	for end = i; end < len(t); end++ {
		switch t[end] {
		case ' ', '\t', '\r', '<', '>', '\n', ';', '&', '|', '(', ')', '`':
			return word{text: t[i:end], level: level, off: i}, end
		case '$':
			if end > i && strings.HasPrefix(t[end:], "$(") {
				return word{text: t[i:end], level: level, off: i}, end
			}
		case '\'', '"', '\\':
			return r.quoted(t, i, level)
		}
	}
	return word{text: t[i:], level: level, off: i}, len(t)
}

// quoted takes a word apart in which there are quotes or backslashes. Its text is
// valid until the next one of the level.
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
		case quote == 0 && c == '$' && strings.HasPrefix(t[i+1:], "("), quote == 0 && strings.IndexByte(" \t\r<>\n;&|()`", c) >= 0:
			r.bufs[level], r.marks[level] = text, marks
			return r.decoded(level), i
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
