package pipeline

import (
	"strings"
)

// A name is taken apart into words, at -, _, ., / and :, and where a capital
// begins one (dbPassword). It is a secret's when its last word, or the last two,
// are; --password-file and --token-ttl end otherwise and are not.

// nature is what is known of a secret by its name alone.
type nature uint8

const (
	harmless nature = iota
	secret
	pass        // a digit is the number of a pass over the data: ffmpeg -pass 1
	workDir     // pwd and pw: a path is a directory
	keyFile     // private key, credentials: a path is a file
	pinCode     // up to two digits are a pin of a chip
	userPass    // name and password with a colon between
	accessToken // a pattern of text has characters that no token has
)

// lastWords are secrets whatever stands before them.
var lastWords = map[string]nature{
	"password": secret, "passwd": secret, "passphrase": secret, "passcode": secret, "passwort": secret, "pass": pass, "sshpass": secret,
	"pw": workDir, "pwd": workDir, "token": secret, "secret": secret, "bearer": secret, "authorization": secret, "psk": secret,
	"cookie": secret, "setcookie": secret, "requirepass": secret, "masterauth": secret,
	"apikey": secret, "secretkey": secret, "accesskey": secret, "authkey": secret, "accountkey": secret, "privatekey": keyFile,
	"authtoken": secret, "accesstoken": secret, "refreshtoken": secret, "idtoken": secret, "clientsecret": secret,
	"sharedaccesskey": secret, "userpw": secret, "encryptionkey": secret,
}

// lastEnds make a word that ends so a secret: PGPASSWORD, --dbpass.
var lastEnds = [...]struct {
	end    string
	nature nature
}{
	{"password", secret}, {"passwd", secret}, {"passphrase", secret}, {"apikey", secret}, {"secretkey", secret}, {"accesskey", secret},
	{"token", secret}, {"secret", secret}, {"pass", pass}, {"pwd", workDir}, {"pw", workDir},
}

// endsHarmless are words that end so and are none.
var endsHarmless = map[string]bool{
	"bypass": true, "compass": true, "encompass": true, "trespass": true, "overpass": true, "underpass": true, "surpass": true,
	"askpass": true, "getpass": true, "genpass": true, "showpass": true, "nopassword": true, "nopasswd": true, "nopass": true, "nopw": true, "notoken": true, "nosecret": true,
	"lowpass": true, "highpass": true, "bandpass": true, "allpass": true, // filters of sound
}

// flagWords are secrets behind the name of a flag that ends so. Elsewhere pat is a
// pattern as often (awk -v pat=x), and X-Amz-Credential names a key.
var flagWords = map[string]nature{"credential": keyFile, "credentials": keyFile, "pin": pinCode, "pat": secret}

// flagHarmless are words that make them none.
var flagHarmless = map[string]bool{"with": true, "same": true, "cpu": true, "vcpu": true, "core": true, "gpio": true, "led": true}

// keysOf are the words that make a key behind them one that opens something.
var keysOf = map[string]nature{
	"api": secret, "access": secret, "secret": secret, "private": keyFile, "auth": secret, "account": secret, "shared": secret, "fernet": secret, "unseal": secret,
	"subscription": secret, "preshared": secret, "application": secret, "functions": secret, "decryption": secret, "hmac": secret,
	"encryption": secret, "encrypt": secret, "master": secret, "signing": secret, "storage": secret, "session": secret, "psk": secret, "wep": secret,
}

// harmlessBefore are words that make what follows no secret: a place in a list
// (--next-token), a piece of text of a language model, a number of passes.
var harmlessBefore = map[string]bool{
	"next": true, "starting": true, "start": true, "page": true, "pagination": true, "continuation": true, "continue": true,
	"pad": true, "eos": true, "bos": true, "unk": true, "mask": true, "sep": true, "cls": true, "stop": true, "special": true,
	"max": true, "min": true, "num": true, "two": true, "multi": true, "single": true, "first": true, "second": true, "one": true,
	"pull": true, "public": true, "empty": true,
}

