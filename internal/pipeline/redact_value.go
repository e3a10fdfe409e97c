package pipeline

import "strings"

// bearer is what authType notes, apart from the bits of behind.
const bearer = 1 << 7

// value replaces the secret in text[from:], which has that kind.
func (r *Redactor) value(c *command, k kind, w word, from int, n nature) {
	t := w.text[from:]
	begin, end := -1, len(w.text)
	cut := func(sep string) {
		if i := strings.Index(t, sep); i >= 0 {
			begin = from + i + len(sep)
		}
	}
	switch k {
	case whole:
		begin = from
	case sealable:
		before := len(r.edits)
		if r.secret(w, from, end, n); !c.sealed {
			c.held = append(c.held, r.edits[before:]...)
			r.edits = r.edits[:before]
		}
	case twice:
		begin, c.next = from, whole
	case target:
		if i := strings.LastIndexByte(t, '@'); i >= 0 {
			if cut(":"); begin < from+i {
				end = from + i
			} else {
				begin = -1
			}
		}
	case afterColon:
		if cut(":"); begin < 0 && c.noted == bearer {
			begin = from
		}
	case afterComma:
		cut(",")
	case afterPercent:
		cut("%")
	case afterEqual:
		if cut("="); begin >= 0 && begin < end && w.text[begin] == '@' { // a file
			begin = -1
		}
	case afterPass:
		for _, s := range [...]string{"pass:", "hexpass:", "secret:", "hexsecret:", "key:", "hexkey:"} {
			if strings.HasPrefix(t, s) {
				begin = from + len(s)
			}
		}
	case afterLast:
		if i := strings.LastIndexByte(t, ':'); i >= 0 {
			begin = from + i + 1
		}
	case afterSlash:
		if !strings.HasPrefix(t, "/") {
			cut("/")
		}
		if i := strings.LastIndexByte(t, '@'); i >= 0 {
			end = from + i
		}
	case userinfo:
		// What is behind the host is a path. A password with a slash is none: it
		// would have to be encoded.
		if i := strings.LastIndexByte(t[:indexAny(t, "/?#")], '@'); i >= 0 {
			if cut(":"); begin < from+i {
				end = from + i
			} else {
				begin = -1
			}
		}
	case header:
		name, text, _ := strings.Cut(t, ":")
		if n = natureOf(name); n != harmless && isFlagName(name) && !isHeader(name, strings.HasPrefix(text, " ")) {
			begin = min(from+len(name)+1, end)
			begin += len(w.text[begin:]) - len(strings.TrimLeft(w.text[begin:], " "))
		}
	case credentials:
		if !isScheme(t) && !isPlace(t) {
			begin = from
			if isLetters(t) { // a scheme that is not known
				c.pending, c.nature, c.option = unlessPlace, secret, true
			}
		}
	case unlessPlace:
		if !isPlace(t) {
			begin = from
		}
	case sigil:
		begin = from + 1
	case cookies:
		if strings.IndexByte(t, '=') > 0 {
			begin = from
		}
	}
	if begin >= 0 && begin <= end {
		if (k == afterColon || k == userinfo) && begin > from {
			r.userAndPassword(w, from, begin-1, end, true)
		} else {
			r.secret(w, begin, end, n)
		}
		return
	}
	r.noSecret(c, k, w, from)
}

// noSecret takes a value of a kind that is none, and says what follows.
func (r *Redactor) noSecret(c *command, k kind, w word, from int) {
	t := w.text[from:]
	switch k {
	case commandText:
		r.script(w, from, nil)
		return
	case commandWord:
		*c = command{start: true}
		r.begin(c, w)
		return
	case credentials:
		if isScheme(t) {
			c.pending, c.nature, c.option = whole, secret, true
		}
	case userinfo: // curl takes a URL without its scheme, too
		r.webhook(w, from, from+indexAny(t, "/"))
	case code:
		w.code = true
	case module:
		c.enter(r.lookup(t))
	case named:
		if c.next = other; natureOf(t) != harmless {
			c.next = whole
		}
	case entry:
		c.entry = r.lookup(t)
	case owner:
		c.next = twice
	case asUser:
		c.skip = 0
	case authType:
		if strings.EqualFold(t, "bearer") {
			c.noted = bearer
		}
	}
	r.text(w, from)
}
