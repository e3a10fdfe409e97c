package pipeline

import "strings"

// In the text of a program a name is followed by its value as everywhere, but what
// comes then is executed, and rules must see it.

// codeValue replaces the value of a variable, a key or an argument at text[from:]
// of a program, and returns where it ends. It stays where it is none of its own:
// what a function returns, a field.
func (r *Redactor) codeValue(w word, from int, n nature) int {
	t := w.text
	for from < len(t) && (t[from] == ' ' || t[from] == '>') { // of =>
		from++
	}
	if i := strings.IndexAny(t[from:min(len(t), from+3)], "\"'"); i > 0 && isWord(t[from:from+i]) { // b"x"
		from += i
	}
	if from == len(t) {
		return from
	}
	if q := t[from]; q == '"' || q == '\'' {
		from++
		end := from
		for end < len(t) && t[end] != q && t[end] != '\n' {
			if t[end] == '\\' {
				end++
			}
			end++
		}
		if end = min(end, len(t)); end < len(t) && t[end] == q || r.cut && end == len(t) {
			r.secret(w, from, end, n)
		}
		return end
	}
	to := from + indexAny(t[from:], " \t\r\n\f\v;&|,\"'`()[]{}<>\\")
	if to == len(t) || strings.IndexByte("([", t[to]) < 0 && !isField(t[from:to]) {
		r.secret(w, from, to, n)
	}
	return to
}

// isField tells a name of a program that stands for something, such as os.system,
// from a word.
func isField(s string) bool {
	dot := strings.IndexByte(s, '.')
	if dot < 1 || isDigit(s[0]) {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && s[i] != '_' && s[i] != '.' {
			return false
		}
	}
	return true
}

// isCall tells whether something is called in a piece of a program.
func isCall(v string) bool {
	open := strings.IndexByte(v, '(')
	return open >= 0 && strings.IndexByte(v[open:], ')') > 0
}

// isVariable tells whether the shell puts something else there: $NAME, ${NAME}.
func isVariable(v string) bool {
	name, ok := strings.CutPrefix(v, "$")
	if !ok {
		return false
	}
	if braced, ok := strings.CutPrefix(name, "{"); ok {
		if name, ok = strings.CutSuffix(braced, "}"); !ok {
			return false
		}
	}
	for i := range len(name) {
		if !isAlnum(name[i]) && name[i] != '_' {
			return len(name) == 1
		}
	}
	return name == "" || !isDigit(name[0]) || len(name) == 1
}

// substitutes tells whether the output of a command is put into text[from:to]:
// it is what is executed, and the secret is not there.
func (w word) substitutes(from, to int) bool {
	for i := from; i < to; i++ {
		if c := w.text[i]; c != '`' && (c != '$' || i+1 == to || w.text[i+1] != '(') {
			continue
		}
		if w.marks == nil || !w.marks[i].literal {
			return true
		}
	}
	return false
}
