package pipeline

import "strings"

// command is how far the words of one command have been read.
type command struct {
	prog    *program // nil = none that is known
	start   bool     // the next word names the program
	pending kind     // of the next word, the value of a flag
	nature  nature   // of it
	option  bool     // it may be left out: what begins with a dash is not it
	next    kind     // of the next word that is no flag
	skip    int      // words that are no flags before the command that prog executes; negative = it executes none
	args    int      // words that were no flags
	seen    string   // the subcommand that was seen, of program.subs
	noted   uint8    // which flags of program.notes were seen, or what then noted
	entry   *program // executes what follows
	joined  bool     // prog executes what its arguments are together
	sealed  bool     // a flag made its value a secret
	held    []edit   // of a value, for a flag behind it that does
}

// kind is what of a word is a secret.
type kind uint8

const (
	nothing      kind = iota // as that of a rule: the flag takes no value
	other                    // a value like any other
	whole                    // all of it
	afterColon               // user:SECRET
	afterComma               // user,SECRET
	afterPercent             // user%SECRET
	afterEqual               // name=SECRET, where any name will do
	afterPass                // pass:SECRET, key:SECRET, where other prefixes name a place (openssl-passphrase-options(1)) or something else
	afterLast                // [algorithm:]name:SECRET
	afterSlash               // user/SECRET@place
	userinfo                 // user:SECRET@host
	header                   // Name: SECRET
	sigil                    // >SECRET, another byte before it
	cookies                  // name=SECRET, else a file
	credentials              // [scheme] SECRET, behind a header whose quotes are missing; or a place
	unlessPlace              // all of it, unless it is a place
	twice                    // all of it and of the next word
	target                   // [domain/]user:SECRET@host
	named                    // none, it names the next word
	commandText              // a command line
	commandWord              // none, it is the program of one
	module                   // none, it names what goes on (python -m)
	entry                    // none, it executes what follows (docker run --entrypoint)
	owner                    // none, two more words behind it are, or one
	asUser                   // none, a command follows
	authType                 // none; a bearer's has no name of a user
	seals                    // none, the flag makes one of what is sealable
	sealable                 // all of it, with a flag that seals before or behind it
	code                     // text of a program in another language
)

// step takes the next word of a command.
func (r *Redactor) step(c *command, w word) {
	r.take(c, w)
	if t := w.text; t != "" && t[len(t)-1] == ':' && (c.prog == nil || !c.prog.searches) && isHeaderAlone(t[:len(t)-1]) {
		c.pending, c.nature, c.option = credentials, secret, true
	}
}

func (r *Redactor) take(c *command, w word) {
	t := w.text
	if c.pending != nothing {
		k := c.pending
		if k == commandText && c.option && strings.HasPrefix(t, "-") { // sh -c -x TEXT
			r.flag(c, w)
			c.pending = k
			return
		}
		c.pending = nothing
		if !isFlag(t) && (!c.option || !strings.HasPrefix(t, "-")) {
			r.value(c, k, w, 0, c.nature)
			return
		}
	}
	switch {
	case c.joined:
		r.script(w, 0, c)
	case c.start:
		r.begin(c, w)
	case len(t) > 1 && t[0] == '-':
		r.flag(c, w)
	case len(t) > 1 && t[0] == '/' && r.slash(c, w):
	case len(t) > 1 && t[0] == '/' && t[1] != '/' && c.prog != nil && c.prog.slashes:
		r.text(w, 0)
	default:
		r.argument(c, w)
	}
}

// isFlag tells a flag from a secret that begins with a dash.
func isFlag(t string) bool {
	return len(t) == 2 && t[0] == '-' && isAlnum(t[1]) || len(t) > 3 && t[:2] == "--" && isLower(t[2])
}

// keywords of the shell, and its commands that execute another.
var keywords = map[string]bool{
	"if": true, "then": true, "else": true, "elif": true, "do": true, "while": true, "until": true, "!": true, "{": true, "}": true,
	"time": true, "exec": true, "command": true, "builtin": true, "export": true, "declare": true, "local": true, "readonly": true,
	"typeset": true,
}

// begin takes the word that names a program, or an assignment before it.
func (r *Redactor) begin(c *command, w word) {
	r.text(w, 0)
	if isAssignment(w.text) || strings.HasPrefix(w.text, "-") || w.level > 0 && keywords[w.text] {
		return
	}
	c.enter(r.lookup(w.text))
}

