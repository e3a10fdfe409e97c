package main

import (
	"context"

	"github.com/sentineld/sentineld/internal/collect"
	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
)

// snapshot reads /proc.
func (f sourceFlags) snapshot(boot event.BootID) func(context.Context) ([]event.Event, error) {
	return func(ctx context.Context) ([]event.Event, error) {
		seen, err := procfs.FS{Env: f.Env}.Snapshot(ctx, boot, f.ArgsMax)
		if err != nil {
			return nil, err
		}
		rows := make([]event.Event, len(seen))
		for i := range seen {
			if rows[i] = seen[i].Event; seen[i].Exiting {
				err = collect.ErrExiting
			}
		}
		return rows, err
	}
}
