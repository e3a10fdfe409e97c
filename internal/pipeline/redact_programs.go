package pipeline

import "strings"

// program is what is known of how a program is told a secret, and how it executes
// another one that may be told one.
type program struct {
	rules    []rule
	optional bool   // the value of a long flag is behind = or a dash begins the next flag
	bools    string // letters of flags that take no value
	notes    string // of those, what then wants to know about
	values   string // letters of flags that take one
	longs    string // long flags that take one
	flags    string // long flags that take none, where all others do

	skip     int    // words that are no flags before a command that it executes
	joins    bool   // that is a text, all that follows together
	shell    bool   // -c is followed by a text that is one
	dashes   bool   // -- is followed by a command
	multi    bool   // it is the program that argv[0] names
	latest   bool   // exec -l stands for a container
	slashes  bool   // what begins with one slash is a flag
	searches bool   // its words are what to look for, and where
	starts   string // and so are these
	subs     string // subcommands that matter
	runs     string // of those, with a command behind them
	executes string // of those, with a command behind one more word

	// then says what a word that is no flag is; it may say what the next one is.
	then func(c *command, word string) kind
}

// noCommand is the skip of a program that executes none.
const noCommand = -1

// rule is a flag with a secret: one letter (-p), a long one (--pass, -passin), or
// that of Windows (/rp; with the value attached: /p:).
type rule struct {
	flag  string
	kind  kind
	form  form
	after string // only behind this subcommand
}

// form is where the value of a flag of one letter is.
type form uint8

const (
	either   form = iota // -pSECRET or -p SECRET
	attached             // -pSECRET; -p alone asks
	apart                // -p SECRET; -pxy are more flags
)

func (p *program) short(letter byte, seen string) *rule {
	for i := range p.rules {
		r := &p.rules[i]
		if len(r.flag) == 2 && r.flag[0] == '-' && r.flag[1] == letter && (r.after == "" || r.after == seen) {
			return r
		}
	}
	return nil
}

// lookup finds a program by the path, the name or argv[0] that it was executed
// by, without .exe and version: mysql5.7, psql-16.
func (r *Redactor) lookup(path string) *program {
	var buf [maxName]byte
	folded, ok := programName(&buf, path)
	if !ok {
		return nil
	}
	for {
		if len(r.programs) > 0 {
			if p := r.programs[string(folded)]; p != nil {
				return p
			}
		}
		if p := programs[string(folded)]; p != nil {
			return p
		}
		n := len(folded)
		for n > 1 && (isDigit(folded[n-1]) || folded[n-1] == '.' || folded[n-1] == '-') {
			n--
		}
		if n == len(folded) {
			return nil
		}
		folded = folded[:n]
	}
}

// programName is the name of a program in lower case, without what Windows or a
// script adds to it.
func programName(buf *[maxName]byte, path string) (name []byte, ok bool) {
	begin := len(path)
	for begin > 0 && path[begin-1] != '/' && path[begin-1] != '\\' {
		begin--
	}
	name, ok = lower(buf, strings.TrimPrefix(path[begin:], "-")) // of a login shell
	if n := len(name) - len(".exe"); n > 0 && string(name[n:]) == ".exe" {
		name = name[:n]
	} else if n := len(name) - len(".py"); n > 0 && string(name[n:]) == ".py" {
		name = name[:n]
	}
	if begin := len("impacket-"); len(name) > begin && string(name[:begin]) == "impacket-" {
		name = name[begin:]
	}
	return name, ok && len(name) > 0
}
