//go:build linux && (amd64 || arm64)

package ebpf

import (
	"errors"
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
	unknownFunc := func(line string) error {
		return &ebpf.VerifierError{Cause: unix.EINVAL, Log: []string{"0: (bf) r6 = r1", line, "processed 12 insns (limit 1000000)"}}
	}
	for _, test := range []struct {
		err       error
		want, not string
	}{
		{fmt.Errorf("program exec_btf: %w", refused), "R2 unbounded memory access", rights},
		{&ebpf.VerifierError{Cause: unix.EPERM}, "permission denied", "insns"},
		{unix.ENOSYS, "no bpf(2)", rights},
		{fmt.Errorf("as tp_btf: %w", unknownFunc("unknown func bpf_probe_read#4")), "lockdown is in mode confidentiality", rights},
		{fmt.Errorf("as raw_tp: %w", unknownFunc("program of this type cannot use helper bpf_probe_read_kernel#113")), "lockdown is in mode confidentiality", rights},
		{errors.Join(errors.New("as tp_btf: other"), unknownFunc("unknown func bpf_probe_read_kernel#113")), "boot with lockdown=integrity", rights},
		{unknownFunc("unknown func bpf_loop#181"), "unknown func bpf_loop#181", "lockdown"},
	} {
		if got := explain(test.err, nil).Error(); !strings.Contains(got, test.want) || strings.Contains(got, test.not) {
			t.Errorf("%v is explained as %q, want %q", test.err, got, test.want)
		}
	}
}
