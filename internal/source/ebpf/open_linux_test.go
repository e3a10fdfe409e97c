//go:build linux && (amd64 || arm64)

package ebpf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// TestExplain: only what rights can mend is said to be a matter of rights.
func TestExplain(t *testing.T) {
	const rights = "needs CAP_BPF"
	refused := &ebpf.VerifierError{Cause: unix.EACCES, Log: []string{"R2 unbounded memory access", "processed 735 insns"}}
	for _, test := range []struct {
		err       error
		want, not string
	}{
		{fmt.Errorf("program exec_btf: %w", refused), "R2 unbounded memory access", rights},
		{&ebpf.VerifierError{Cause: unix.EPERM}, "permission denied", "insns"},
		{unix.ENOSYS, "no bpf(2)", rights},
	} {
		if got := explain(test.err, nil).Error(); !strings.Contains(got, test.want) || strings.Contains(got, test.not) {
			t.Errorf("%v is explained as %q, want %q", test.err, got, test.want)
		}
	}
}