// enter begins the arguments of p.
func (c *command) enter(p *program) {
	*c = command{prog: p, skip: noCommand}
	if p != nil {
		c.skip = p.skip
	}
}

func isAssignment(t string) bool {
	name, _, ok := strings.Cut(t, "=")
	if !ok || name == "" || isDigit(name[0]) {
		return false
	}
	for i := range len(name) {
		if !isAlnum(name[i]) && name[i] != '_' && (name[i] != '+' || i != len(name)-1) {
			return false
		}
	}
	return true
}

// slash takes a flag of Windows: /password:SECRET. It reports false for what may
// be a path.
func (r *Redactor) slash(c *command, w word) bool {
	if c.prog != nil && r.known(c, w) {
		return true
	}
	name, _, ok := strings.Cut(w.text[1:], ":")
	n := natureOf(name)
	if !ok || n == harmless || !isWord(name) {
		return false
	}
	r.secret(w, 1+len(name)+1, len(w.text), n)
	return true
}

// flag takes a word that begins with a dash.
func (r *Redactor) flag(c *command, w word) {
	t := w.text
	if p := c.prog; p != nil {
		switch {
		case t == "--" && p.dashes || findWord(p.starts, t) != "":
			*c = command{start: true}
			return
		case t == "--":
			return
		case r.known(c, w) || r.wraps(c, t):
			return
		}
	}
	name := strings.TrimPrefix(t[1:], "-")
	eq := strings.IndexByte(name, '=')
	if eq < 0 && isFlagName(name) {
		n := natureOfFlag(t)
		if n != harmless && asksOnly(name) {
			return
		}
		if n != secret && r.matchFlag(name) {
			n = secret
		}
		if n != harmless {
			c.pending, c.nature, c.option = whole, n, c.prog != nil && c.prog.optional
			return
		}
	}
	if eq > 0 && isFlagName(name[:eq]) {
		value := len(t) - len(name) + eq + 1
		n := flagNature(t[:value-1])
		if r.matchFlag(name[:eq]) {
			n = secret
		}
		if n != harmless {
			r.secret(w, value, len(t), n)
			return
		}
	}
	r.text(w, 0)
}

func isWord(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) {
			return false
		}
	}
	return s != ""
}

func isFlagName(s string) bool {
	for i := range len(s) {
		if !isNameByte(s[i]) {
			return false
		}
	}
	return len(s) > 1
}

// known takes a flag that the program's rules tell of. It reports false for
// another.
func (r *Redactor) known(c *command, w word) bool {
	t, p := w.text, c.prog
	for i := range p.rules {
		rule := &p.rules[i]
		if rule.after != "" && c.seen != rule.after || len(rule.flag) == 2 && rule.flag[0] == '-' {
			continue
		}
		switch rest, ok := cutFlag(t, rule.flag); {
		case !ok, rule.kind == nothing && rest != "":
		case rule.kind == seals && (rest == "" || rest == "=true"):
			r.edits = append(r.edits, c.held...)
			c.sealed = true
			return true
		case strings.HasSuffix(rule.flag, ":") || rule.form == attached && rest != "":
			r.value(c, rule.kind, w, len(t)-len(rest), secret)
			return true
		case rest == "":
			c.pending, c.nature, c.option = rule.kind, secret, p.optional
			return true
		case rest[0] == '=':
			r.value(c, rule.kind, w, len(t)-len(rest)+1, secret)
			return true
		}
	}
	if t[0] != '-' || len(t) < 2 || t[1] == '-' {
		return false
	}
	for i := 1; i < len(t); i++ { // letters in one word: getopt(3)
		rule := p.short(t[i], c.seen)
		switch {
		case rule != nil && i+1 < len(t):
			if rule.form == apart {
				return false
			}
			from := i + 1
			if t[from] == '=' && rule.kind == whole && rule.form != attached {
				from++
			}
			r.value(c, rule.kind, w, from, secret)
			return true
		case rule != nil:
			if rule.form != attached {
				c.pending, c.nature, c.option = rule.kind, secret, false
			}
			return true
		case strings.IndexByte(p.notes, t[i]) >= 0:
			c.noted |= 1 << strings.IndexByte(p.notes, t[i])
		case strings.IndexByte(p.bools, t[i]) < 0:
			return false
		}
	}
	return false
}

