package pipeline

import (
	"slices"
	"strings"

	"github.com/sentineld/sentineld/internal/event"
)

// marker stands where a secret stood.
const marker = "[redacted]"

// RedactOptions say what is a secret beside what is known to be one. The zero
// value adds nothing.
type RedactOptions struct {
	Flags []string // names of flags without dashes: the value of each is a secret
	Env   []string // names of variables, * at an end stands for anything
	// Programs are PROGRAM:FLAG and make the value of that flag a secret: mytool:-p
	// is that of -p SECRET and -pSECRET, mytool:--pin of --pin SECRET and
	// --pin=SECRET, mytool:/p: of /p:SECRET.
	Programs []string
}

// Redactor replaces secrets in what a process was given. It changes no byte
// beside them, and no number of arguments; the second time it finds nothing. What
// it takes is linear in what it reads. The zero value has no options. Not safe
// for concurrent use.
type Redactor struct {
	flags    []string // folded, with - for _
	env      []pattern
	programs map[string]*program // of the user, ahead of the built-in ones

	src     string // being read
	edits   []edit
	cut     bool // the end of src is not the end of what was given
	outer   [maxDepth]word
	deepest int               // level with an outer word
	cmds    [maxDepth]command // being read, one for each depth
	bufs    [maxDepth][]byte  // decoded words, one for each depth
	marks   [maxDepth][]mark
	open    []byte // brackets and quotes of a substitution
}

// maxDepth bounds command lines inside command lines. What is deeper is looked
// at as text.
const maxDepth = 8

// edit replaces src[from:to], by nothing where a secret goes on behind a quote.
type edit struct {
	from, to int
	gone     bool
}

// NewRedactor makes one. The error names the option of o that cannot be.
func NewRedactor(o RedactOptions) (*Redactor, error) {
	r := &Redactor{programs: map[string]*program{}}
	for _, f := range o.Flags {
		name, err := parseFlag(f)
		if err != nil {
			return nil, err
		}
		r.flags = append(r.flags, name)
	}
	for _, e := range o.Env {
		p, err := parsePattern(e)
		if err != nil {
			return nil, err
		}
		r.env = append(r.env, p)
	}
	for _, s := range o.Programs {
		name, rule, err := parseProgram(s)
		if err != nil {
			return nil, err
		}
		p := r.programs[name]
		if p == nil {
			p = &program{skip: noCommand}
			if known := r.lookup(name); known != nil {
				p = clone(known)
			}
			r.programs[name] = p
		}
		p.rules = slices.Insert(p.rules, 0, rule)
	}
	return r, nil
}

// Exec replaces the secrets in x, and says so in x.Redacted.
//
// Exe, Invoked, Interpreter, Cwd and Comm stay as they are: they are names that
// rules match, and no place to hand over a secret.
func (r *Redactor) Exec(x *event.Exec) {
	if x.Args != "" {
		p := r.lookup(x.Exe) // argv[0] is the process's to choose
		if first := firstArg(x.Args); p != nil && p.multi || p == nil && !isNamed(x.Exe, first) {
			p = r.lookup(first)
		}
		if p == nil && x.Exe == "" { // not known: of a path of too many names, or nothing was executed
			p = r.lookup(x.Invoked)
		}
		if p != nil && !p.searches || x.Truncated || r.custom() || isTitle(x.Args) || suspicious(x.Args) {
			r.args(x, p)
		}
	}
	if x.Env != "" {
		r.environ(x)
	}
}

// custom tells whether the prefilter cannot know everything.
func (r *Redactor) custom() bool { return len(r.flags)+len(r.env) > 0 }

// isNamed tells whether name is the end of path, so that they are one program.
func isNamed(path, name string) bool {
	i := len(path) - len(name)
	return i > 0 && path[i-1] == '/' && path[i:] == name
}

func firstArg(args string) string {
	if i := strings.IndexByte(args, 0); i >= 0 {
		return args[:i]
	}
	return args
}

