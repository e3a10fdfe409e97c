package event

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Severity of a rule and of its alerts, in rising order.
type Severity uint8

// The severities are stored: never renumber them.
const (
	SeverityLow Severity = 1 + iota
	SeverityMedium
	SeverityHigh
	SeverityCritical
)

var severityNames = [...]string{"", "low", "medium", "high", "critical"}

func (s Severity) String() string {
	if s == 0 || int(s) >= len(severityNames) {
		return "unknown"
	}
	return severityNames[s]
}

// ParseSeverity reads the name of a severity.
func ParseSeverity(name string) (Severity, error) {
	for i, n := range severityNames {
		if i > 0 && n == name {
			return Severity(i), nil
		}
	}
	return 0, fmt.Errorf("severity %q: want %s", name, strings.Join(severityNames[1:], ", "))
}

// Alert is one detection: a rule that matched, what it matched, and how often
// since. It is made by the detection engine, folded and kept by the store, and
// delivered by the alert dispatcher.
type Alert struct {
	ID          string // deterministic: the same rule and evidence give the same id
	Time        int64  // when it was raised, Unix ns
	RuleID      string
	RuleName    string // the rule's title
	RuleVersion string // hash of what the rule does; see rule.Rule
	Author      string // of the rule; every sink names it when it is set
	Severity    Severity
	Tags        []string // ATT&CK technique and tactic tags of the rule
	Title       string   // one line for people: the rule's title and what matched
	State       string   // open, acknowledged, closed
	Key         string   // repeats of one rule with one key are folded
	Count       uint64
	FirstSeen   int64 // time of the first matched event, Unix ns
	LastSeen    int64
	Process     string // ProcessKey of the matched process as text, "" = none
	Evidence    Evidence
	// The time whose events the rule looked at, Unix ns; 0 = FirstSeen and LastSeen.
	LookedFrom, LookedUntil int64
	Complete                bool // false: events were lost in that time
}

// Evidence is what an alert rests on.
type Evidence struct {
	Row     json.RawMessage `json:"row"`               // the rule's result row, an object by column
	Process *ProcessInfo    `json:"process,omitempty"` // the matched process with the exec that matched
	Parent  *ProcessInfo    `json:"parent,omitempty"`
	// Ancestors are executable paths, nearest first; the parent is the first.
	Ancestors []string `json:"ancestors,omitempty"`
}

// ProcessInfo shows a process to people. What is not known is nil or left out.
type ProcessInfo struct {
	Process     string `json:"process"`
	PID         int64  `json:"pid"`
	Exe         string `json:"exe,omitempty"`
	Cmdline     string `json:"cmdline,omitempty"`
	UID         *int64 `json:"uid,omitempty"`
	User        string `json:"user,omitempty"`
	Cwd         string `json:"cwd,omitempty"`
	ContainerID string `json:"container_id,omitempty"`
}
