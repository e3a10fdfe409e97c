package detect

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"
)

// side is a session with statements of our own.
type side struct {
	Session
	own map[string]*sqlite.Stmt // as many as there are texts in this package
}

// each runs one of our statements, which is kept, and calls row for each row
// of the result; row may be nil. Arguments are int64 or string.
func (s *side) each(sql string, row func(*sqlite.Stmt), args ...any) error {
	return s.Trusted(func() (err error) {
		stmt := s.own[sql]
		if stmt == nil {
			if stmt, _, err = s.Conn().PrepareTransient(sql); err != nil {
				return fmt.Errorf("prepare %q: %w", sql, err)
			}
			s.own[sql] = stmt
		}
		defer func() { // a statement that is not reset holds a read transaction
			if resetErr := stmt.Reset(); err == nil {
				err = resetErr
			}
		}()
		for i, a := range args {
			switch a := a.(type) {
			case int64:
				stmt.BindInt64(i+1, a)
			case string:
				stmt.BindText(i+1, a)
			}
		}
		for {
			more, err := stmt.Step()
			if err != nil || !more {
				return err
			}
			if row != nil {
				row(stmt)
			}
		}
	})
}

func (s *side) close() error {
	var errs []error
	for _, stmt := range s.own {
		errs = append(errs, stmt.Finalize())
	}
	return errors.Join(append(errs, s.Session.Close())...)
}

// columns are those of one of the store's views, in its order.
func columns(s Session, view string) (names []string, err error) {
	err = s.Trusted(func() error {
		stmt, _, err := s.Conn().PrepareTransient("SELECT * FROM main." + view)
		if err != nil {
			return err
		}
		for i := range stmt.ColumnCount() {
			names = append(names, stmt.ColumnName(i))
		}
		return stmt.Finalize()
	})
	return names, err
}

// selectList is what is shown of a view: the columns by name.
func selectList(cols []string) string {
	list := make([]string, len(cols))
	for i, c := range cols {
		list[i] = shownAs("", c) + " AS " + quote(c)
	}
	return strings.Join(list, ", ")
}

// shownAs is how a column is shown to rules: the long ones are cut to what rules
// match. Through BLOB, since the limit is in bytes and a text that is no UTF-8
// has no characters to count.
func shownAs(prefix, column string) string {
	c := prefix + quote(column)
	if column == "cmdline" || column == "parent_cmdline" {
		return fmt.Sprintf("CASE WHEN octet_length(%s) > %d THEN CAST(substr(CAST(%[1]s AS BLOB), 1, %[2]d) AS TEXT) ELSE %[1]s END", c, maxValueBytes)
	}
	return c
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// pick keeps the columns that are wanted, in the view's order.
func pick(all, wanted []string) []string {
	var cols []string
	for _, c := range all {
		if slices.Contains(wanted, strings.ToLower(c)) {
			cols = append(cols, c)
		}
	}
	return cols
}