// isTitle tells whether a process has written its title over its arguments: it
// leaves one, with the command line in it.
func isTitle(args string) bool {
	first := firstArg(args)
	return strings.IndexByte(first, ' ') > 0 && strings.Trim(args[len(first):], "\x00") == ""
}

// title looks at the words of a title, which has no quotes.
func (r *Redactor) title(w word) {
	cmd := &r.cmds[0]
	*cmd = command{start: true}
	for at := 0; at < len(w.text); at++ {
		end := at + indexAny(w.text[at:], " \t\r\n")
		if end > at {
			r.step(cmd, word{text: w.text[at:end], off: w.off + at})
		}
		at = end
	}
}

func (r *Redactor) args(x *event.Exec, p *program) {
	r.start(x.Args)
	cmd := &r.cmds[0]
	*cmd = command{prog: p}
	if p != nil {
		cmd.skip = p.skip
	}
	first, rest := true, x.Args
	for rest != "" {
		at := len(x.Args) - len(rest)
		end := strings.IndexByte(rest, 0)
		r.cut = x.Truncated && (end < 0 || end == len(rest)-1)
		if end < 0 {
			end = len(rest)
		}
		w := word{text: rest[:end], off: at}
		rest = rest[min(end+1, len(rest)):]
		if !first {
			r.step(cmd, w)
			continue
		}
		first = false
		if isTitle(x.Args) {
			r.title(w)
		} else {
			r.text(w, 0)
		}
	}
	x.Args, x.Redacted = r.finish(x.Redacted)
}

func (r *Redactor) environ(x *event.Exec) {
	r.start(x.Env)
	for rest := x.Env; rest != ""; {
		at := len(x.Env) - len(rest)
		end := strings.IndexByte(rest, 0)
		if end < 0 {
			end = len(rest)
		}
		w := word{text: rest[:end], off: at}
		rest = rest[min(end+1, len(rest)):]
		name, _, ok := strings.Cut(w.text, "=")
		if n := r.envNature(name); ok && n != harmless {
			r.secret(w, len(name)+1, len(w.text), n)
		} else {
			r.text(w, 0)
		}
	}
	x.Env, x.Redacted = r.finish(x.Redacted)
}

func (r *Redactor) envNature(name string) nature {
	if r.matchEnv(name) {
		return secret
	}
	return natureOf(name)
}

func (r *Redactor) start(src string) {
	r.src, r.edits, r.cut, r.deepest = src, r.edits[:0], false, 0
}

// finish makes the text without the secrets.
func (r *Redactor) finish(before bool) (string, bool) {
	src := r.src
	r.src = ""
	clear(r.outer[:r.deepest+1]) // lets go of the strings
	if len(r.edits) == 0 {
		return src, before
	}
	slices.SortStableFunc(r.edits, func(a, b edit) int { return a.from - b.from })
	var b strings.Builder
	b.Grow(len(src) + len(marker))
	at, changed := 0, false
	for i := 0; i < len(r.edits); {
		e := r.edits[i]
		for i++; i < len(r.edits) && r.edits[i].from < e.to; i++ { // found by two rules
			e.to = max(e.to, r.edits[i].to)
			e.gone = e.gone && r.edits[i].gone
		}
		b.WriteString(src[at:e.from])
		old := src[e.from:e.to]
		if e.gone {
			changed = changed || old != ""
		} else {
			b.WriteString(marker)
			changed = changed || old != marker
		}
		at = e.to
	}
	if !changed {
		return src, before
	}
	b.WriteString(src[at:])
	return b.String(), true
}

// anchors are the bytes that suspicious looks closer at: every name and token that
// it searches for has one, and ordinary command lines have few.
var anchors = [256]bool{
	's': true, 'S': true, 'w': true, 'W': true, 'k': true, 'K': true, 'c': true, 'C': true, 'h': true, 'H': true, 'b': true, 'B': true,
	'x': true, 'J': true, 'z': true, 'v': true, 'G': true, 'E': true, '9': true, 'p': true, 'P': true, '_': true, '=': true, '@': true, 'g': true,
}

