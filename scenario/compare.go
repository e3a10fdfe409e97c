package scenario

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Compare says how rows differ from those that were expected, "" if they do not.
// Rows are JSON objects; the order of columns and of rows counts, spaces and the way
// a character is escaped do not.
func Compare(want, got []string) string {
	same := len(want) == len(got)
	for i := 0; same && i < len(want); i++ {
		a, errA := canonical(want[i])
		b, errB := canonical(got[i])
		if errA != nil {
			return fmt.Sprintf("the expected row %s is not JSON: %v", want[i], errA)
		}
		if errB != nil {
			return fmt.Sprintf("the row %s is not JSON: %v", got[i], errB)
		}
		same = a == b
	}
	if same {
		return ""
	}
	return fmt.Sprintf("want %s\n got %s", list(want), list(got))
}

// canonical is a value with one form for each string and no spaces.
func canonical(row string) (string, error) {
	d := json.NewDecoder(strings.NewReader(row))
	d.UseNumber()
	var b strings.Builder
	for {
		t, err := d.Token()
		if err == io.EOF {
			if !json.Valid([]byte(row)) {
				return "", io.ErrUnexpectedEOF
			}
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
		switch t := t.(type) {
		case string:
			fmt.Fprintf(&b, "%q ", t)
		default:
			fmt.Fprintf(&b, "%v ", t)
		}
	}
}

const shownRow = 2000

func list(rows []string) string {
	if len(rows) == 0 {
		return "no rows"
	}
	var b strings.Builder
	for i, row := range rows {
		if i == 20 {
			fmt.Fprintf(&b, "\n     and %d more", len(rows)-i)
			break
		}
		if i > 0 {
			b.WriteString("\n     ")
		}
		if len(row) > shownRow {
			row = fmt.Sprintf("%s... (%d bytes)", row[:shownRow], len(row))
		}
		b.WriteString(row)
	}
	return b.String()
}
