// Package ebpf reads process events from three CO-RE programs on the kernel's
// scheduler tracepoints (bpf/process.bpf.c) through one ring buffer. It needs
// Linux 5.8 or later with BTF, CAP_BPF and CAP_PERFMON (CAP_SYS_ADMIN before
// 5.8's split). Where the kernel has nothing better to show the privileges that an
// exec gives, a kprobe does, if it has those.
package ebpf

import (
	"errors"

	"github.com/sentineld/sentineld/internal/source"
)

//go:generate go tool bpf2go -go-package ebpf -tags linux -target amd64,arm64 -no-global-types -cflags "-O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -Wno-missing-field-initializers" process ../../../bpf/process.bpf.c

// Options are the source's own, beside source.Options.
type Options struct {
	source.Options

	// HooksOnly lets the programs build every record and throw it away, so
	// that a benchmark can tell their cost from the reader's.
	HooksOnly bool

	prepare, failed [][]string // instead of prepareWays and failedWays, for tests; nil = these
	spares          int        // programs in front of each that records; 0 = as the kernel needs them
}

// errLost is the Err of a source whose ring buffer went away under it.
var errLost = errors.New("read ring buffer: it was closed by somebody else")
