//go:build !linux

package main

import (
	"context"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/source"
	"github.com/sentineld/sentineld/internal/source/poll"
)

// snapshot asks the polling source, which knows every platform's process list.
func (f sourceFlags) snapshot(boot event.BootID) func(context.Context) ([]event.Event, error) {
	return func(ctx context.Context) ([]event.Event, error) {
		return poll.Snapshot(ctx, source.Options{Boot: boot, ArgsMax: f.ArgsMax})
	}
}
