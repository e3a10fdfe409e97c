//go:build !linux

package poll

import (
	"runtime"

	"github.com/sentineld/sentineld/internal/source"
)

func newTable(o source.Options) table { return newHostTable(o, runtime.GOOS) }
