package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
	"zombiezen.com/go/sqlite"

	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/config"
	"github.com/sentineld/sentineld/internal/store"
)

// shell reads queries from a terminal until its end. Each is answered as the
// command with that SQL would be, on a session of its own.
type shell struct {
	q       queryCmd
	c       *config.Config
	std     streams
	in      *os.File
	keys    *keyReader
	term    *term.Terminal
	catalog map[string][]string // columns by view
	words   []string            // that Tab completes
	pending string              // of a statement, up to its semicolon
	params  params
}

const (
	prompt     = "sentineld> "
	promptMore = "      ...> "
)

// shell asks for queries on the terminal that is std.in.
func (q *queryCmd) shell(ctx context.Context, c *config.Config, std streams, p params) error {
	in, ok := std.in.(*os.File)
	if !ok || !isTerminal(std.out) || !term.IsTerminal(int(in.Fd())) {
		return cli.Usagef("query: no SQL (give it as an argument, or - for standard input; on a terminal without either it asks)")
	}
	s, err := openSession(ctx, c.DataDir)
	if err != nil {
		return err
	}
	catalog := map[string][]string{}
	for _, view := range store.Views() {
		catalog[view] = viewColumns(s, view)
	}
	if err := s.Close(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	sh := &shell{q: *q, c: c, std: std, in: in, catalog: catalog, keys: &keyReader{r: &interruptible{r: in, stop: ctx.Done()}}, params: p}
	sh.words = sh.completions()
	sh.term = term.NewTerminal(readWriter{sh.keys, std.out}, prompt)
	sh.term.AutoCompleteCallback = sh.complete
	sh.term.History = openHistory(historyPath())
	fmt.Fprintln(std.out, "A query ends with a semicolon. .help tells more, Tab completes, Ctrl-D leaves.")
	for {
		line, err := sh.readLine()
		switch {
		case errors.Is(err, io.EOF):
			fmt.Fprintln(std.out)
			if ctx.Err() != nil {
				return errors.New("query: interrupted")
			}
			return nil
		case err != nil:
			return fmt.Errorf("query: read from the terminal: %w", err)
		}
		if sh.line(ctx, line) {
			return nil
		}
		if ctx.Err() != nil {
			return errors.New("query: interrupted")
		}
	}
}

// readLine reads one line with the terminal in raw mode, so that between lines
// Ctrl-C interrupts what runs.
func (sh *shell) readLine() (line string, err error) {
	if width, height, err := term.GetSize(int(sh.in.Fd())); err == nil && width > 0 {
		_ = sh.term.SetSize(width, height) // it only draws anew
	}
	old, err := term.MakeRaw(int(sh.in.Fd()))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, term.Restore(int(sh.in.Fd()), old)) }()
	sh.term.SetPrompt(prompt)
	if sh.pending != "" {
		sh.term.SetPrompt(promptMore)
	}
	line, err = sh.term.ReadLine()
	if errors.Is(err, term.ErrPasteIndicator) {
		err = nil
	}
	if sh.keys.takeCancelled() {
		sh.pending, line = "", ""
	}
	return line, err
}

// line takes one line. True: it was the last.
func (sh *shell) line(ctx context.Context, line string) (leave bool) {
	if sh.pending == "" && strings.HasPrefix(strings.TrimSpace(line), ".") {
		word, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		leave, err := sh.command(word, strings.TrimSpace(arg))
		if err != nil {
			sh.complain(err)
		}
		return leave
	}
	if strings.TrimSpace(line) == "" && sh.pending == "" {
		return false
	}
	sh.pending += line + "\n"
	if !store.Complete(sh.pending) {
		return false
	}
	q := sh.q
	q.SQL, sh.pending = sh.pending, ""
	if err := q.answer(ctx, sh.c, sh.std, sh.bind); err != nil && !errors.Is(err, cli.ErrIncomplete) {
		sh.complain(err)
	}
	return false
}

// bind gives a statement those of the values that it asks for.
func (sh *shell) bind(stmt *sqlite.Stmt) error {
	if err := sh.params.bind(stmt, ".param"); !errors.Is(err, errUnused) {
		return err
	}
	return nil
}

func (sh *shell) complain(err error) { fmt.Fprintln(sh.std.err, "error: "+inShell(err).Error()) }

const shellHelp = `.tables            the views
.schema [VIEW]     their columns
.examples          queries to begin with
.mode MODE         how answers look: table, json, csv or markdown
.since [TIME]      only what happened at TIME or later (2h, 7d, today, RFC 3339); without TIME: all
.until [TIME]      only what happened before TIME
.limit [N]         at most N rows
.param NAME=VALUE  value of :NAME in queries; .param NAME takes it back, .param lists them
.quit              leave
`

// shellExamples are tried by a test.
var shellExamples = []struct{ what, sql string }{
	{"what ran last", "SELECT time, user, cmdline FROM execs ORDER BY ts DESC LIMIT 20;"},
	{"who started it", "SELECT time, cmdline, parent_cmdline, ancestors FROM execs WHERE name = 'curl';"},
	{"what was run most", "SELECT exe, count(*) AS n FROM execs GROUP BY exe ORDER BY n DESC LIMIT 20;"},
	{"what runs now", "SELECT pid, user, cmdline FROM processes WHERE ended IS NULL;"},
	{"what was killed", "SELECT x.time, p.exe, x.signal FROM exits x JOIN processes p ON p.process = x.process WHERE x.signal > 0;"},
	{"programs that changed", "SELECT time, exe, sha256, previous FROM binaries WHERE previous IS NOT NULL ORDER BY ts;"},
	{"what ran in containers", "SELECT container_id, exe, count(*) AS n FROM execs WHERE container_id <> '' GROUP BY 1, 2;"},
	{"what could not be seen", "SELECT time, kind, lost, cause FROM gaps ORDER BY ts DESC;"},
}

