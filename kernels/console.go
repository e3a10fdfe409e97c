package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// mark begins what the guest reports on its serial console, among what the
// firmware and the kernel write there.
const mark = "@@guest "

// record is one line of a guest's report, as JSON after mark.
type record struct {
	Job     string  `json:"job,omitempty"`     // a program that runs in the guest
	Line    *string `json:"line,omitempty"`    // of its output
	Fact    string  `json:"fact,omitempty"`    // something found out,
	Value   string  `json:"value,omitempty"`   // and what
	Skip    string  `json:"skip,omitempty"`    // why the boot is pointless
	Problem string  `json:"problem,omitempty"` // what the guest itself could not do
	End     bool    `json:"end,omitempty"`     // of the job; without a job, of the guest
	Code    int     `json:"code,omitempty"`    // exit code of the job
	Seconds float64 `json:"seconds,omitempty"` // that it took
}

// decode reads a line of the console. ok is false for one that is not the
// guest's.
func decode(line string) (r record, ok bool, err error) {
	_, report, ok := strings.Cut(line, mark)
	if !ok {
		return r, false, nil
	}
	if err := json.Unmarshal([]byte(report), &r); err != nil {
		return record{}, true, fmt.Errorf("garbled report of the guest: %w: %.200q", err, report)
	}
	return r, true, nil
}

// job is what came of one program in the guest.
type job struct {
	name    string
	lines   []string
	ended   bool
	code    int
	seconds float64
}

// report is all that a guest told.
type report struct {
	jobs     []*job
	facts    map[string]string
	skip     string
	problems []string
	ended    bool
}

// add takes one record in.
func (r *report) add(x record) {
	if r.facts == nil {
		r.facts = map[string]string{}
	}
	switch {
	case x.Fact != "":
		r.facts[x.Fact] = x.Value
	case x.Skip != "":
		r.skip = x.Skip
	case x.Problem != "":
		r.problems = append(r.problems, x.Problem)
	case x.Job != "":
		j := r.job(x.Job)
		if x.Line != nil {
			j.lines = append(j.lines, *x.Line)
		}
		if x.End {
			j.ended, j.code, j.seconds = true, x.Code, x.Seconds
		}
	case x.End:
		r.ended = true
	}
}

func (r *report) job(name string) *job {
	for _, j := range r.jobs {
		if j.name == name {
			return j
		}
	}
	j := &job{name: name}
	r.jobs = append(r.jobs, j)
	return j
}

// counts are results of tests.
type counts struct {
	passed, failed, skipped int
	failures, reasons       []string // names; "name: why it was skipped"
}

func (c *counts) add(o counts) {
	c.passed, c.failed, c.skipped = c.passed+o.passed, c.failed+o.failed, c.skipped+o.skipped
	c.failures, c.reasons = append(c.failures, o.failures...), append(c.reasons, o.reasons...)
}

func (c counts) String() string { return fmt.Sprintf("%d/%d/%d", c.passed, c.failed, c.skipped) }

var (
	turn     = regexp.MustCompile(`^=== (?:RUN|NAME|CONT) +(\S+)`)
	verdict  = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+)`)
	message  = regexp.MustCompile(`^\s+\w+\.go:\d+: (.*)`)
	totals   = regexp.MustCompile(`scenarios (\w+): (\d+) passed, (\d+) failed, (\d+) skipped`)
	selfRuns = regexp.MustCompile(`✓ (\w+) +would run(?: \((.+)\))?`)
)

// tests counts the verdicts in the output of a Go test binary under -test.v, where
// the verdicts of subtests come after all that the others say. A binary that ends badly without a failed test, or not at all, has failed.
func (j *job) tests() counts {
	var c counts
	now, said := "", map[string]string{} // whose turn it is; the last message of each test
	for _, line := range j.lines {
		if m := turn.FindStringSubmatch(line); m != nil {
			now = m[1]
		}
		if m := message.FindStringSubmatch(line); m != nil {
			said[now] = m[1]
		}
		m := verdict.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name := j.name + " " + m[2]
		switch m[1] {
		case "PASS":
			c.passed++
		case "FAIL":
			c.failed++
			c.failures = append(c.failures, name)
		case "SKIP":
			c.skipped++
			c.reasons = append(c.reasons, name+": "+strings.TrimPrefix(said[m[2]], "SKIPPED: "))
		}
	}
	j.fallen(&c)
	return c
}

// scenarios sums up what the scenario runner says per backend.
func (j *job) scenarios() (text string, c counts) {
	var each []string
	for _, line := range j.lines {
		m := totals.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		backend := counts{passed: atoi(m[2]), failed: atoi(m[3]), skipped: atoi(m[4])}
		each = append(each, m[1]+" "+backend.String())
		if backend.passed+backend.failed+backend.skipped == 0 {
			backend.failed, backend.failures = 1, []string{j.name + " ran none with " + m[1]}
		}
		c.add(backend)
	}
	t := j.tests()
	c.failures, c.reasons = append(c.failures, t.failures...), t.reasons
	c.failed = max(c.failed, t.failed)
	if len(each) == 0 && c.failed == 0 {
		c.failed, c.failures = 1, append(c.failures, j.name+" told no totals")
	}
	return strings.Join(each, ", "), c
}

func (j *job) fallen(c *counts) {
	switch {
	case !j.ended:
		c.failed++
		c.failures = append(c.failures, j.name+" did not end")
	case j.code != 0 && c.failed == 0:
		c.failed++
		c.failures = append(c.failures, fmt.Sprintf("%s ended with exit code %d", j.name, j.code))
	case c.passed+c.failed+c.skipped == 0:
		c.failed++
		c.failures = append(c.failures, j.name+" ran no test")
	}
}

// atoi is of digits that a pattern matched.
func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 1 << 30 // more digits than any count has
	}
	return n
}

// attached is the source that self-check would run, and how.
func (j *job) attached() string {
	for _, line := range j.lines {
		if m := selfRuns.FindStringSubmatch(line); m != nil {
			return strings.TrimSpace(m[1] + " " + m[2])
		}
	}
	return ""
}
