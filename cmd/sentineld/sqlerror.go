package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/sentineld/sentineld/internal/alert"
	"github.com/sentineld/sentineld/internal/store"
	"github.com/sentineld/sentineld/internal/suggest"
)

var (
	sqlPlace = regexp.MustCompile(`^(\d+):(\d+): `)
	noColumn = regexp.MustCompile(`no such column: (?:[^\s:]*\.)?"?([^\s".:]+)`)
	noTable  = regexp.MustCompile(`no such table: (?:[^\s:]*\.)?"?([^\s".:]+)`)
	sqlName  = regexp.MustCompile(`[A-Za-z_]+`)
)

// snippetWidth is how many characters of a line of SQL are shown around the
// place.
const snippetWidth = 120

// explainSQL turns what Prepare says of a user's SQL into a message with the
// place, a caret under it and what may have been meant.
func explainSQL(s *store.Session, sql string, err error) error {
	text := err.Error()
	line, column := 0, 0
	if at := sqlPlace.FindStringSubmatch(text); at != nil {
		text = text[len(at[0]):]
		line, _ = strconv.Atoi(at[1])
		column, _ = strconv.Atoi(at[2])
	}
	if m := noColumn.FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("there is no column %q", m[1])
		columns := viewColumns(s, sql)
		if near := suggest.Closest(m[1], columns); near != "" {
			text += " (did you mean " + near + "?)"
		} else if len(columns) > 0 {
			text += " (there are " + strings.Join(columns, ", ") + ")"
		}
	} else if m := noTable.FindStringSubmatch(text); m != nil {
		text = fmt.Sprintf("there is no view %q", m[1])
		if line == 0 { // SQLite does not tell
			line, column = findName(sql, m[1])
		}
		hint := "the views are " + strings.Join(store.Views(), ", ")
		if near := suggest.Closest(m[1], store.Views()); near != "" {
			hint = "did you mean " + near + "? " + hint
		}
		text += " (" + hint + ")"
	}
	text = safe(text)
	if line > 0 {
		text = fmt.Sprintf("%d:%d: %s%s", line, column, text, sqlSnippet(sql, line, column))
	}
	return &sqlError{text: text, err: err}
}

// sqlError is what explainSQL says, and still the error that it explains.
type sqlError struct {
	text string
	err  error
}

func (e *sqlError) Error() string { return e.text }
func (e *sqlError) Unwrap() error { return e.err }

// safeError is err with a text that may be shown on a terminal: an error of
// SQLite can quote what is in the store.
func safeError(err error) error {
	if err == nil {
		return nil
	}
	return &sqlError{text: safe(err.Error()), err: err}
}

func safe(s string) string { return string(alert.AppendSafe(nil, s)) }

// viewColumns are the columns of the views that the SQL names.
func viewColumns(s *store.Session, sql string) []string {
	used := sqlName.FindAllString(strings.ToLower(sql), -1)
	var columns []string
	for _, view := range store.Views() {
		if !slices.Contains(used, view) {
			continue
		}
		stmt, _, err := s.Prepare("SELECT * FROM " + view)
		if err != nil {
			return nil // the hint is not worth a second error
		}
		for i := range stmt.ColumnCount() {
			if c := stmt.ColumnName(i); !slices.Contains(columns, c) {
				columns = append(columns, c)
			}
		}
		stmt.Finalize()
	}
	return columns
}

// findName is where a name stands first as a whole word, 0 when it does not.
func findName(sql, name string) (line, column int) {
	re, err := regexp.Compile(`(?i)\b` + regexp.QuoteMeta(name) + `\b`)
	if err != nil {
		return 0, 0
	}
	at := re.FindStringIndex(sql)
	if at == nil {
		return 0, 0
	}
	before := sql[:at[0]]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, len([]rune(before[start:])) + 1
}

// sqlSnippet shows the line with a caret.
func sqlSnippet(sql string, line, column int) string {
	lines := strings.Split(sql, "\n")
	if line > len(lines) {
		return ""
	}
	text := []rune(strings.TrimRight(lines[line-1], "\r"))
	if column-1 > len(text) {
		return ""
	}
	from := max(0, min(column-1-snippetWidth/2, len(text)-snippetWidth))
	text = text[from:min(len(text), from+snippetWidth)]
	for i, r := range text {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			text[i] = ' ' // keeps the caret under its place, and the terminal as it is
		}
	}
	number := strconv.Itoa(line)
	return fmt.Sprintf("\n  %s | %s\n  %s | %s^", number, string(text), strings.Repeat(" ", len(number)), strings.Repeat(" ", column-1-from))
}

// readsView reports whether the answer to a query depends on one of the views
// that are wanted. The session does not report a view of which no column is read,
// as in count(*), so that the text counts too: at worst an answer is called
// incomplete that is not.
func readsView(sql string, reads []store.Read, wanted func(view string) bool) bool {
	if slices.ContainsFunc(reads, func(r store.Read) bool { return wanted(r.Table) }) {
		return true
	}
	return slices.ContainsFunc(sqlName.FindAllString(strings.ToLower(sql), -1), func(word string) bool {
		return slices.Contains(store.Views(), word) && wanted(word)
	})
}
