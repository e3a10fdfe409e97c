// Package scenario runs the files of testdata/scenarios: each names one behaviour
// of the system, programs that show it, and what the record must say of them. The
// agent is a black box: it is started as its users start it, and asked with
// `sentineld query`.
//
// A file begins with what the behaviour is, in lines with a # in front, and may go
// on with directives:
//
//	agent: own FLAG...       an agent of its own, with these flags of `sentineld run`
//	agent: later FLAG...     the same, but the steps start it
//	under: PROGRAM ARG...    such an agent is started by this program
//	skip poll,procconn: WHY  not run with these backends
//	pending: WHY             the product cannot do it yet: not passing is no failure;
//	pending poll: WHY        the same for some backends
//
// Then come sections, each begun by a line `-- NAME --`:
//
//	-- config --             configuration file of an own agent
//	-- run --                the steps, one a line
//	-- expect --             what the record must hold afterwards, with every backend
//	-- expect poll --        and what with these instead
//
// A step is `[NAME =] VERB ARGUMENT... [-> exit N | -> signal N | -> any]`:
//
//	run PROGRAM ARG...       start a program and wait for its end; its input is empty
//	start PROGRAM ARG...     start a program whose input stays open
//	ready NAME               wait for the line "ready" of a started program
//	say NAME TEXT            write a line to its input
//	close NAME               close its input
//	signal NAME NUMBER       send it a signal
//	wait NAME                wait for its end
//	until SQL                wait until the query has a row
//	copy FROM TO [MODE [UID GID]], link TARGET NAME, mkdir DIR, remove PATH, write FILE MODE TEXT
//	setenv NAME VALUE        for programs that are started later
//	agent start|stop|kill    the agent of its own; kill is SIGKILL to both of its programs
//	table                    wait until the living processes of the record are those of /proc
//	logged TEXT              wait until the agent's log has it
//	status TEXT              wait until `sentineld status -o json` has it
//	memory MB                sentineld and procmond of its own agent have had at most so much resident, together, at their peaks
//	nowhere TEXT             neither the agent's files nor its output have it
//
// A word may be bare or in double quotes, with \n, \t, \xNN, \", \\ and \$ in it, or
// in single quotes, as it is. $NAME is the pid of a program, $NAME.process its identity as
// /proc shows it, $NAME.wall_ns how long it ran at most, and $NAME.x what it said on its
// output as x=VALUE; of one that has ended $NAME.code and $NAME.signal are what waitpid
// tells. Besides there are $dir (of the scenario, and where programs
// run), $base (its last name), $helpers, $runner (pid of the runner), $begin (Unix
// ns), $sh (what /bin/sh is), $backend, and $$ for the character. A program that
// ends with status 77 and has said skip=WHY shows that this system cannot run it: in CI
// that is a failure, but for what the runner lists.
//
// Expectations are queries, each followed by its rows as `sentineld query -o json`
// prints them, columns and rows in order, or by the line `no rows`.
package scenario

import (
	"fmt"
	"slices"
)

// Backends are the sources of events that scenarios are run with, best first.
var Backends = []string{"ebpf", "procconn", "poll"}

// File is one scenario.
type File struct {
	Name    string // without directory and suffix
	About   string
	Agent   Agent
	Config  string            // "" = none
	Skip    map[string]string // by backend, why
	Pending map[string]string // by backend, why
	Steps   []Step
	Expect  map[string][]Expectation // by backend; "" = all others
}

// Agent says which agent a scenario needs.
type Agent struct {
	Own   bool // else that of all scenarios
	Later bool // started by a step
	Flags []Word
	Under []Word
}

// Step is one line of the section run.
type Step struct {
	Line    int
	Name    string // "" = none
	Verb    string
	Args    []Word
	SQL     string // of until
	Outcome Outcome
}

// Outcome is how a program ends.
type Outcome struct {
	Code, Signal int
	Any          bool // however it ends
}

func (o Outcome) String() string {
	if o.Signal != 0 {
		return fmt.Sprintf("signal %d", o.Signal)
	}
	return fmt.Sprintf("exit %d", o.Code)
}

// Expectation is a query and its rows, one JSON object each.
type Expectation struct {
	Line int
	SQL  string
	Rows []string
}

// Expected are the expectations for a backend.
func (f *File) Expected(backend string) []Expectation {
	if e, ok := f.Expect[backend]; ok {
		return e
	}
	return f.Expect[""]
}

// checks are the verbs that can find the record wrong.
var checks = []string{"until", "table", "logged", "status", "nowhere"}

func (f *File) hasChecks() bool {
	return slices.ContainsFunc(f.Steps, func(s Step) bool { return slices.Contains(checks, s.Verb) })
}
