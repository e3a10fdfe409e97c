package pipeline

import "strings"

// Secrets in the text of SQL, YAML and XML.

// entryOf looks at NAME: VALUE, as in YAML. Without a blank the value has quotes, or
// it is something else.
func (r *Redactor) entryOf(w word, begin, end, value, colon int) int {
	t := w.text
	q := t[value]
	quoted := q == '"' || q == '\''
	if !quoted && value == colon+1 {
		return colon
	}
	n := natureOf(t[begin:end])
	if n == harmless {
		return colon
	}
	if quoted {
		value++
		to := value + quoteEnd(t[value:], q)
		if to < len(t) || r.cut {
			r.secret(w, value, min(to, len(t)), n)
		}
		return max(colon, min(to, len(t))-1)
	}
	if n != secret || strings.IndexByte("{[|>&*", q) >= 0 { // of things that have names of their own, lines below
		return colon
	}
	to := value + indexAny(t[value:], " \t\r\n;&")
	if begin > 0 {
		to = value + fieldEnd(t, begin, value)
		to -= len(t[value:to]) - len(strings.TrimRight(t[value:to], ",}"))
	}
	r.secret(w, value, to, n)
	return max(colon, to-1)
}

// sql looks at a quote, which may be that of a password: IDENTIFIED BY 'x',
// PASSWORD 'x', PASSWORD('x'), PASSWORD = 'x'.
func (r *Redactor) sql(w word, from, quote int) int {
	t := w.text
	begin := max(from, quote-maxName)
	before := strings.TrimRight(t[begin:quote], " \t\n=(")
	if len(before) == quote-begin || !isPasswordOf(before) || w.code && t[quote-1] == '(' { // of a program: a call
		return quote
	}
	value := quote + 1
	if w.code {
		return max(quote, r.codeValue(w, quote, secret)-1)
	}
	to := value + quoteEnd(t[value:], t[quote])
	if to >= len(t) && !r.cut {
		return quote
	}
	to = min(to, len(t))
	r.secret(w, value, to, secret)
	return max(quote, to-1)
}

// isPasswordOf tells whether s ends with the words of SQL that a password follows.
func isPasswordOf(s string) bool {
	s, last := cutWord(s)
	if strings.EqualFold(last, "password") {
		return true
	}
	if !strings.EqualFold(last, "by") {
		return false
	}
	s, last = cutWord(s)
	if strings.EqualFold(last, "identified") {
		return true
	}
	_, last = cutWord(s) // IDENTIFIED WITH plugin BY
	return strings.EqualFold(last, "with")
}

// cutWord cuts the last word of a text off.
func cutWord(s string) (rest, word string) {
	s = strings.TrimRight(s, " \t\n")
	i := len(s)
	for i > 0 && (isAlnum(s[i-1]) || s[i-1] == '_') {
		i--
	}
	return s[:i], s[i:]
}

// element looks at <NAME>VALUE</NAME>, with the first > at i.
func (r *Redactor) element(w word, from, i int) int {
	t := w.text
	begin := nameBefore(t, from, i)
	if begin == from || t[begin-1] != '<' {
		return i
	}
	n := natureOf(t[begin:i])
	if n == harmless {
		return i
	}
	to := i + 1 + indexAny(t[i+1:], "<")
	if strings.HasPrefix(t[to:], "</") || r.cut && to == len(t) {
		r.secret(w, i+1, to, n)
	}
	return max(i, to-1)
}
