package pipeline

import "strings"

// looseURL is how far a password is followed that is not encoded as it should
// be.
const looseURL = 1024

// url looks at what follows ://, which ends before at, and returns up to where it
// has looked.
func (r *Redactor) url(w word, from, at int) int {
	t := w.text
	end := at + indexAny(t[at:], "/?# \t\r\n\"'`<>\\")
	host := strings.LastIndexByte(t[at:end], '@')
	colon := strings.IndexByte(t[at:end], ':')
	if !w.code && host < 0 && colon >= 0 && !isPort(t[at+colon+1:end]) {
		// A password with a slash that is not encoded, or an end that was cut off.
		loose := t[at:min(len(t), at+looseURL)]
		loose = loose[:indexAny(loose, " \t\r\n\"'`<>")]
		if host = strings.LastIndexByte(loose, '@'); host < 0 && r.cut && at+len(loose) == len(t) && end == len(t) {
			r.secret(w, at+colon+1, len(t), secret)
			return len(t)
		}
	}
	if host < 0 {
		return r.webhook(w, at, end)
	}
	if colon < 0 || colon > host {
		colon = host
	}
	scheme := nameBefore(t, from, at-3)
	r.userAndPassword(w, at, at+colon, at+host, strings.HasPrefix(t[scheme:], "http"))
	return at + host
}

// webhooks are URLs that are a secret: who knows one may write. What names the
// place stays, and so does what follows.
var webhooks = [...]struct {
	host, path string // of a host and those below it
	names      int    // of the place, behind path
	end        byte   // of each
}{
	{"hooks.slack.com", "/services/", 2, '/'}, {"hooks.slack.com", "/triggers/", 2, '/'}, {"hooks.slack.com", "/workflows/", 3, '/'},
	{"discord.com", "/api/webhooks/", 1, '/'}, {"discord.com", "/api/v10/webhooks/", 1, '/'}, {"discord.com", "/api/v9/webhooks/", 1, '/'},
	{"discordapp.com", "/api/webhooks/", 1, '/'}, {"webhook.office.com", "/webhookb2/", 2, '/'}, {"hooks.zapier.com", "/hooks/catch/", 1, '/'},
	{"api.telegram.org", "/bot", 1, ':'}, {"api.telegram.org", "/file/bot", 1, ':'},
}

// pathEnds end a word of the path of a URL.
const pathEnds = "/:?# \t\r\n\"'`<>;&|()\\"

// webhook looks at a URL with the host text[at:end], and returns up to where it has
// looked.
func (r *Redactor) webhook(w word, at, end int) int {
	host := w.text[at:end]
	for _, h := range webhooks {
		path, ok := strings.CutPrefix(w.text[end:], h.path)
		if below, is := strings.CutSuffix(host, h.host); !ok || !is || below != "" && below[len(below)-1] != '.' {
			continue
		}
		from := len(w.text) - len(path)
		to := from + indexAny(path, pathEnds)
		for range h.names {
			if to == len(w.text) || w.text[to] != h.end {
				return at - 1
			}
			from = to + 1
			to = from + indexAny(w.text[from:], pathEnds)
		}
		r.secret(w, from, to, secret)
		return to - 1
	}
	return at - 1
}

// userAndPassword looks at USER:PASSWORD in text[from:to]. The user of a service on
// the web may be the token.
func (r *Redactor) userAndPassword(w word, from, colon, to int, web bool) {
	t := w.text
	if colon < to && t[colon+1:to] != "x-oauth-basic" { // GitHub: the token is the user
		r.secret(w, colon+1, to, secret)
	}
	if user := t[from:colon]; web && (r.token(user) > 0 || isRandom(user)) {
		r.secret(w, from, colon, secret)
	}
}

func isPort(s string) bool {
	if len(s) > 5 {
		return false
	}
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

// isRandom tells a token from the name of a user: long, and digits among letters.
func isRandom(s string) bool {
	if len(s) < 20 {
		return false
	}
	digits, letters := false, false
	for i := range len(s) {
		switch c := s[i]; {
		case isDigit(c):
			digits = true
		case isAlnum(c):
			letters = true
		case c != '_' && c != '-':
			return false
		}
	}
	return digits && letters
}

// isSignature tells whether a parameter of a URL is what makes it a key.
func isSignature(name string) bool {
	var buf [maxName]byte
	folded, _ := lower(&buf, name)
	switch string(folded) {
	case "sig", "signature", "x-amz-signature", "x-goog-signature", "x-amz-security-token":
		return true
	}
	return false
}
