package pipeline

import "strings"

// shape is a token that its issuer made recognisable, so that it is found where
// it should not be. The id of an AWS key (AKIA...) is not one: it is a name, and
// tells an analyst whose key was used.
type shape struct {
	begin string
	least int // bytes behind begin
	dots  bool
}

// shapes are by their first byte.
var shapes = [256][]shape{
	'g': {{"ghp_", 36, false}, {"gho_", 36, false}, {"ghu_", 36, false}, {"ghs_", 36, false}, {"ghr_", 36, false}, {"github_pat_", 40, false}, {"glpat-", 20, true}, {"glrt-", 20, true}, {"gldt-", 20, true}},
	'x': {{"xoxb-", 20, false}, {"xoxa-", 20, false}, {"xoxp-", 20, false}, {"xoxr-", 20, false}, {"xoxs-", 20, false}, {"xapp-", 20, false}},
	's': {{"sk_live_", 16, false}, {"sk-ant-", 20, false}, {"sk-proj-", 20, false}, {"shpat_", 32, false}, {"sk_test_", 16, false}, {"sk-", 32, false}},
	'r': {{"rk_live_", 16, false}},
	'A': {{"AIza", 35, false}, {"AGE-SECRET-KEY-1", 40, false}},
	'h': {{"hvs.", 24, false}, {"hvb.", 24, false}, {"hf_", 30, false}},
	't': {{"tskey-", 16, false}},
	'w': {{"whsec_", 24, false}},
	'n': {{"npm_", 36, false}},
	'p': {{"pypi-AgE", 40, false}},
	'd': {{"dop_v1_", 64, false}, {"dckr_pat_", 20, false}},
	'S': {{"SG.", 40, true}},
	'y': {{"ya29.", 20, true}},
}

// token is the length of the token that t begins with, 0 when it is none. Where
// t was cut off any length will do.
func (r *Redactor) token(t string) int {
	if t == "" {
		return 0
	}
	if t[0] == 'e' && strings.HasPrefix(t, "eyJ") {
		if end, ok := r.jwt(t); ok {
			return end
		}
		return 0
	}
	for _, s := range shapes[t[0]] {
		if t[min(1, len(t)-1)] != s.begin[1] || !strings.HasPrefix(t, s.begin) {
			continue
		}
		end, limit := len(s.begin), len(t)
		if s.begin == "sk-" { // may be none, and is not looked for without end
			limit = min(limit, 256)
		}
		for end < limit && (isAlnum(t[end]) || t[end] == '_' || t[end] == '-' || s.dots && t[end] == '.') {
			end++
		}
		if s.begin == "sk-" && !isRandom(t[:end]) { // sk-learn-...
			continue
		}
		if end-len(s.begin) >= s.least || r.cut && end == len(t) && end > len(s.begin) {
			return end
		}
	}
	return 0
}

// jwt: RFC 7519, a header and claims that are JSON objects in base64url, and a
// signature. Where it is none, none begins in what was seen either.
func (r *Redactor) jwt(t string) (seen int, ok bool) {
	end, dots := 3, 0
	for ; end < len(t); end++ {
		if t[end] == '.' {
			dots++
			if dots == 1 && (end < 12 || !strings.HasPrefix(t[end+1:], "eyJ")) {
				dots--
				break
			}
		} else if !isAlnum(t[end]) && t[end] != '_' && t[end] != '-' {
			break
		}
	}
	return end, dots >= 2 || r.cut && end == len(t) && end > 12
}

const (
	pemBegin = "-----BEGIN "
	pemEnd   = "-----END "
)

// pem looks at a private key in PEM (RFC 7468) and returns up to where it has
// looked.
func (r *Redactor) pem(w word, at int) int {
	t := w.text[at:]
	label, _, ok := strings.Cut(t[len(pemBegin):min(len(t), len(pemBegin)+64)], "-----")
	if !ok || !strings.HasSuffix(label, "PRIVATE KEY") && !strings.HasSuffix(label, "PRIVATE KEY BLOCK") {
		return at + len(pemBegin) - 1
	}
	body := len(pemBegin) + len(label) + len("-----")
	body += pemHeaders(t[body:])
	end := body + pemLines(t[body:])
	r.secret(w, at+body, at+end, secret)
	return at + end - 1
}

// pemHeaders is the length of the headers before the key (RFC 1421, 4.6), which
// say how it is encrypted. They stay.
func pemHeaders(s string) int {
	end := 0
	for {
		line := strings.TrimLeft(s[end:], "\r\n")
		at := len(s) - len(line)
		if at == end {
			return end
		}
		line = line[:indexAny(line, "\r\n")]
		name, _, ok := strings.Cut(line, ": ")
		if !ok || !isFlagName(name) {
			return end
		}
		end = at + len(line)
	}
}

// pemLine is a line that is long enough for one of a key even where a blank
// stands for the line break.
const pemLine = 40

// pemLines is the length of the lines of base64 that s begins with. What else
// follows the header of a key is none, and may be what is executed.
func pemLines(s string) int {
	end, last := 0, 0
	for {
		end += len(s[end:]) - len(strings.TrimLeft(s[end:], " \t\r\n"))
		if rest := s[end:]; strings.HasPrefix(rest, `\n`) || strings.HasPrefix(rest, `\r`) { // in JSON
			end += 2
			continue
		}
		if strings.HasPrefix(s[end:], pemEnd) {
			return end
		}
		to := end
		for to < len(s) && (isAlnum(s[to]) || strings.IndexByte("+/=", s[to]) >= 0) {
			to++
		}
		rest := s[to:]
		if to == end || to-end < pemLine && rest != "" && strings.IndexByte("\r\n\\\"'", rest[0]) < 0 && !strings.HasPrefix(strings.TrimLeft(rest, " "), pemEnd) {
			return last
		}
		end, last = to, to
	}
}