// asks are the first words of flags that are about a secret and take none.
var asks = map[string]bool{
	"no": true, "ask": true, "prompt": true, "show": true, "hide": true, "reset": true, "change": true, "require": true, "requires": true,
	"required": true, "enable": true, "disable": true, "use": true, "without": true, "allow": true, "skip": true, "verify": true,
	"check": true, "generate": true, "gen": true, "print": true, "get": true, "list": true, "is": true, "has": true, "need": true,
	"force": true, "rotate": true, "revoke": true, "delete": true, "remove": true, "create": true, "save": true, "store": true,
	"disabled": true, "enabled": true, "export": true, "try": true,
}

// exactNames are variables that the words do not tell.
var exactNames = map[string]bool{
	"rediscli_auth": true, "composer_auth": true, "docker_auth_config": true, "npm_config__auth": true, "_auth": true, "gh_pat": true,
	"github_pat": true, "azure_devops_ext_pat": true, "secret_key_base": true,
	"secret-string": true, "secretstring": true,
}

const maxName = 64

// lower folds a name into buf; ok is false for one that is too long to be one.
func lower(buf *[maxName]byte, name string) (_ []byte, ok bool) {
	if len(name) > maxName {
		return nil, false
	}
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf[i] = c
	}
	return buf[:len(name)], true
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isAlnum(c byte) bool { return isLower(c) || isUpper(c) || isDigit(c) }

// boundary tells whether a word begins at name[i].
func boundary(name string, i int) bool {
	c, before := name[i], name[i-1]
	switch {
	case !isAlnum(before):
		return isAlnum(c)
	case !isUpper(c):
		return false
	case !isUpper(before):
		return true
	}
	return i+1 < len(name) && isLower(name[i+1]) // APIKey
}

// lastWord cuts the last word off: rest is what stands before it.
func lastWord(name string) (rest, word string) {
	for len(name) > 0 && !isAlnum(name[len(name)-1]) {
		name = name[:len(name)-1]
	}
	for i := len(name) - 1; i > 0; i-- {
		if boundary(name, i) {
			return name[:i], name[i:]
		}
	}
	return "", name
}

// natureOf tells what is behind a name: of a variable, a field, a flag without
// its dashes.
func natureOf(name string) nature {
	if len(name) > maxName {
		name = name[len(name)-maxName:]
	}
	name = strings.TrimRight(name, "0123456789")
	if n := natureOfWords(name); n != harmless {
		return n
	}
	return natureOfVariable(name)
}

// natureOfWords is by the words at the end of a name, or by exactNames.
func natureOfWords(name string) nature {
	rest, last := lastWord(name)
	if len(last) < 2 {
		return harmless
	}
	var buf [maxName]byte
	folded, _ := lower(&buf, last)
	n := lastWords[string(folded)]
	if n == harmless {
		if string(folded) == "key" {
			_, before := lastWord(rest)
			folded, _ = lower(&buf, before)
			return keysOf[string(folded)]
		}
		if n := natureOfEnd(folded); n != harmless {
			return n
		}
		folded, _ = lower(&buf, name)
		if exactNames[string(folded)] {
			return secret
		}
		return harmless
	}
	if rest == "" {
		return n
	}
	_, before := lastWord(rest)
	folded, _ = lower(&buf, before)
	switch {
	case harmlessBefore[string(folded)]:
		return harmless
	case n == workDir && accounts[string(folded)]:
		return secret
	}
	return n
}

// isCommandName tells a name with a command line behind it: ProxyCommand,
// GIT_SSH_COMMAND, RSYNC_RSH.
func isCommandName(name string) bool {
	_, last := lastWord(name)
	return strings.EqualFold(last, "command") || strings.EqualFold(last, "rsh")
}

