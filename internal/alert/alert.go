// Package alert delivers alerts: it shows them to people and programs through
// sinks, one file each.
package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sentineld/sentineld/internal/event"
)

// Sink is a place where alerts go. Deliver is called by one goroutine.
type Sink interface {
	Name() string
	Deliver(ctx context.Context, a *event.Alert) error
}

// Writer is a sink that writes a line an alert to a stream.
type Writer struct {
	W    io.Writer
	JSON bool
}

// Name implements Sink.
func (w *Writer) Name() string { return "stdout" }

// Deliver implements Sink.
func (w *Writer) Deliver(_ context.Context, a *event.Alert) error {
	var line []byte
	if w.JSON {
		line = append(AppendJSON(nil, a), '\n')
	} else {
		line = append(AppendText(nil, a), '\n')
	}
	_, err := w.W.Write(line)
	return err
}

// File is a sink that appends a JSON object a line to a file, which is opened
// for each alert, so that it may be moved away at any time.
type File struct{ Path string }

// Name implements Sink.
func (f *File) Name() string { return "file" }

// Deliver implements Sink.
func (f *File) Deliver(_ context.Context, a *event.Alert) (err error) {
	file, err := os.OpenFile(f.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	n, err := file.Write(append(AppendJSON(nil, a), '\n'))
	if err != nil && n > 0 {
		// The next line must not be glued to half a line. A full disk still allows
		// to make a file shorter.
		if st, statErr := file.Stat(); statErr == nil {
			_ = file.Truncate(st.Size() - int64(n))
		}
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Check tells whether the file can be written.
func (f *File) Check() error {
	file, err := os.OpenFile(f.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// shown is the JSON form of an alert.
type shown struct {
	Kind        string         `json:"kind"`
	ID          string         `json:"id"`
	TS          int64          `json:"ts"`
	Time        string         `json:"time"`
	RuleID      string         `json:"rule_id"`
	RuleName    string         `json:"rule_name"`
	RuleVersion string         `json:"rule_version"`
	Author      string         `json:"author,omitempty"`
	Severity    string         `json:"severity"`
	Tags        []string       `json:"tags,omitempty"`
	Title       string         `json:"title"`
	State       string         `json:"state"`
	Count       uint64         `json:"count"`
	FirstSeen   int64          `json:"first_seen"`
	LastSeen    int64          `json:"last_seen"`
	Process     string         `json:"process,omitempty"`
	Evidence    event.Evidence `json:"evidence"`
	Complete    bool           `json:"complete"`
}

// AppendJSON appends an alert as one JSON object.
func AppendJSON(dst []byte, a *event.Alert) []byte {
	b, err := json.Marshal(shown{
		Kind: "alert", ID: a.ID, TS: a.Time, Time: event.FormatTime(a.Time), RuleID: a.RuleID, RuleName: a.RuleName,
		RuleVersion: a.RuleVersion, Author: a.Author, Severity: a.Severity.String(), Tags: a.Tags, Title: a.Title,
		State: a.State, Count: a.Count, FirstSeen: a.FirstSeen, LastSeen: a.LastSeen, Process: a.Process,
		Evidence: a.Evidence, Complete: a.Complete,
	})
	if err != nil { // Evidence.Row is not JSON: show the rest
		a := *a
		a.Evidence.Row = nil
		return AppendJSON(dst, &a)
	}
	return append(dst, b...)
}

// AppendText appends an alert as one line for people, in local time. Whatever
// could steer a terminal is escaped.
func AppendText(dst []byte, a *event.Alert) []byte {
	dst = time.Unix(0, a.Time).AppendFormat(dst, "15:04:05.000 ")
	dst = fmt.Appendf(dst, "ALERT %-8s %s: ", strings.ToUpper(a.Severity.String()), a.RuleID)
	dst = AppendSafe(dst, a.Title)
	if len(a.Evidence.Ancestors) > 0 {
		dst = append(dst, "  ← "...)
		for i, exe := range a.Evidence.Ancestors {
			if i > 0 {
				dst = append(dst, " ← "...)
			}
			dst = AppendSafe(dst, exe[strings.LastIndexByte(exe, '/')+1:])
		}
	}
	if a.Author != "" {
		dst = append(dst, "  [rule by "...)
		dst = append(AppendSafe(dst, a.Author), ']')
	}
	if !a.Complete {
		dst = append(dst, "  (incomplete: events were lost in this time)"...)
	}
	return dst
}

// AppendSafe appends s with all that could steer a terminal or break the line as
// \n, \t, \xNN or \uNNNN: control characters, changes of writing direction, line
// separators, and bytes that are not UTF-8.
func AppendSafe(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r < ' ' || r == 0x7f || r == utf8.RuneError && size == 1:
			dst = fmt.Appendf(dst, `\x%02x`, s[i])
		case r >= 0x80 && r < 0xa0, r >= 0x80 && unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp):
			dst = fmt.Appendf(dst, `\u%04x`, r) // the first are the C1 controls
		default:
			dst = append(dst, s[i:i+size]...)
		}
		i += size
	}
	return dst
}
