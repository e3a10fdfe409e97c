package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// tables are the results, in Markdown.
type tables struct {
	suites, specials []string
	failures         []string // what failed where, with what helps to see why
	skips            []string
}

// addSuite takes in the boot with all tests.
func (t *tables) addSuite(k target, o *outcome) {
	attached, goTests, scenarios, perBackend := "", counts{}, counts{}, ""
	where := release(k.image)
	problems := slices.Clone(o.problems)
	for _, j := range o.jobs {
		var c counts
		switch j.name {
		case "self-check":
			if attached = j.attached(); attached == "" || j.code != 0 {
				problems = append(problems, fmt.Sprintf("self-check ended with exit code %d:\n    %s", j.code, strings.Join(j.lines, "\n    ")))
			}
			continue
		case "scenarios":
			perBackend, c = j.scenarios()
			scenarios.add(c)
		default:
			c = j.tests()
			goTests.add(c)
		}
		if c.failed > 0 {
			problems = append(problems, strings.Join(c.failures, ", ")+":\n    "+strings.Join(j.excerpt(), "\n    "))
		}
		for _, r := range c.reasons {
			t.skips = append(t.skips, where+": "+r)
		}
	}
	if len(o.jobs) < 2 {
		problems = append(problems, "the tests did not run")
	}
	if perBackend == "" {
		perBackend = "none yet"
		if scenarios.failed > 0 {
			perBackend = scenarios.String()
		}
	}
	t.fail(where+" "+suite, problems, o)
	t.suites = append(t.suites, fmt.Sprintf("| %s | %s | %s | %s | %s | %.0f |", where, k.arch, attached, goTests, perBackend, o.seconds))
}

// addBoot takes in a boot under particular conditions.
func (t *tables) addBoot(k target, b boot, o *outcome) {
	problems := slices.Clone(o.problems)
	result := "as expected"
	if o.skip != "" {
		result = "skipped: " + o.skip
	} else {
		problems = append(problems, b.judge(o.facts)...)
	}
	if len(problems) > 0 {
		result = "FAILED"
	}
	t.fail(release(k.image)+" "+b.name, problems, o)
	source := o.facts["source"]
	if why := o.facts["refused ebpf"]; why != "" {
		source += "; no ebpf: " + why
	}
	if c := o.facts["cgroup"]; c != "" {
		source += "; cgroup " + strings.ReplaceAll(c, container, "ID")
	}
	t.specials = append(t.specials, fmt.Sprintf("| %s | %s | %s | %s | %.0f |", b.name, release(k.image), result, strings.TrimPrefix(source, "; "), o.seconds))
}

// omit takes in a boot whose kernel was not chosen.
func (t *tables) omit(b boot) {
	want := b.series
	if want == "" {
		want = "amd64"
	}
	t.specials = append(t.specials, fmt.Sprintf("| %s | - | not run | no kernel %s was chosen | - |", b.name, want))
}

func (t *tables) fail(where string, problems []string, o *outcome) {
	if len(problems) == 0 {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s:\n", where)
	for _, p := range problems {
		fmt.Fprintf(&b, "  %s\n", p)
	}
	if !o.ended {
		fmt.Fprintf(&b, "  the console's last lines:\n    %s\n", strings.Join(o.tail, "\n    "))
	}
	t.failures = append(t.failures, b.String())
}

// excerptLines is how much of a failed test's output is shown.
const excerptLines = 60

// excerpt is the output of tests without what passed.
func (j *job) excerpt() []string {
	var list []string
	for _, line := range j.lines {
		s := strings.TrimSpace(line)
		if strings.HasPrefix(s, "=== ") || strings.HasPrefix(s, "--- PASS") || strings.HasPrefix(s, "--- SKIP") || s == "PASS" {
			continue
		}
		list = append(list, line)
	}
	if len(list) > excerptLines {
		list = append(list[:excerptLines:excerptLines], fmt.Sprintf("... and %d lines more", len(list)-excerptLines))
	}
	return list
}

func (t *tables) print(w io.Writer) {
	if len(t.suites) > 0 {
		fmt.Fprint(w, "| kernel | arch | programs attached | Go tests passed/failed/skipped | scenarios passed/failed/skipped | seconds |\n|---|---|---|---|---|---|\n")
		fmt.Fprintln(w, strings.Join(t.suites, "\n"))
	}
	if len(t.specials) > 0 {
		fmt.Fprint(w, "\n| condition | kernel | result | what procmond did | seconds |\n|---|---|---|---|---|\n")
		fmt.Fprintln(w, strings.Join(t.specials, "\n"))
	}
	if len(t.skips) > 0 {
		fmt.Fprintf(w, "\n%d skipped:\n  %s\n", len(t.skips), strings.Join(t.skips, "\n  "))
	}
	if len(t.failures) > 0 {
		fmt.Fprintf(w, "\nFAILED:\n%s", strings.Join(t.failures, "\n"))
	}
}
