// Package testenv says what a test needs of the machine. A test that cannot have
// it is skipped with the reason; where CI is "true" everything is there, so that
// the skip is a failure.
package testenv

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// Skip skips t, or fails it in CI.
func Skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("would skip in CI, where nothing may be missing: %s", reason)
	}
	t.Skipf("SKIPPED: %s", reason)
}

// NeedRoot is for tests that change users or mount.
func NeedRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "needs root")
	}
}

// NeedBPF is for tests that load BPF programs.
func NeedBPF(t testing.TB) {
	t.Helper()
	NeedRoot(t)
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		Skip(t, "needs a Linux kernel with BTF")
	}
	needCaps(t, 1<<38|1<<39, "CAP_PERFMON and CAP_BPF")
}

// NeedNetAdmin is for tests that listen to the process connector.
func NeedNetAdmin(t testing.TB) {
	t.Helper()
	needCaps(t, 1<<12, "CAP_NET_ADMIN")
}

// needCaps wants capabilities, as bits of linux/capability.h. Root in a container
// need not have them.
func needCaps(t testing.TB, need uint64, names string) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if os.IsNotExist(err) {
		Skip(t, "needs Linux")
	} else if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "CapEff:")
	line, _, _ := strings.Cut(rest, "\n")
	if have, err := strconv.ParseUint(strings.TrimSpace(line), 16, 64); err != nil || have&need != need {
		Skip(t, "needs "+names+"; CapEff is "+strings.TrimSpace(line))
	}
}
