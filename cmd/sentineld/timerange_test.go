package main

import (
	"strings"
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	now := time.Date(2026, 11, 24, 1, 30, 0, 5, zone)
	for text, want := range map[string]time.Time{
		"now":                            now,
		"today":                          time.Date(2026, 11, 24, 0, 0, 0, 0, zone),
		"Yesterday":                      time.Date(2026, 11, 23, 0, 0, 0, 0, zone),
		"2026-11-23":                     time.Date(2026, 11, 23, 0, 0, 0, 0, zone),
		"2026-11-23 14:05":               time.Date(2026, 11, 23, 14, 5, 0, 0, zone),
		"2026-11-23T14:05:06":            time.Date(2026, 11, 23, 14, 5, 6, 0, zone),
		"2026-11-23T14:05:06Z":           time.Date(2026, 11, 23, 14, 5, 6, 0, time.UTC),
		"2026-11-23T14:05:06.25-05:00":   time.Date(2026, 11, 23, 19, 5, 6, 250e6, time.UTC),
		"2h":                             now.Add(-2 * time.Hour),
		" 1h30m ago":                     now.Add(-90 * time.Minute),
		"0s":                             now,
		"7d":                             now.Add(-168 * time.Hour),
		"1w2d3h":                         now.Add(-(9*24 + 3) * time.Hour),
		"1760000010000000000":            time.Unix(1760000010, 0),
		"2026-11-23T14:05:06.000000001Z": time.Date(2026, 11, 23, 14, 5, 6, 1, time.UTC),
	} {
		if got, err := parseTime(text, now); err != nil || got != want.UnixNano() {
			t.Errorf("%q: %v, %v, want %v", text, time.Unix(0, got), err, want)
		}
	}
	for text, want := range map[string]string{
		"tomorow":              "want RFC 3339",
		"":                     "want RFC 3339",
		"d":                    "want RFC 3339",
		"-2h":                  "want RFC 3339",
		"2x":                   "want RFC 3339",
		"99999999999999999999": "want RFC 3339",
		"99999999999999999d":   "want RFC 3339",
		"1760000010":           "nanoseconds",
		"-5":                   "nanoseconds",
		"2026-13-01":           "want RFC 3339",
		"99999d":               "want RFC 3339",
		"300000000h":           "want RFC 3339",
		"1066-10-14":           "the year 1066",
		"9999-01-01":           "the year 9999",
		"30000d":               "the year 1944",
	} {
		if got, err := parseTime(text, now); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v, want %q", text, time.Unix(0, got), err, want)
		}
	}
}
