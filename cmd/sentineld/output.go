package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"github.com/sentineld/sentineld/internal/event"
)

// output prints rows of named columns: as a table for people, as one JSON
// object a line, as CSV, or as a table of Markdown. Rows are printed as they come;
// only a table for people looks at the first ones together, for the widths.
type output struct {
	w       *bufio.Writer
	mode    string
	colour  bool
	look    bool // somebody looks at w
	columns []string
	csv     *csv.Writer
	buf     []byte

	waiting [][]string // of a table; at most tableLook rows
	widths  []int      // nil = not known yet
}

// tableLook is how many rows decide the widths of a table.
const tableLook = 200

// widest is the most cells that a column of a table takes, but for the last.
const widest = 60

// isTerminal tells whether somebody looks at w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// useColour obeys no-color.org and terminals that can do nothing.
func useColour(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// outputMode is what was asked for, or what suits w.
func outputMode(w io.Writer, asked string) string {
	switch {
	case asked != "":
		return asked
	case isTerminal(w):
		return "table"
	}
	return "json"
}

func newOutput(w io.Writer, asked string, columns []string) *output {
	o := &output{w: bufio.NewWriterSize(w, 32<<10), mode: outputMode(w, asked), colour: useColour(w), look: isTerminal(w), columns: columns}
	if o.mode == "table" || o.mode == "markdown" {
		o.columns = make([]string, len(columns))
		for i, c := range columns {
			o.columns[i] = safe(c) // a query names its columns as it likes
		}
	}
	if o.mode == "csv" {
		o.csv = csv.NewWriter(o.w)
	}
	return o
}

// jsonColumns hold JSON in the views. In JSON output they are what they say, not
// texts.
var jsonColumns = []string{"args", "ancestors", "known", "gained", "evidence", "tags"}

// row prints one row. A value is nil, bool, int64, float64, string or []byte.
func (o *output) row(values ...any) error {
	switch o.mode {
	case "json":
		o.buf = o.buf[:0]
		for i, v := range values {
			o.buf = append(o.buf, ",{"[b2i(i == 0)])
			o.buf = event.AppendJSONString(o.buf, o.columns[i])
			o.buf = append(o.buf, ':')
			o.buf = appendJSONValue(o.buf, v, slices.Contains(jsonColumns, o.columns[i]))
		}
		if len(values) == 0 {
			o.buf = append(o.buf, '{')
		}
		o.buf = append(o.buf, '}')
		if o.look {
			o.buf = tame(o.buf)
		}
		_, err := o.w.Write(append(o.buf, '\n'))
		return err
	case "csv":
		if o.widths == nil {
			o.widths = []int{}
			if err := o.csv.Write(o.columns); err != nil {
				return err
			}
		}
		cells := make([]string, len(values))
		for i, v := range values {
			if cells[i] = plain(v); o.look {
				cells[i] = safe(cells[i]) // a file gets the exact bytes, a terminal does not
			}
		}
		return o.csv.Write(cells)
	}
	cells := make([]string, len(values))
	for i, v := range values {
		cells[i] = safe(plain(v))
	}
	if o.mode == "markdown" {
		return o.markdownRow(cells)
	}
	if o.widths != nil {
		return o.tableRow(cells)
	}
	if o.waiting = append(o.waiting, cells); len(o.waiting) >= tableLook {
		return o.tableStart()
	}
	return nil
}

// tame escapes what JSON allows in a string and a terminal may obey: DEL, the C1
// controls and changes of writing direction. Outside of strings JSON has none of
// these.
func tame(b []byte) []byte {
	if bytes.IndexFunc(b, untamed) < 0 {
		return b
	}
	out := make([]byte, 0, len(b)+16)
	for _, r := range string(b) {
		if untamed(r) {
			out = fmt.Appendf(out, `\u%04x`, r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

func untamed(r rune) bool {
	return r >= 0x7f && r < 0xa0 || unicode.Is(unicode.Bidi_Control, r)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func appendJSONValue(dst []byte, v any, nested bool) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return event.AppendJSONString(dst, plain(v))
		}
		return strconv.AppendFloat(dst, v, 'g', -1, 64)
	case []byte:
		return event.AppendJSONString(dst, fmt.Sprintf("%x", v))
	case string:
		if nested && v != "" && (v[0] == '[' || v[0] == '{') && utf8.ValidString(v) {
			// Compact, since one row is one line.
			if b := bytes.NewBuffer(dst); json.Compact(b, []byte(v)) == nil {
				return b.Bytes()
			}
		}
		return event.AppendJSONString(dst, v)
	}
	return event.AppendJSONString(dst, fmt.Sprint(v))
}

func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []byte:
		return fmt.Sprintf("%x", v)
	case string:
		return v
	}
	return fmt.Sprint(v)
}

// markdownRow prints a row of a table as GitHub's Markdown has it, the head before
// the first.
func (o *output) markdownRow(cells []string) error {
	if o.widths == nil {
		o.widths = []int{}
		if err := o.markdownHead(); err != nil {
			return err
		}
	}
	return o.markdownLine(cells)
}

func (o *output) markdownHead() error {
	if err := o.markdownLine(o.columns); err != nil {
		return err
	}
	_, err := o.w.WriteString(strings.Repeat("|---", len(o.columns)) + "|\n")
	return err
}

// markdownEscapes are what would end a cell, or be more than text in it: links,
// HTML, emphasis, code. A backslash escapes any punctuation (GFM, 2.4), and breaks the
// links that GFM makes of bare URLs (6.9). Addresses of mail, and mentions, are looked for
// when backslashes are gone: only another node, here a comment, parts them.
var markdownEscapes = strings.NewReplacer(
	`\`, `\\`, "|", `\|`, "`", "\\`", "*", `\*`, "_", `\_`, "<", `\<`, ">", `\>`, "[", `\[`, "]", `\]`, "~", `\~`, "&", `\&`, "#", `\#`,
	"://", `\://`, "www.", `www\.`, "@", "@<!-- -->")

func (o *output) markdownLine(cells []string) error {
	for _, c := range cells {
		if _, err := o.w.WriteString("| " + markdownEscapes.Replace(c) + " "); err != nil {
			return err
		}
	}
	_, err := o.w.WriteString("|\n")
	return err
}

func (o *output) tableStart() error {
	o.widths = make([]int, len(o.columns))
	for _, cells := range append([][]string{o.columns}, o.waiting...) {
		for i, c := range cells {
			o.widths[i] = min(widest, max(o.widths[i], text.StringWidthWithoutEscSequences(c)))
		}
	}
	head := make([]string, len(o.columns))
	for i, c := range o.columns {
		head[i] = strings.ToUpper(c)
	}
	if err := o.tableLine(head, o.colour); err != nil {
		return err
	}
	for _, cells := range o.waiting {
		if err := o.tableRow(cells); err != nil {
			return err
		}
	}
	o.waiting = nil
	return nil
}

func (o *output) tableRow(cells []string) error { return o.tableLine(cells, false) }

func (o *output) tableLine(cells []string, bold bool) error {
	var b strings.Builder
	if bold {
		b.WriteString("\x1b[1m")
	}
	for i, c := range cells {
		if i == len(cells)-1 {
			b.WriteString(c) // whole: it is often what is looked for
			break
		}
		if text.StringWidthWithoutEscSequences(c) > o.widths[i] {
			c = text.Trim(c, o.widths[i]-1) + "…"
		}
		b.WriteString(text.Pad(c, o.widths[i], ' '))
		b.WriteString("  ")
	}
	line := strings.TrimRight(b.String(), " ")
	if bold {
		line += "\x1b[0m"
	}
	_, err := o.w.WriteString(line + "\n")
	return err
}

// flush shows what there is so far.
func (o *output) flush() error {
	if o.csv != nil {
		o.csv.Flush()
		if err := o.csv.Error(); err != nil {
			return err
		}
	}
	return o.w.Flush()
}

// close prints what waits. An empty table has its head, an empty CSV too.
func (o *output) close() error {
	if o.mode == "table" && o.widths == nil {
		if err := o.tableStart(); err != nil {
			return err
		}
	}
	if o.mode == "csv" && o.widths == nil {
		if err := o.csv.Write(o.columns); err != nil {
			return err
		}
	}
	if o.mode == "markdown" && o.widths == nil {
		o.widths = []int{}
		if err := o.markdownHead(); err != nil {
			return err
		}
	}
	return o.flush()
}
