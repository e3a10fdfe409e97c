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
// PASSWORD 'x', PASSWORD('x'), PASSWORD = N'x', SET PASSWORD FOR u = 'x'.
func (r *Redactor) sql(w word, from, quote int) int {
	t := w.text
	before := t[max(from, quote-3*maxName):quote]
	if n := len(before); n > 1 && strings.IndexByte("NnEe", before[n-1]) >= 0 && strings.IndexByte(" \t\n=(", before[n-2]) >= 0 {
		before = before[:n-1] // of MSSQL and PostgreSQL
	}
	named := strings.TrimRight(before, " \t\n=(")
	if len(named) == len(before) || w.code && t[quote-1] == '(' { // of a program: a call
		return quote
	}
	n := natureInSQL(named, strings.Contains(before[len(named):], "="))
	if n == harmless {
		return quote
	}
	value := quote + 1
	if w.code {
		return max(quote, r.codeValue(w, quote, n)-1)
	}
	to := value + quoteEnd(t[value:], t[quote])
	if to >= len(t) && !r.cut {
		return quote
	}
	to = min(to, len(t))
	r.secret(w, value, to, n)
	return max(quote, to-1)
}

// statement looks at a line that may be one of SQL.
func (r *Redactor) statement(w word) {
	for i := 0; i < len(w.text); i++ {
		switch w.text[i] {
		case '\'', '"':
			i = r.sql(w, 0, i)
		case 'b', 'B':
			i = r.unquoted(w, 0, i)
		}
	}
}

// natureInSQL is that of a value in quotes behind the words of SQL that s ends with;
// assigned with an = between.
func natureInSQL(s string, assigned bool) nature {
	before, last := cutWord(s)
	if strings.EqualFold(last, "password") || isIdentified(s) {
		return secret
	}
	if !assigned {
		return harmless
	}
	if _, pragma := cutWord(before); strings.EqualFold(pragma, "pragma") && (strings.EqualFold(last, "key") || strings.EqualFold(last, "rekey")) {
		return secret // of SQLCipher
	}
	if user := strings.LastIndexAny(s, " \t\n"); user >= 0 { // SET PASSWORD FOR u
		rest, word := cutWord(s[:user])
		if _, password := cutWord(rest); strings.EqualFold(word, "for") && strings.EqualFold(password, "password") {
			return secret
		}
	}
	return natureOf(s[nameBefore(s, 0, len(s)):])
}

// isIdentified tells whether s ends with IDENTIFIED BY, IDENTIFIED BY VALUES or
// IDENTIFIED WITH plugin BY, or with AS or USING a hash.
func isIdentified(s string) bool {
	s, by := cutWord(s)
	hash := strings.EqualFold(by, "as") || strings.EqualFold(by, "using")
	if strings.EqualFold(by, "values") {
		s, by = cutWord(s)
	}
	if !hash && !strings.EqualFold(by, "by") {
		return false
	}
	s, last := cutWord(s)
	if !hash && strings.EqualFold(last, "identified") {
		return true
	}
	s, with := cutWord(s)
	if !strings.EqualFold(with, "with") && !strings.EqualFold(with, "via") {
		return false
	}
	_, last = cutWord(s)
	return !hash || strings.EqualFold(last, "identified")
}

// unquoted looks at a B, which may be that of Oracle's ALTER USER u IDENTIFIED BY x.
// What is identified by somebody in a sentence has other words before it.
func (r *Redactor) unquoted(w word, from, b int) int {
	t := w.text
	if inWord(t, from, b) || b+3 >= len(t) || t[b+1]|0x20 != 'y' || strings.IndexByte(" \t\n", t[b+2]) < 0 {
		return b
	}
	s, last := cutWord(t[max(from, b-2*maxName):b])
	if !strings.EqualFold(last, "identified") {
		return b
	}
	s = strings.TrimRight(s, " \t\n")
	name := strings.LastIndexAny(s, " \t\n")
	if name < 0 {
		return b
	}
	s, of := cutWord(s[:name])
	switch _, verb := cutWord(s); strings.ToLower(of) {
	case "user", "role":
		if !strings.EqualFold(verb, "create") && !strings.EqualFold(verb, "alter") && !strings.EqualFold(verb, "set") {
			return b
		}
	case "to", "exists", "keystore":
	default:
		return b
	}
	value := b + 3
	for value < len(t) && strings.IndexByte(" \t\n", t[value]) >= 0 {
		value++
	}
	to := value + indexAny(t[value:], " \t\r\n;,()'\"")
	switch strings.ToLower(t[value:to]) {
	case "values", "password", "random":
		return b
	}
	r.secret(w, value, to, secret)
	return max(b, to-1)
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
