package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sentineld/sentineld/internal/health"
	"github.com/sentineld/sentineld/internal/store"
)

// What rules did not look at, as the agent that runs knows it.

// missedSome are the rules that did not look at something of a range of time.
func missedSome(rules []health.Rule, r store.TimeRange) (list []health.Rule) {
	for _, rule := range rules {
		if m := rule.Missed; m.From != 0 && m.Until >= r.Since && (r.Until == 0 || m.From <= r.Until) {
			list = append(list, rule)
		}
	}
	return list
}

// missedLately is why the agent is degraded although its rules run: some did not look at
// something, as long ago as a loss counts. Of those that do not run more is told.
func missedLately(rules []health.Rule, now time.Time) string {
	var ids []string
	var last health.Missed
	for _, r := range missedSome(rules, store.TimeRange{}) {
		if r.State != "ok" || now.Sub(time.Unix(0, r.Missed.At)) >= lossMemory {
			continue
		}
		if ids = append(ids, r.ID); r.Missed.At >= last.At {
			last = r.Missed
		}
	}
	if len(ids) == 0 {
		return ""
	}
	ago := age(max(0, now.Sub(time.Unix(0, last.At))))
	return fmt.Sprintf("%s did not look at some events, the last time %s ago%s", ruleList(ids), ago, missedText(last))
}

// missedLine says which rules did not look at events of a range, and since when; "" when
// all did, as far as the agent that runs on dir knows.
func missedLine(ctx context.Context, dir string, r store.TimeRange) string {
	a, err := askAgent(ctx, dir)
	if err != nil {
		return "" // notCovered says it
	}
	var ids []string
	for _, rule := range missedSome(a.Rules, r) {
		ids = append(ids, fmt.Sprintf("%s (since %s)", rule.ID, shortTime(rule.Missed.From)))
	}
	if len(ids) == 0 {
		return ""
	}
	return fmt.Sprintf("alerts may be missing: %s did not look at some events (sentineld status)", ruleList(ids))
}

// ruleList names rules, some of them if there are many.
func ruleList(ids []string) string {
	const most = 5
	what := "rule"
	if len(ids) > 1 {
		what = "rules"
	}
	if n := len(ids) - most; n > 0 {
		ids = append(ids[:most:most], fmt.Sprintf("%d more", n))
	}
	return what + " " + strings.Join(ids, ", ")
}

// missedText says what a rule missed, with a colon before it; "" when it did not run.
func missedText(m health.Missed) string {
	var parts []string
	if m.Evaluations > 0 {
		cause, _, _ := strings.Cut(m.Cause, "\n")
		parts = append(parts, fmt.Sprintf("%s failed (%s)", plural(int64(m.Evaluations), "evaluation"), cause))
	}
	if m.Matches > 0 {
		parts = append(parts, plural(int64(m.Matches), "finding")+" over the limit of one evaluation")
	}
	if m.Events > 0 {
		parts = append(parts, plural(int64(m.Events), "event")+" too long to be read")
	}
	if len(parts) == 0 {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}
