package pipeline

import "strings"

// word is a word of a command line. It is a piece of the text of its level: level
// 0 is the arguments themselves, each further one the text of a word that is a
// command line in turn.
type word struct {
	text  string
	level int
	off   int    // of text in the text of the level, where marks is nil
	marks []mark // of each byte of text, where quotes or backslashes were taken away
	code  bool   // text of a program: a secret in it ends early, so that what is executed stays
}

// mark is where a decoded byte comes from, and within which pair of quotes.
type mark struct {
	from, to int32
	quote    int32 // 0 = none, else the place of the opening one plus 1
	literal  bool  // what begins with $ here is no variable
}

// remove makes text[from:to] of w vanish behind a marker, or without one.
func (r *Redactor) remove(w word, from, to int, gone bool) {
	if from >= to {
		return
	}
	if w.marks == nil {
		r.removeOuter(w.level, w.off+from, w.off+to, gone)
		return
	}
	for from < to { // one edit within each pair of quotes, so that they stay pairs
		end := from + 1
		for end < to && w.marks[end].quote == w.marks[from].quote {
			end++
		}
		r.removeOuter(w.level, int(w.marks[from].from), int(w.marks[end-1].to), gone)
		from, gone = end, true
	}
}

func (r *Redactor) removeOuter(level, from, to int, gone bool) {
	if level == 0 {
		r.edits = append(r.edits, edit{from, to, gone})
		return
	}
	r.remove(r.outer[level], from, to, gone)
}

// secret replaces text[from:to], which is the value of something of nature n,
// unless nobody would hide it.
func (r *Redactor) secret(w word, from, to int, n nature) {
	from, to = min(from, len(w.text)), min(to, len(w.text))
	v := w.text[from:to]
	switch {
	case isPlain(v, n):
		return
	case w.level > 0 && isVariable(v) && (w.marks == nil || !w.marks[from].literal):
		return
	case (w.level > 0 || w.code) && w.substitutes(from, to):
		return
	case w.code && isCall(v):
		return
	}
	r.remove(w, from, to, false)
}

// text replaces what is a secret in any program's arguments: in NAME=VALUE,
// "NAME": "VALUE", headers of HTTP, URLs, and tokens that show what they are.
// What is before from is not looked at.
func (r *Redactor) text(w word, from int) {
	t := w.text
	jwt := from // from where one may begin
	for i := from; i < len(t); i++ {
		switch t[i] {
		case '=':
			i = r.pair(w, from, i)
		case ':':
			if strings.HasPrefix(t[i+1:], "//") {
				i = r.url(w, from, i+3)
			} else if i > from {
				i = r.colon(w, from, i)
			}
		case '\'', '"':
			i = r.sql(w, from, i)
		case 'b', 'B':
			i = r.unquoted(w, from, i)
		case '>':
			i = r.element(w, from, i)
		case '-':
			if strings.HasPrefix(t[i:], pemBegin) {
				i = r.pem(w, i)
			}
		case 'e':
			if i < jwt || !strings.HasPrefix(t[i:], "eyJ") || inWord(t, from, i) {
				continue
			}
			seen, ok := r.jwt(t[i:])
			if jwt = i + seen; ok {
				r.remove(w, i, jwt, false)
				i = jwt - 1
			}
		case 'g', 'x', 's', 'r', 'A', 'h', 'n', 'p', 'd', 'S', 'y', 't', 'w':
			if inWord(t, from, i) {
				continue
			}
			if end := r.token(t[i:]); end > 0 {
				r.remove(w, i, i+end, false)
				i += end - 1
			}
		}
	}
}

func inWord(t string, from, i int) bool { return i > from && (isAlnum(t[i-1]) || t[i-1] == '_') }

func isNameByte(c byte) bool { return isAlnum(c) || c == '_' || c == '-' || c == '.' }

// nameBefore is where the name that ends at i begins.
func nameBefore(t string, from, i int) int {
	at := i
	for at > from && i-at < maxName && isNameByte(t[at-1]) {
		at--
	}
	return at
}

// namesNext tells whether s begins with another name and its =.
func namesNext(s string) bool {
	for i := range min(len(s), maxName) {
		if s[i] == '=' {
			return i > 0
		}
		if !isNameByte(s[i]) && (s[i] != ' ' || i == 0) {
			return false
		}
	}
	return false
}

