//go:build !linux || (!amd64 && !arm64)

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/sentineld/sentineld/internal/source"
)

// Open returns an error that wraps errors.ErrUnsupported.
func Open(context.Context, Options) (source.Source, error) {
	return nil, fmt.Errorf("load BPF programs on %s/%s: %w", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)
}
