package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"modernc.org/libc"
	"zombiezen.com/go/sqlite"
)

// progressOps is how many steps of SQLite's virtual machine may pass between
// two looks at the deadline: some tens of microseconds.
const progressOps = 1000

// deadline stops the statements of one connection. It is a flag that the
// progress handler reads and that stays up until the work is over:
// sqlite3_interrupt alone is forgotten when it arrives between two statements.
type deadline struct {
	stop atomic.Bool
	call progressFunc // what SQLite holds
}

func (d *deadline) install(r raw) {
	d.call = func(*libc.TLS, uintptr) int32 {
		if d.stop.Load() {
			return 1
		}
		return 0
	}
	r.setProgress(progressOps, &d.call)
}

// run calls fn and stops SQLite under it after limit (0 = none) or when ctx
// ends.
func (d *deadline) run(ctx context.Context, limit time.Duration, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrDeadline, err)
	}
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, limit, fmt.Errorf("it ran for more than %v", limit))
		defer cancel()
	}
	raised := make(chan struct{})
	release := context.AfterFunc(ctx, func() {
		d.stop.Store(true)
		close(raised)
	})
	err := fn()
	if !release() {
		<-raised // so that the flag cannot come up after it was taken down
	}
	if d.stop.Swap(false) && sqlite.ErrCode(err) == sqlite.ResultInterrupt {
		return fmt.Errorf("%w: %w", ErrDeadline, context.Cause(ctx))
	}
	return err
}