// command runs a line that begins with a dot.
func (sh *shell) command(word, arg string) (leave bool, err error) {
	out := sh.std.out
	switch word {
	case ".quit", ".exit":
		return true, nil
	case ".help":
		fmt.Fprint(out, shellHelp)
	case ".tables":
		fmt.Fprintln(out, strings.Join(store.Views(), "\n"))
	case ".schema":
		if arg != "" && sh.catalog[arg] == nil {
			return false, fmt.Errorf("there is no view %q (the views are %s)", arg, strings.Join(store.Views(), ", "))
		}
		for _, view := range store.Views() {
			if arg == "" || arg == view {
				fmt.Fprintf(out, "%s(%s)\n", view, strings.Join(sh.catalog[view], ", "))
			}
		}
	case ".examples":
		for _, e := range shellExamples {
			fmt.Fprintf(out, "-- %s\n%s\n", e.what, e.sql)
		}
	case ".mode":
		modes := []string{"table", "json", "csv", "markdown"}
		if !slices.Contains(modes, arg) {
			return false, fmt.Errorf(".mode %s: want one of %s", arg, strings.Join(modes, ", "))
		}
		sh.q.Output = arg
	case ".since", ".until":
		return false, sh.setRange(word, arg)
	case ".limit":
		n := int64(0)
		if arg != "" {
			if _, err := fmt.Sscanf(arg+"\n", "%d\n", &n); err != nil || n < 0 {
				return false, fmt.Errorf(".limit %s: want a number", arg)
			}
		}
		sh.q.Limit = n
	case ".param":
		return false, sh.setParam(arg)
	default:
		return false, fmt.Errorf("there is no command %s (.help lists them)", safe(word))
	}
	return false, nil
}

func (sh *shell) setRange(which, arg string) error {
	f := sh.q.rangeFlags
	if which == ".since" {
		f.Since = arg
	} else {
		f.Until = arg
	}
	if _, err := f.parse(time.Now()); err != nil {
		return err
	}
	sh.q.rangeFlags = f
	return nil
}

func (sh *shell) setParam(arg string) error {
	if arg == "" {
		for _, name := range slices.Sorted(maps.Keys(sh.params)) {
			fmt.Fprintf(sh.std.out, "%s = %s\n", name, safe(plain(sh.params[name])))
		}
		return nil
	}
	if m := paramName.FindStringSubmatch(arg); m != nil {
		if _, ok := sh.params[m[1]]; ok {
			delete(sh.params, m[1])
			return nil
		}
	}
	p, err := parseParams([]string{arg})
	maps.Copy(sh.params, p)
	return err
}

// completions are all words that can be meant: views, columns, functions, what SQL
// begins with, and commands.
func (sh *shell) completions() []string {
	words := strings.Fields("SELECT FROM WHERE GROUP BY HAVING ORDER LIMIT JOIN ON AND OR NOT NULL LIKE GLOB REGEXP BETWEEN EXISTS DISTINCT WITH UNION CASE WHEN THEN ELSE END DESC")
	words = append(words, store.Functions()...)
	for view, columns := range sh.catalog {
		words = append(append(words, view), columns...)
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// complete is called for each key; it answers to Tab.
func (sh *shell) complete(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	start := pos
	for start > 0 && (isWord(line[start-1]) || start == 1 && line[0] == '.') {
		start--
	}
	word := line[start:pos]
	var fit []string
	for _, c := range sh.candidates(line[:start]) {
		if len(c) >= len(word) && strings.EqualFold(c[:len(word)], word) {
			fit = append(fit, c)
		}
	}
	if len(fit) == 0 || word == "" {
		return line, pos, true
	}
	common := fit[0]
	for _, f := range fit[1:] {
		for !strings.HasPrefix(f, common) {
			common = common[:len(common)-1]
		}
	}
	if len(fit) == 1 {
		common += " "
	} else if len(common) <= len(word) {
		fmt.Fprintln(sh.term, strings.Join(fit, "  "))
		return line, pos, true
	}
	return line[:start] + common + line[pos:], start + len(common), true
}

// candidates are what may follow before.
func (sh *shell) candidates(before string) []string {
	fields := strings.Fields(before)
	switch {
	case len(fields) == 0 && sh.pending == "":
		words := slices.Clone(sh.words)
		for _, l := range strings.Split(strings.TrimSpace(shellHelp), "\n") {
			words = append(words, strings.Fields(l)[0])
		}
		return words
	case len(fields) == 0:
		return sh.words
	case slices.Contains([]string{"from", "join", ".schema"}, strings.ToLower(fields[len(fields)-1])):
		return store.Views()
	}
	if view, ok := strings.CutSuffix(fields[len(fields)-1], "."); ok && strings.HasSuffix(before, ".") {
		if columns := sh.catalog[view]; columns != nil {
			return columns
		}
	}
	return sh.words
}

func isWord(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'z'
}
