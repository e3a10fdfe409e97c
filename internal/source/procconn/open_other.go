//go:build !linux

package procconn

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/sentineld/sentineld/internal/source"
)

// Open returns an error that wraps errors.ErrUnsupported.
func Open(context.Context, source.Options) (source.Source, error) {
	return nil, fmt.Errorf("open process connector on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