// pair looks at NAME=VALUE, with the = at eq, and returns up to where it has
// looked.
func (r *Redactor) pair(w word, from, eq int) int {
	t := w.text
	end := eq
	for w.code && end > from && t[end-1] == ' ' {
		end--
	}
	begin := nameBefore(t, from, end)
	name := strings.TrimLeft(t[begin:end], "-.")
	if name == "" {
		return eq
	}
	query := begin > from && (t[begin-1] == '?' || t[begin-1] == '&')
	if begin == from && !w.code && isCommandName(name) {
		r.script(w, eq+1, nil)
		return len(t)
	}
	n := natureOf(name)
	if n == harmless && len(name) > 2 && begin+1 < end && t[begin] == '-' && (name[0] == 'D' || name[0] == 'P') { // java -Dapi.key=x, gradle -Papi.key=x
		n = natureOf(name[1:])
	}
	if n == harmless && r.matchEnv(name) || query && isSignature(name) {
		n = secret
	}
	if n == harmless {
		return eq
	}
	value := eq + 1
	if value < len(t) && t[value] == '=' { // a comparison
		return value
	}
	if w.code {
		to := r.codeValue(w, value, n)
		return max(eq, to-1)
	}
	quote := value
	if value+1 < len(t) && t[value+1] == '\'' && (t[value] == 'N' || t[value] == 'E') { // of SQL
		quote++
	}
	if (w.level == 0 || begin > from) && quote < len(t) && (t[quote] == '"' || t[quote] == '\'') {
		to := quote + 1 + quoteEnd(t[quote+1:], t[quote])
		if to+1 >= len(t) || strings.IndexByte("&;, \n", t[to+1]) >= 0 {
			r.secret(w, quote+1, to, n)
			return max(eq, to-1)
		}
	}
	end = len(t)
	switch atStart := begin == from || t[begin-1] == '/' || t[begin-1] == ':' || t[begin-1] == '='; {
	case query:
		end = value + indexAny(t[value:], "&#;\"'` \t\r\n<>")
	case !atStart:
		end = value + fieldEnd(t, begin, value)
	case hasLower(t[begin:eq]) && t[begin] != '-':
		end = value + listEnd(t[value:])
	}
	r.secret(w, value, end, n)
	return max(eq, end-1)
}

func hasLower(s string) bool {
	for i := range len(s) {
		if isLower(s[i]) {
			return true
		}
	}
	return false
}

// indexAny is strings.IndexAny, and the end where none is.
func indexAny(s, chars string) int {
	if i := strings.IndexAny(s, chars); i >= 0 {
		return i
	}
	return len(s)
}

// quoteEnd is where the text within quotes ends.
func quoteEnd(s string, quote byte) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case quote:
			return i
		}
	}
	return len(s)
}

// listEnd is where the first value of a list ends, as in password=x,vers=3 or
// user=x&password=y: before a separator that another name follows, or nothing.
func listEnd(s string) int {
	for i := range len(s) {
		switch s[i] {
		case '&', ';', ',', ' ', '\n':
			if s[i] != ',' && i+1 == len(s) || namesNext(s[i+1:]) {
				return i
			}
		}
	}
	return len(s)
}

// fieldEnd is where a value within a text ends, given where its name begins.
func fieldEnd(t string, begin, value int) int {
	before, s := t[begin-1], t[value:]
	for i := range len(s) {
		switch c := s[i]; c {
		case ' ', '\t', '\r', '\n', ';', '&':
			return i
		case ',':
			if before == ',' || namesNext(s[i+1:]) {
				return i
			}
		case '"', '\'', '`':
			if c == before {
				return i
			}
		}
	}
	return len(s)
}

// schemes of authentication stay: Bearer [redacted].
var schemes = [...]string{"bearer ", "basic ", "token ", "digest ", "negotiate ", "apikey ", "ntlm ", "aws4-hmac-sha256 "}

func isScheme(t string) bool {
	for _, s := range schemes {
		if strings.EqualFold(t, s[:len(s)-1]) {
			return true
		}
	}
	return false
}

// isLetters reports whether t is of letters alone.
func isLetters(t string) bool {
	for i := range len(t) {
		if !isLower(t[i] | 0x20) {
			return false
		}
	}
	return t != ""
}

// isHeaderAlone tells whether a word without its last colon is such a header: one of a
// command line whose quotes are missing, -H Authorization: Bearer SECRET.
func isHeaderAlone(t string) bool {
	begin := nameBefore(t, 0, len(t))
	name := strings.TrimPrefix(t[begin:], "-H")
	return (begin == 0 || strings.IndexByte("=\"'", t[begin-1]) >= 0) && isHeader(name, true)
}

