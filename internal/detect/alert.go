package detect

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/rule"
)

// maxTitle is the length of an alert's title in characters.
const maxTitle = 200

// maker makes alerts of the rows of one evaluation.
type maker struct {
	*side
	tables []*freshTable // where to find an event by its seq; nil for windows
	r      Range

	// What rules with a window have reported of the range before.
	reported map[*compiled]map[string]report

	lookups int // how many processes may still be looked for the slow way
	gaps    map[[2]int64]bool
}

// raise makes the alerts of all jobs.
func (e *Engine) raise(ctx context.Context, m *maker, jobs []*job, res *Result) error {
	m.lookups, m.gaps = maxLookups, map[[2]int64]bool{}
	now := e.o.Now().UnixNano()
	before, reported := len(res.Alerts), map[*compiled]map[string]report{}
	err := m.WithDeadline(ctx, fillFactor*e.o.Deadline, func() error {
		ids := map[string]bool{}
		for _, j := range jobs {
			res.Cut += j.cut
			for i := range j.rows {
				n := i
				if j.unhashed != nil {
					n += lateRows
				}
				a, err := m.alert(j, &j.rows[i], n)
				if err != nil {
					return err
				}
				if j.c.rule.Window > 0 {
					key := a.Key
					if j.rows[i].seq != 0 { // single events in a window are not one finding
						key = a.ID
					}
					if reported[j.c] == nil {
						reported[j.c] = map[string]report{}
					}
					if j.c.repeats(key, j.lo, m.r.FromSeq, reported[j.c], m.reported[j.c]) {
						continue
					}
					reported[j.c][key] = report{j.hi, m.r.ToSeq}
				}
				if ids[a.ID] || j.c.hashes.state && j.c.foundBefore(a.ID, m.r, j.unhashed != nil) {
					continue
				}
				ids[a.ID] = true
				a.Time = now
				res.Alerts = append(res.Alerts, a)
			}
		}
		return nil
	})
	if err != nil {
		res.Alerts = res.Alerts[:before]
		return fmt.Errorf("collect evidence: %w", err)
	}
	for c, list := range reported {
		m.reported[c] = addReports(m.reported[c], list, c.rule.Window)
	}
	return nil
}

func (m *maker) alert(j *job, r *row, n int) (event.Alert, error) {
	rl := j.c.rule
	found, err := m.find(r)
	if err != nil {
		return event.Alert{}, err
	}
	a := event.Alert{
		ID: alertID(j.c, r, m.r.ToSeq, n), RuleID: rl.ID, RuleName: rl.Title, RuleVersion: rl.Version, Author: rl.Author,
		Severity: rl.Severity, Tags: rl.Tags, State: "open", Count: 1, Process: found.process, Evidence: found.evidence,
	}
	a.Evidence.Row = r.json
	a.Key = foldKey(rl, r, found)
	a.Title = title(rl, r, found)
	a.LastSeen = r.ts
	if a.LastSeen == 0 {
		a.LastSeen = found.ts
	}
	if a.LastSeen == 0 {
		a.LastSeen = j.hi
	}
	a.FirstSeen = a.LastSeen
	if r.first != 0 && r.first < a.LastSeen {
		a.FirstSeen = r.first
	}
	a.LookedFrom, a.LookedUntil = j.lo, j.hi
	a.Complete, err = m.complete(j.lo, j.hi)
	return a, err
}

// lateRows keeps the rows of execs whose hash came late apart from the others of an
// evaluation.
const lateRows = 1 << 24

// alertID is equal for equal evidence. A row without seq does not tell which
// event it is of, so that the place in the stream has to. One with seq is the
// same with a hash and without; so is one with a process alone, of a rule that
// may find it a second time when a hash comes late.
func alertID(c *compiled, r *row, toSeq int64, n int) string {
	rl := c.rule
	h := sha256.New()
	for _, s := range [...]string{rl.ID, rl.Version, string(r.identity())} {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	if r.seq == 0 && rl.Window == 0 && (!c.hashes.state || r.process == "") {
		h.Write(binary.AppendUvarint(binary.AppendVarint(nil, toSeq), uint64(n)))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// foldKey tells repeats from new alerts of one rule: see rule.Rule.Key. Of a row
// without a process the text columns are taken, since numbers are mostly counts
// and times, that change while the finding stays the same.
func foldKey(rl *rule.Rule, r *row, f found) string {
	var parts []string
	switch p := f.evidence.Process; {
	case len(rl.Key) > 0:
		for _, k := range rl.Key {
			parts = append(parts, r.get(k))
		}
	case p != nil:
		parent := ""
		if f.evidence.Parent != nil {
			parent = f.evidence.Parent.Exe
		}
		user := p.User
		if user == "" && p.UID != nil {
			user = fmt.Sprint(*p.UID)
		}
		parts = []string{p.Exe, parent, user}
	default:
		for _, v := range r.values {
			if !v.number && !v.null && v.column != "time" {
				parts = append(parts, v.text)
			}
		}
	}
	key := []byte{'['}
	for i, p := range parts {
		if i > 0 {
			key = append(key, ',')
		}
		key = appendJSON(key, p)
	}
	if key = append(key, ']'); len(key) > 1024 { // it is indexed
		sum := sha256.Sum256(key)
		return hex.EncodeToString(sum[:])
	}
	return string(key)
}

// title is RULE: WHAT (pid PID, parent NAME).
func title(rl *rule.Rule, r *row, f found) string {
	what, p := "", f.evidence.Process
	if r.seq != 0 {
		if what = r.get("cmdline"); what == "" && p != nil {
			what = p.Cmdline
		}
		if what == "" && p != nil {
			what = p.Exe
		}
	}
	if what == "" { // a group of events, or one without a program
		var parts []string
		for _, v := range r.values {
			if !v.null && v.text != "" && !slices.Contains([]string{"seq", "ts", "first_ts", "time", "process"}, v.column) {
				parts = append(parts, v.column+"="+v.text)
			}
		}
		what = strings.Join(parts, " ")
	}
	tail := ""
	if p != nil {
		tail = fmt.Sprintf(" (pid %d", p.PID)
		if parent := f.evidence.Parent; parent != nil && parent.Exe != "" {
			tail += ", parent " + oneLine(parent.Exe[strings.LastIndexByte(parent.Exe, '/')+1:], 40)
		}
		tail += ")"
	}
	head := oneLine(rl.Title, maxTitle/2)
	if what == "" {
		return head + tail
	}
	return head + ": " + oneLine(what, max(20, maxTitle-2-len([]rune(head))-len([]rune(tail)))) + tail
}

// complete reports whether no event was lost in a time range.
func (m *maker) complete(lo, hi int64) (bool, error) {
	at := [2]int64{lo, hi}
	if whole, ok := m.gaps[at]; ok {
		return whole, nil
	}
	whole := true
	err := m.each("SELECT 1 FROM main.gaps WHERE +ts <= ?2 AND until >= ?1 LIMIT 1", func(*sqlite.Stmt) { whole = false }, lo, hi)
	m.gaps[at] = whole
	return whole, err
}
