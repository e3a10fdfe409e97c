package suggest

import (
	"strings"
	"testing"
)

func TestClosest(t *testing.T) {
	list := []string{"severity", "sql", "cmdline", "parent_exe"}
	for word, want := range map[string]string{
		"sevrity": "severity", "SQL": "sql", "sq": "sql", "cmd_line": "cmdline", "parnet_exe": "parent_exe",
		"xyz": "", "": "", strings.Repeat("x", 1000): "",
	} {
		if got := Closest(word, list); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
