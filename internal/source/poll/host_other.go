//go:build !darwin && !windows

package poll

import (
	"context"
	"slices"

	"github.com/shirou/gopsutil/v4/process"
)

func ended(ctx context.Context, pr *process.Process) bool {
	s, err := pr.StatusWithContext(ctx)
	return err == nil && slices.Contains(s, process.Zombie)
}