// natureOfEnd is by lastEnds, of a word in lower case.
func natureOfEnd(word []byte) nature {
	for _, e := range lastEnds {
		before := len(word) - len(e.end)
		if before > 0 && string(word[before:]) == e.end {
			if harmlessBefore[string(word[:before])] || endsHarmless[string(word)] {
				return harmless
			}
			if e.nature == workDir && accounts[string(word[:before])] {
				return secret
			}
			return e.nature
		}
	}
	return harmless
}

// natureOfFlag tells what is behind a flag, given with its dashes.
func natureOfFlag(flag string) nature {
	if n := natureOf(strings.TrimPrefix(flag[1:], "-")); n != harmless {
		return n
	}
	return flagNature(flag)
}

// flagNature is that of flagWords. One dash makes -pat three flags (ss, rsync).
func flagNature(flag string) nature {
	name := strings.TrimPrefix(flag[1:], "-")
	if len(name) > maxName {
		name = name[len(name)-maxName:]
	}
	rest, last := lastWord(strings.TrimRight(name, "0123456789"))
	if rest == "" && flag[1] != '-' {
		return harmless
	}
	var buf [maxName]byte
	folded, _ := lower(&buf, last)
	n := flagWords[string(folded)]
	if n == harmless || rest == "" {
		return n
	}
	_, before := lastWord(rest)
	folded, _ = lower(&buf, before)
	if harmlessBefore[string(folded)] || flagHarmless[string(folded)] {
		return harmless
	}
	return n
}

// asksOnly tells whether a flag is about a secret and takes none: --no-password.
func asksOnly(name string) bool {
	end := 1
	for end < len(name) && !boundary(name, end) {
		end++
	}
	var buf [maxName]byte
	folded, ok := lower(&buf, strings.TrimRight(name[:end], "-_."))
	return ok && end < len(name) && asks[string(folded)]
}

// isPlain tells whether a value is none that anybody would hide.
func isPlain(v string, n nature) bool {
	switch len(v) {
	case 0:
		return true
	case 1:
		if v == "-" || v == "*" || isDigit(v[0]) && (n == pass || v[0] < '2') {
			return true
		}
	case 2, 3, 4, 5:
		var buf [maxName]byte
		folded, _ := lower(&buf, v)
		switch string(folded) {
		case "true", "false", "yes", "no", "on", "off", "null", "none":
			return true
		}
	}
	if v == marker {
		return true
	}
	for _, where := range [...]string{"file:", "env:", "fd:", "@/", "@./"} {
		if strings.HasPrefix(v, where) {
			return true
		}
	}
	switch n {
	case workDir:
		return v[0] == '/' || isDrive(v) || v == "." || strings.HasPrefix(v, "./")
	case keyFile:
		return isKeyFile(v)
	case userPass:
		_, password, found := strings.Cut(v, ":")
		return !found || password == "" || strings.HasPrefix(password, "//")
	case accessToken:
		return strings.ContainsAny(v, "*?^$[](){}|\\ ")
	case pinCode:
		return len(v) <= 2 && isDigit(v[0]) && isDigit(v[len(v)-1])
	}
	return false
}

// isKeyFile tells a path from a key: base64 may begin with a slash, but has
// padding then, or no further one.
func isKeyFile(v string) bool {
	for _, begin := range [...]string{"./", "../", "~/", "pkcs11:", "@"} {
		if strings.HasPrefix(v, begin) {
			return true
		}
	}
	for _, end := range [...]string{".pem", ".key", ".p8", ".p12", ".pfx", ".ppk", ".der", ".jwk", ".json", ".yaml", ".yml", ".ini"} {
		if strings.HasSuffix(v, end) {
			return true
		}
	}
	return isDrive(v) || v[0] == '/' && v[len(v)-1] != '='
}

// isDrive tells a path of Windows.
func isDrive(v string) bool {
	return len(v) > 2 && isAlnum(v[0]) && v[1] == ':' && (v[2] == '\\' || v[2] == '/')
}
