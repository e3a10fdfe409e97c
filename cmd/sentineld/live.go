package main

import (
	"context"
	"io"
	"log/slog"
)

// livePrinter prints what the agent stores, as `tail -f` does, told by the agent
// itself when there is something.
type livePrinter struct {
	news chan struct{} // capacity 1
	done chan struct{} // closed when the goroutine has ended
}

// startLive prints until stop.
func startLive(ctx context.Context, dir string, w io.Writer, log *slog.Logger) (*livePrinter, error) {
	f, err := newFollower(ctx, dir, []string{"exec", "gap"}, w, "table")
	if err != nil {
		return nil, err
	}
	if err := f.newest(ctx, 0); err != nil {
		f.close()
		return nil, err
	}
	l := &livePrinter{news: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		defer f.close()
		for range l.news {
			if err := f.step(ctx); err != nil {
				if !isBrokenPipe(err) {
					log.Error("print events", "err", err)
				}
				return
			}
		}
	}()
	return l, nil
}

// wake tells that there is something new. It never blocks.
func (l *livePrinter) wake() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// stop prints what is left and ends; once abort has ended, it does not wait for
// an output that takes nothing. No wake may follow.
func (l *livePrinter) stop(abort context.Context) {
	close(l.news)
	select {
	case <-l.done:
	case <-after(abort, abortGrace):
	}
}
