//go:build !linux

package procfs

import (
	"context"
	"errors"
	"fmt"

	"github.com/sentineld/sentineld/internal/event"
)

var errOther = fmt.Errorf("read /proc: %w", errors.ErrUnsupported)

// BootID needs Linux.
func (f FS) BootID() (event.BootID, error) { return event.BootID{}, errOther }

// PIDs needs Linux.
func (f FS) PIDs() ([]int, error) { return nil, errOther }

// Stat needs Linux.
func (f FS) Stat(int) (Stat, error) { return Stat{}, errOther }

// ThreadsEnded needs Linux.
func (f FS) ThreadsEnded(Stat) (bool, error) { return false, errOther }

// Hidden is for Linux: elsewhere nothing is known to be hidden.
func (f FS) Hidden(int) bool { return false }

// Process needs Linux.
func (f FS) Process(event.BootID, int, int) (event.Event, error) { return event.Event{}, errOther }

// Look needs Linux.
func (f FS) Look(event.BootID, int, int) (Seen, error) { return Seen{}, errOther }

// Snapshot needs Linux.
func (f FS) Snapshot(context.Context, event.BootID, int) ([]Seen, error) { return nil, errOther }

// HostCgroups is for Linux: elsewhere there are no cgroups to be known.
func HostCgroups() error { return nil }

// ExeFile needs Linux.
func (f FS) ExeFile(Stat) (dev, inode uint64, err error) { return 0, 0, errOther }

// AppendArgs needs Linux.
func (f FS) AppendArgs(dst []byte, _ Stat, _ int) ([]byte, Args, error) { return dst, Args{}, errOther }