// cutFlag is what follows a flag; a slash is that of Windows, where case does not
// matter.
func cutFlag(t, flag string) (rest string, ok bool) {
	if flag[0] != '/' {
		return strings.CutPrefix(t, flag)
	}
	if len(t) < len(flag) || !strings.EqualFold(t[:len(flag)], flag) {
		return "", false
	}
	return t[len(flag):], true
}

// wraps takes a flag of a program that executes another, so that its value is not
// taken for that. It reports true when there is nothing else to look for in the
// word.
func (r *Redactor) wraps(c *command, t string) bool {
	p := c.prog
	if p.shell && isShellFlags(t[1:]) {
		c.pending, c.nature, c.option = commandText, harmless, true
		return true
	}
	if p.latest && c.seen == "exec" && (t == "-l" || t == "--latest") {
		c.skip = 0
		return true
	}
	if name, ok := strings.CutPrefix(t, "--"); ok {
		takes := findWord(p.longs, name) != ""
		if p.flags != "" && strings.IndexByte(name, '=') < 0 {
			takes = findWord(p.flags, name) == "" && natureOfFlag(t) == harmless
		}
		if takes = takes && !r.matchFlag(name); takes {
			c.pending, c.nature, c.option = other, harmless, false
		}
		return takes
	}
	for i := 1; i < len(t); i++ {
		if strings.IndexByte(p.values, t[i]) >= 0 {
			if i == len(t)-1 {
				c.pending, c.nature, c.option = other, harmless, false
			}
			return false // what is attached to it is looked at as text
		}
		if strings.IndexByte(p.bools, t[i]) < 0 && strings.IndexByte(p.notes, t[i]) < 0 && p.bools != "" {
			return false
		}
	}
	return false
}

// isShellFlags tells whether the flags of a shell, as in -lc, make the next word
// a command line.
func isShellFlags(s string) bool {
	c := false
	for i := range len(s) {
		if !isAlnum(s[i]) {
			return false
		}
		c = c || s[i] == 'c'
	}
	return c && len(s) < 6
}

// argument takes a word that is no flag.
func (r *Redactor) argument(c *command, w word) {
	t := w.text
	if c.next != nothing {
		k := c.next
		c.next = nothing
		r.value(c, k, w, 0, secret)
		return
	}
	p := c.prog
	if p == nil {
		r.text(w, 0)
		return
	}
	c.args++
	sub := ""
	if c.seen == "" {
		sub = findWord(p.subs, t)
	}
	switch {
	case sub != "":
		if c.seen = sub; findWord(p.executes, sub) != "" {
			c.skip = 1
		} else if findWord(p.runs, sub) != "" {
			c.skip = 0
		} else if p.joins { // each word behind it is a text of its own
			c.skip = noCommand
		}
		return
	case c.skip == 0 && p.joins:
		c.joined, c.start = true, true
		r.script(w, 0, c)
		return
	case c.skip == 0:
		if isAssignment(t) { // sudo A=b command
			r.text(w, 0)
			return
		}
		*c = command{start: true}
		r.begin(c, w)
		return
	case c.skip > 0:
		if c.skip--; c.skip == 0 && c.entry != nil {
			r.text(w, 0)
			c.enter(c.entry)
			return
		}
	}
	if p.then != nil {
		if k := p.then(c, t); k == whole && isAssignment(t) { // vault login -method=userpass username=ann
			r.text(w, 0)
			return
		} else if k != nothing {
			r.value(c, k, w, 0, secret)
			return
		}
	}
	r.text(w, 0)
}

// findWord is the word w of a list, "" when it is not in it.
func findWord(list, w string) string {
	if w == "" || len(w) > len(list) || strings.IndexByte(w, ' ') >= 0 {
		return ""
	}
	for at := 0; ; {
		i := strings.Index(list[at:], w)
		if i < 0 {
			return ""
		}
		from, to := at+i, at+i+len(w)
		if (from == 0 || list[from-1] == ' ') && (to == len(list) || list[to] == ' ') {
			return list[from:to]
		}
		at = from + 1
	}
}