// suspicious tells whether a text may hold what the rules for every program
// find.
func suspicious(s string) bool {
	is := func(i int, c byte) bool { return uint(i) < uint(len(s)) && s[i] == c }
	letter := func(i int, c byte) bool { return uint(i) < uint(len(s)) && s[i]|0x20 == c }
	for i := range len(s) {
		if !anchors[s[i]] {
			continue
		}
		found := false
		switch s[i] {
		case 's', 'S': // pass
			found = letter(i-1, 's')
		case 'w', 'W': // pw, passwd
			found = letter(i-1, 'p')
		case 'k', 'K': // token, cookie, psk, key; sk-, sk_
			found = letter(i-1, 'o') && (letter(i-2, 't') || letter(i+1, 'i')) || letter(i+1, 'e') && letter(i+2, 'y') ||
				letter(i-1, 's') && (letter(i-2, 'p') || is(i+1, '-') || is(i+1, '_'))
			found = found || letter(i-1, 'o') && letter(i-2, 'o') && (is(i+1, 's') || strings.HasPrefix(s[i+1:], ".office")) // hooks.slack.com, webhooks/, webhook.office.com
		case 'g': // glrt-, gldt-; api.telegram.org
			found = is(i+1, 'l') && is(i+3, 't') && is(i+4, '-') || strings.HasSuffix(s[:i], "tele")
		case 'c', 'C': // secret; credential
			found = letter(i+1, 'r') && (letter(i-1, 'e') || letter(i+2, 'e') && letter(i+3, 'd'))
		case 'h', 'H': // auth
			found = letter(i-1, 't') && letter(i-2, 'u')
		case 'b', 'B': // bearer; identified by
			found = letter(i+1, 'e') && letter(i+2, 'a') || letter(i+1, 'y') && i+2 < len(s) && strings.IndexByte(" \t\n=(", s[i+2]) >= 0
		case '=': // sig, signature; a personal access token; command, rsh; ETCDCTL_USER; BUNDLE_GITHUB__COM, __IO
			found = letter(i-1, 'd') && letter(i-2, 'n') || letter(i-1, 'h') && letter(i-2, 's') || letter(i-1, 'g') && letter(i-2, 'i') || letter(i-1, 'e') && letter(i-2, 'r') || is(i-1, 'T') && is(i-2, 'A') ||
				is(i-1, 'R') && is(i-5, '_') || is(i-1, 'M') && is(i-4, '_') || is(i-1, 'O') && is(i-3, '_')
		case '@': // scheme://user:password@host
			found = true
		case 'x': // xox.-, xapp-
			found = is(i-1, 'o') && is(i-2, 'x') || is(i+1, 'a') && is(i+2, 'p') && is(i+3, 'p')
		case 'J': // eyJ
			found = is(i-1, 'y')
		case 'z': // AIza
			found = is(i-1, 'I')
		case 'v': // hvs., hvb., dop_v1_
			found = is(i-1, 'h') && (is(i+1, 's') || is(i+1, 'b')) || is(i-1, '_') && is(i-2, 'p')
		case 'G': // SG.
			found = is(i-1, 'S') && is(i+1, '.')
		case 'E': // pypi-AgE
			found = is(i-1, 'g')
		case '9': // ya29.
			found = is(i-1, '2') && is(i-2, 'a')
		case 'p', 'P': // glpat-; pat, pin, but not path
			found = is(i-1, 'l') && is(i-2, 'g') ||
				(letter(i+1, 'a') && letter(i+2, 't') || letter(i+1, 'i') && letter(i+2, 'n')) && (i+3 >= len(s) || s[i+3]|0x20 < 'a' || s[i+3]|0x20 > 'z')
		case '_': // gh._, github_pat_, dckr_pat_, shpat_, npm_, rk_live_, whsec_, hf_
			found = is(i-1, 'c') && is(i-2, 'e') || is(i-1, 'f') && is(i-2, 'h') || is(i-2, 'h') && is(i-3, 'g') || is(i-1, 't') && is(i-2, 'a') || is(i-1, 'm') && is(i-2, 'p') || is(i-1, 'e') && is(i-2, 'v')
		}
		if found {
			return true
		}
	}
	return false
}
