package detect

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/sentineld/sentineld/internal/rule"
)

// WindowPlan is SQLite's plan of a rule with a window. It closes the session.
func WindowPlan(ctx context.Context, s Session, r rule.Rule) (plan []string, err error) {
	e, err := New(ctx, Options{Rules: []rule.Rule{r}, Open: func(context.Context) (Session, error) { return s, nil }})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	err = e.window.each("EXPLAIN QUERY PLAN "+r.SQL, func(s *sqlite.Stmt) { plan = append(plan, s.ColumnText(3)) })
	return plan, err
}
