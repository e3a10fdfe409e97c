package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sentineld/sentineld/internal/cli"
	"github.com/sentineld/sentineld/internal/store"
)

// rangeFlags bound what is looked at in time.
type rangeFlags struct {
	Since string `help:"Only what happened at TIME or later, and whether that is complete: RFC 3339, a day (2026-11-23), today, yesterday, how long ago (30m, 2h, 7d) or Unix ns." placeholder:"TIME"`
	Until string `help:"Only what happened before TIME, likewise." placeholder:"TIME"`
}

// parse reads the flags as they are meant at now.
func (f rangeFlags) parse(now time.Time) (r store.TimeRange, err error) {
	for _, p := range []struct {
		option, text string
		to           *int64
	}{{"since", f.Since, &r.Since}, {"until", f.Until, &r.Until}} {
		if p.text == "" {
			continue
		}
		if *p.to, err = parseTime(p.text, now); err != nil {
			return r, cli.Usage(&optionError{p.option, p.text, err})
		}
	}
	if r.Since > now.UnixNano() {
		return r, cli.Usage(&optionError{"since", f.Since, errors.New("TIME is in the future")})
	}
	if r.Since != 0 && r.Until != 0 && r.Since >= r.Until {
		return r, cli.Usage(&optionError{"since", f.Since, fmt.Errorf("it is not before the end, %s", safe(f.Until))})
	}
	return r, nil
}

// optionError is what is wrong with the value of an option of query, which is a flag of
// the command and a command of the shell.
type optionError struct {
	option, value string
	err           error
}

// Error names the flag.
func (e *optionError) Error() string {
	return fmt.Sprintf("--%s=%s: %v", e.option, safe(e.value), e.err)
}

// inShell is err for who asked in the shell.
func inShell(err error) error {
	var e *optionError
	if errors.As(err, &e) {
		return fmt.Errorf(".%s %s: %w", e.option, safe(e.value), e.err)
	}
	return err
}

// apply narrows the session.
func (f rangeFlags) apply(s *store.Session, now time.Time) (store.TimeRange, error) {
	r, err := f.parse(now)
	if err != nil || r.IsZero() {
		return r, err
	}
	return r, s.Within(r)
}

// timeLayouts are what a time may look like; where no zone is given it is the
// local one.
var timeLayouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly}

// parseTime reads a time as people give it, in Unix ns.
func parseTime(text string, now time.Time) (int64, error) {
	t, err := readTime(strings.TrimSpace(text), now)
	if err != nil {
		return 0, err
	}
	if y := t.Year(); y < 1971 || y > 2261 { // what Unix ns can hold, but for 0, which is no time
		return 0, fmt.Errorf("the year %d is out of range", y)
	}
	return t.UnixNano(), nil
}

func readTime(text string, now time.Time) (time.Time, error) {
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location())
	switch strings.ToLower(text) {
	case "now":
		return now, nil
	case "today":
		return midnight, nil
	case "yesterday":
		return midnight.AddDate(0, 0, -1), nil
	}
	for _, layout := range timeLayouts {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n < 1e17 {
			return time.Time{}, fmt.Errorf("a Unix time is in nanoseconds here, 19 digits; for seconds append 000000000")
		}
		return time.Unix(0, n), nil
	}
	if d, ok := parseAgo(text); ok {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("want RFC 3339 (2026-11-23T14:00:00Z), a day (2026-11-23), today, yesterday, how long ago (30m, 2h, 7d) or Unix ns")
}

var daysAgo = regexp.MustCompile(`^(\d{1,5})([dw])(.*)$`)

// parseAgo reads a duration, to which weeks and days may be added in front.
func parseAgo(text string) (d time.Duration, ok bool) {
	text = strings.TrimSpace(strings.TrimSuffix(text, "ago"))
	for m := daysAgo.FindStringSubmatch(text); m != nil; m = daysAgo.FindStringSubmatch(text) {
		n, _ := strconv.Atoi(m[1]) // five digits
		unit := 24 * time.Hour
		if m[2] == "w" {
			unit *= 7
		}
		if d += time.Duration(n) * unit; d > maxAgo {
			return 0, false
		}
		if text = m[3]; text == "" {
			return d, true
		}
	}
	rest, err := time.ParseDuration(text)
	return d + rest, err == nil && rest >= 0 && rest <= maxAgo
}

// maxAgo is longer than there have been computers to ask about.
const maxAgo = 100 * 365 * 24 * time.Hour
