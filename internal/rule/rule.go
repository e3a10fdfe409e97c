// Package rule reads detection rules: one YAML file each, with a SELECT over
// the event views as its condition. It checks everything that can be checked
// without a database, and says where in the file a problem is and how to mend
// it. What a rule's SQL means is judged by the event store, when package detect
// prepares it there.
package rule

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/sentineld/sentineld/internal/event"
)

// Limits of a rule file.
const (
	MaxFileBytes = 64 << 10
	MaxSQLBytes  = 16 << 10 // the event store's own limit of a statement
	MinWindow    = time.Second
	MaxWindow    = 24 * time.Hour
)

// Rule is one detection rule. It is not changed after it was parsed.
type Rule struct {
	ID          string // lower-case letters, digits, dashes; unique in a set
	Title       string
	Severity    event.Severity
	Description string
	Author      string
	References  []string
	Tags        []string // ATT&CK: attack.execution, attack.t1059.004
	SQL         string   // one SELECT over the views

	// Window is the time range that the SQL sees, ending now. Zero means that
	// it sees each event exactly once, when it is new.
	Window time.Duration

	// Key names the result columns that tell repeats from new alerts. Empty
	// means executable, parent executable and user of the matched process, or,
	// for a result without a process, all columns that are no numbers.
	Key []string

	Disabled bool
	Version  string // hash of what the rule does: SQL, Window, Key
	File     string // where it was read from

	source []byte // the file's text and where the SQL starts in it, for ErrorAt
	sql    span
}

// Hash is the Version of a rule that does what r does. Text for people is not
// part of it: a better description does not make the same finding a new one.
func (r *Rule) Hash() string {
	h := sha256.New()
	field := func(s string) {
		h.Write(binary.AppendUvarint(nil, uint64(len(s)))) // so that no two lists of fields read the same
		h.Write([]byte(s))
	}
	field(r.SQL)
	field(r.Window.String())
	for _, k := range r.Key {
		field(k)
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// ErrorAt is a problem of r's SQL, found by whoever prepared it. Offset is in
// bytes from the start of the SQL, negative when not known. The position is in
// coordinates of the rule's file.
func (r *Rule) ErrorAt(offset int, problem, hint string) *Error {
	if r.source == nil {
		return &Error{File: r.File, Problem: problem, Hint: hint}
	}
	return newError(r.File, r.source, r.sql.locate(r.source, r.SQL, offset), problem, hint)
}

// ErrorIn is a problem of the value of one of the file's keys, such as "key".
func (r *Rule) ErrorIn(key, problem, hint string) *Error {
	doc, err := parseMapping(r.File, r.source)
	if err == nil {
		for _, entry := range doc.Values {
			if entry.Key.GetToken().Value == key {
				return newError(r.File, r.source, offsetOf(r.source, entry.Value.GetToken()), problem, hint)
			}
		}
	}
	return &Error{File: r.File, Problem: problem, Hint: hint}
}
