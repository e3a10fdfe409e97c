package detect

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"zombiezen.com/go/sqlite"
)

// row is one result row of a rule.
type row struct {
	values []value
	json   []byte // an object, in the order of the columns

	seq     int64 // of the column seq, 0 = none
	ts      int64 // of the column ts, 0 = none
	first   int64 // of the column first_ts, 0 = none
	process string
}

type value struct {
	column string
	text   string // as in the JSON, without its quotes
	number bool
	null   bool
}

// readRow copies the current row of a statement.
func readRow(stmt *sqlite.Stmt, cols []string) row {
	r := row{values: make([]value, len(cols)), json: []byte{'{'}}
	for i, col := range cols {
		v := value{column: col}
		if i > 0 {
			r.json = append(r.json, ',')
		}
		r.json = append(appendJSON(r.json, v.column), ':')
		switch stmt.ColumnType(i) {
		case sqlite.TypeNull:
			v.null = true
			r.json = append(r.json, "null"...)
		case sqlite.TypeInteger:
			n := stmt.ColumnInt64(i)
			v.number, v.text = true, strconv.FormatInt(n, 10)
			r.json = append(r.json, v.text...)
			r.note(strings.ToLower(col), n)
		case sqlite.TypeFloat:
			f := stmt.ColumnFloat(i)
			v.number, v.text = true, strconv.FormatFloat(f, 'g', -1, 64)
			if math.IsInf(f, 0) || math.IsNaN(f) { // JSON has no such numbers
				r.json = appendJSON(r.json, v.text)
			} else {
				r.json = append(r.json, v.text...)
			}
		default:
			v.text = visible(stmt.ColumnText(i))
			r.json = appendJSON(r.json, v.text)
			if r.process == "" && strings.EqualFold(col, "process") {
				r.process = v.text
			}
		}
		r.values[i] = v
	}
	r.json = append(r.json, '}')
	return r
}

// identity is json, with what may come late left out where the row tells which
// event it is of.
func (r *row) identity() []byte {
	i := slices.IndexFunc(r.values, func(v value) bool { return isHash(v.column) })
	if r.seq == 0 || i < 0 {
		return r.json
	}
	var b []byte
	for _, v := range r.values {
		if !isHash(v.column) {
			b = appendJSON(appendJSON(b, v.column), v.text)
		}
	}
	return b
}

func (r *row) note(col string, n int64) {
	switch col {
	case "seq":
		r.seq = n
	case "ts":
		r.ts = n
	case "first_ts":
		r.first = n
	}
}

// get is the text of a column, "" for NULL and for none of that name.
func (r *row) get(column string) string {
	for _, v := range r.values {
		if strings.EqualFold(v.column, column) {
			return v.text
		}
	}
	return ""
}

// columnNames are those of a statement's result, each different: an object with
// one key twice is read differently by every reader. Of columns with one name
// the driver knows that of the last, and says "" for the others.
func columnNames(stmt *sqlite.Stmt) []string {
	names := make([]string, stmt.ColumnCount())
	for i := range names {
		if names[i] = visible(stmt.ColumnName(i)); names[i] == "" {
			names[i] = "column_" + strconv.Itoa(i+1)
		}
	}
	return names
}

// visible shows bytes that are no UTF-8 as \xNN, like the store does.
func visible(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	const hex = "0123456789abcdef"
	b := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			b = append(b, '\\', 'x', hex[s[i]>>4], hex[s[i]&15])
		} else {
			b = append(b, s[i:i+size]...)
		}
		i += size
	}
	return string(b)
}

// appendJSON appends a string, which is valid UTF-8, in quotes.
func appendJSON(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// oneLine makes a text safe for a terminal, a mail's subject and a log line:
// what breaks the line, moves the cursor or turns the direction of writing is
// shown escaped. It is cut to a number of characters.
func oneLine(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range visible(s) {
		shown := string(r)
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			shown = strings.Trim(strconv.QuoteRuneToASCII(r), "'")
		}
		if n += utf8.RuneCountInString(shown); n >= limit {
			b.WriteRune('…')
			break
		}
		b.WriteString(shown)
	}
	return b.String()
}
