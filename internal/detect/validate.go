package detect

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/sentineld/sentineld/internal/rule"
	"github.com/sentineld/sentineld/internal/suggest"
)

// Validate prepares rules as New does, with those that they are to run beside: what
// stands in for a view depends on all of them. It returns what is wrong with rules, and
// with those beside that run without them, each a *rule.Error, with the place in the
// rule's file where it can be told. A rule that its file disables is judged as if it ran
// alone.
func Validate(ctx context.Context, open func(context.Context) (Session, error), rules, beside []rule.Rule) (problems []error, err error) {
	together := Options{Open: open, Rules: slices.Concat(rules, beside)}
	wrong, err := prepare(ctx, together)
	if err != nil {
		return nil, err
	}
	for i, r := range rules {
		if r.Disabled {
			r.Disabled = false
			alone, err := prepare(ctx, Options{Open: open, Rules: []rule.Rule{r}})
			if err != nil {
				return nil, err
			}
			wrong[i] = alone[0]
		}
		if wrong[i] != nil {
			problems = append(problems, wrong[i])
		}
	}
	stopped, err := stoppedBy(ctx, open, beside, wrong[len(rules):])
	return append(problems, stopped...), err
}

// stoppedBy is what is wrong with rules beside others, and is not without them.
func stoppedBy(ctx context.Context, open func(context.Context) (Session, error), rules []rule.Rule, wrong []error) (problems []error, err error) {
	if !slices.ContainsFunc(wrong, func(err error) bool { return err != nil }) {
		return nil, nil
	}
	without, err := prepare(ctx, Options{Open: open, Rules: rules})
	if err != nil {
		return nil, err
	}
	for i, err := range wrong {
		if err == nil || without[i] != nil {
			continue
		}
		var e *rule.Error
		if errors.As(err, &e) {
			told := *e
			told.Hint = "it runs without the rules that are validated"
			err = &told
		}
		problems = append(problems, err)
	}
	return problems, nil
}

// prepare is what is wrong with each rule of an engine that evaluates nothing.
func prepare(ctx context.Context, o Options) (wrong []error, err error) {
	e, err := New(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, c := range e.rules {
		wrong = append(wrong, c.wrong)
	}
	return wrong, e.Close()
}

// check prepares a rule and returns what it reads.
func check(s Session, r *rule.Rule) ([][2]string, error) {
	stmt, reads, err := s.Prepare(r.SQL)
	if err != nil {
		return nil, explain(s, r, err)
	}
	defer stmt.Finalize()
	if n := stmt.BindParamCount(); n > 0 {
		return nil, r.ErrorAt(-1, fmt.Sprintf("the SQL has %d parameters", n), "write the values into it: nobody binds them")
	}
	cols := columnNames(stmt)
	for _, view := range named(r.SQL) { // SQLite tells of no read where no column is used
		if !slices.ContainsFunc(reads, func(r [2]string) bool { return r[0] == view }) {
			reads = append(reads, [2]string{view, ""})
		}
	}
	for _, k := range r.Key {
		if slices.ContainsFunc(cols, func(c string) bool { return strings.EqualFold(c, k) }) {
			continue
		}
		return nil, r.ErrorIn("key", fmt.Sprintf("the SQL has no result column %q", k), didYouMean(k, cols)+"its columns are "+strings.Join(cols, ", "))
	}
	event := slices.ContainsFunc(reads, func(r [2]string) bool { return slices.Contains(eventViews, r[0]) })
	switch {
	case len(reads) == 0:
		return nil, r.ErrorAt(-1, "the SQL reads none of the views", "select from "+strings.Join(eventViews, ", "))
	case r.Window > 0 && !event:
		return nil, r.ErrorIn("window", "a window needs a view of events, and the SQL reads none", "select from "+strings.Join(eventViews, ", ")+", or remove window")
	}
	return reads, nil
}

// named are the views whose names are in the SQL. It may be more than are read.
func named(sql string) (views []string) {
	words := word.FindAllString(strings.ToLower(sql), -1)
	for _, v := range slices.Concat(eventViews, stateViews) {
		if slices.Contains(words, v) {
			views = append(views, v)
		}
	}
	return views
}

var (
	positioned = regexp.MustCompile(`^(\d+):(\d+): `)
	noColumn   = regexp.MustCompile(`no such column: (?:[^\s:]*\.)?"?([^\s".:]+)`)
	noTable    = regexp.MustCompile(`no such table: (?:[^\s:]*\.)?"?([^\s".:]+)`)
	word       = regexp.MustCompile(`[A-Za-z_]+`)
)

// explain turns an error of the session into one about the rule's file.
func explain(s Session, r *rule.Rule, err error) error {
	text, offset := err.Error(), -1
	if at := positioned.FindStringSubmatch(text); at != nil {
		text = text[len(at[0]):]
		offset = offsetOf(r.SQL, at[1], at[2])
	}
	if n, ok := sqlite.ErrorOffset(unwrapAll(err)); ok {
		offset = n
	}
	hint := ""
	if m := noColumn.FindStringSubmatch(text); m != nil {
		var cols []string
		for _, view := range named(r.SQL) {
			c, err := columns(s, view)
			if err != nil {
				return err
			}
			cols = append(cols, c...)
		}
		slices.Sort(cols)
		text = fmt.Sprintf("there is no column %q", m[1])
		if hint = strings.TrimSpace(didYouMean(m[1], cols)); hint == "" && len(cols) > 0 {
			hint = "there are " + strings.Join(slices.Compact(cols), ", ")
		}
	} else if m := noTable.FindStringSubmatch(text); m != nil {
		views := slices.Concat(eventViews, stateViews)
		text = fmt.Sprintf("there is no view %q", m[1])
		hint = didYouMean(m[1], views) + "the views are " + strings.Join(views, ", ")
		if offset < 0 { // SQLite does not tell where
			if at := regexp.MustCompile(`\b` + regexp.QuoteMeta(m[1]) + `\b`).FindStringIndex(r.SQL); at != nil {
				offset = at[0]
			}
		}
	}
	return r.ErrorAt(offset, text, hint)
}

func didYouMean(name string, from []string) string {
	if near := suggest.Closest(name, from); near != "" {
		return "did you mean " + near + "? "
	}
	return ""
}

// unwrapAll is the innermost error, which is the one that knows its offset.
func unwrapAll(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// offsetOf is the byte at a line and a column, which counts characters.
func offsetOf(sql, line, column string) int {
	l, _ := strconv.Atoi(line)
	c, _ := strconv.Atoi(column)
	at := 0
	for ; l > 1; l-- {
		n := strings.IndexByte(sql[at:], '\n')
		if n < 0 {
			return -1
		}
		at += n + 1
	}
	for i := range sql[at:] {
		if c--; c == 0 {
			return at + i
		}
	}
	return len(sql)
}
