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
	'g': {{"ghp_", 36, false}, {"gho_", 36, false}, {"ghu_", 36, false}, {"ghs_", 36, false}, {"ghr_", 36, false}, {"github_pat_", 40, false}, {"glpat-", 20, true}},
	'x': {{"xoxb-", 20, false}, {"xoxa-", 20, false}, {"xoxp-", 20, false}, {"xoxr-", 20, false}, {"xoxs-", 20, false}},
	's': {{"sk_live_", 16, false}, {"sk-ant-", 20, false}, {"sk-proj-", 20, false}, {"shpat_", 32, false}},
	'r': {{"rk_live_", 16, false}},
	'A': {{"AIza", 35, false}},
	'h': {{"hvs.", 24, false}},
	'n': {{"npm_", 36, false}},
	'p': {{"pypi-AgE", 40, false}},
	'd': {{"dop_v1_", 64, false}, {"dckr_pat_", 20, false}},
	'S': {{"SG.", 40, true}},
	'y': {{"ya29.", 20, true}},
}

// token is the length of the token that t begins with, 0 when it is none. Where
// t was cut off any length will do.
func (r *Redactor) token(t string) int {
	if strings.HasPrefix(t, "eyJ") {
		return r.jwt(t)
	}
	if t == "" {
		return 0
	}
	for _, s := range shapes[t[0]] {
		if !strings.HasPrefix(t, s.begin) {
			continue
		}
		end := len(s.begin)
		for end < len(t) && (isAlnum(t[end]) || t[end] == '_' || t[end] == '-' || s.dots && t[end] == '.') {
			end++
		}
		if end-len(s.begin) >= s.least || r.cut && end == len(t) && end > len(s.begin) {
			return end
		}
	}
	return 0
}

// jwt: RFC 7519, a header and claims that are JSON objects in base64url, and a
// signature.
func (r *Redactor) jwt(t string) int {
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
	if dots >= 2 || r.cut && end == len(t) && end > 12 {
		return end
	}
	return 0
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
	end := len(t)
	if i := strings.Index(t[body:], pemEnd); i >= 0 {
		end = body + i
	}
	r.secret(w, at+body, at+end, secret)
	return at + max(body, end) - 1
}