// isPlace tells what a program is told to talk to from a secret: curl -H
// Authorization: URL leaves the header out.
func isPlace(t string) bool {
	host := t[:indexAny(t, "/:?#")]
	top := host[strings.LastIndexByte(host, '.')+1:]
	for i := range len(top) {
		if !isLower(top[i]) {
			return strings.Contains(t, "://") || strings.Count(host, ".") == 3 && isPort(top)
		}
	}
	return host == "localhost" || strings.Contains(t, "://") || len(top) < len(host) && 2 <= len(top) && len(top) <= 6
}

// colon looks at the : at i, which may be that of a header or within JSON.
func (r *Redactor) colon(w word, from, i int) int {
	t := w.text
	value := i + 1
	for value < len(t) && (t[value] == ' ' || t[value] == '\t') {
		value++
	}
	if value == len(t) {
		return i
	}
	end := i
	for end > from && t[end-1] == ' ' {
		end--
	}
	if end > from && (t[end-1] == '"' || t[end-1] == '\'') {
		return r.field(w, from, end-1, value, i)
	}
	begin := nameBefore(t, from, end)
	name := t[begin:end]
	if q := t[value]; w.code && (q == '"' || q == '\'') && natureOf(name) != harmless { // {password: "x"}
		return max(i, r.codeValue(w, value, natureOf(name))-1)
	}
	if begin > from && isNameByte(t[begin-1]) {
		return i
	}
	if !isHeader(name, value > i+1) {
		return r.entryOf(w, begin, end, value, i)
	}
	if w.code && (begin == from || t[begin-1] != '"' && t[begin-1] != '\'') { // a label, a type
		return max(i, r.codeValue(w, value, secret)-1)
	}
	to := value + indexAny(t[value:], "\r\n")
	if begin > from && (t[begin-1] == '"' || t[begin-1] == '\'') {
		to = value + quoteEnd(t[value:to], t[begin-1])
	}
	if q := t[value]; value < to && (q == '"' || q == '\'') {
		value++
		to = value + quoteEnd(t[value:to], q)
	}
	var buf [maxName]byte
	for _, s := range schemes {
		if to-value > len(s) {
			if folded, _ := lower(&buf, t[value:value+len(s)]); string(folded) == s {
				value += len(s)
				break
			}
		}
	}
	r.secret(w, value, to, secret)
	return max(i, to-1)
}

// field looks at "NAME": "VALUE"; the name's closing quote is at quote.
func (r *Redactor) field(w word, from, quote, value, colon int) int {
	t := w.text
	q := t[quote]
	end := quote
	if end > from && t[end-1] == '\\' { // JSON in JSON
		end--
	}
	begin := nameBefore(t, from, end)
	if begin == end || begin == from || t[begin-1] != q {
		return colon
	}
	n := natureOf(t[begin:end])
	if n == harmless && r.matchEnv(t[begin:end]) {
		n = secret
	}
	if n == harmless {
		return colon
	}
	if w.code && t[value] != '\\' {
		return max(colon, r.codeValue(w, value, n)-1)
	}
	if t[value] == '\\' && value+1 < len(t) {
		value++
	}
	var to int
	if t[value] == '"' || t[value] == '\'' {
		value++
		if end < quote { // the backslash of the closing quote hides it
			to = value + indexAny(t[value:], "\\")
		} else {
			to = value + quoteEnd(t[value:], t[value-1])
		}
	} else { // a number, or a word of YAML
		to = value + indexAny(t[value:], ",}] \t\r\n")
		if t[value] == '{' || t[value] == '[' && !strings.HasPrefix(t[value:], marker) {
			return colon // of things that have names of their own
		}
		if strings.HasPrefix(t[value:], marker) {
			to = value + len(marker)
		}
	}
	r.secret(w, value, to, n)
	return max(colon, to-1)
}

// isHeader tells whether an HTTP header of that name carries a secret. Without a
// blank behind its colon it may as well be an image of a registry and its tag.
func isHeader(name string, blank bool) bool {
	var buf [maxName]byte
	folded, ok := lower(&buf, name)
	if !ok || len(name) < 5 {
		return false
	}
	switch string(folded) {
	case "authorization", "proxy-authorization", "cookie", "set-cookie":
		return true
	}
	if !blank && string(folded[:2]) != "x-" {
		return false
	}
	return strings.IndexByte(name, '-') > 0 && natureOf(name) != harmless
}
