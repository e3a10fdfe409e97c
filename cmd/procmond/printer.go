package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"syscall"

	"github.com/sentineld/sentineld/internal/event"
)

// printer is the sink of --output json: one object a line, written whole
// batches at a time.
type printer struct {
	w   io.Writer
	buf []byte
}

// brokenPipe is the error of output that nobody reads any more. Any other error
// of the output, as of a full disk, is a loss.
type brokenPipe struct{ error }

// isBrokenPipe: on Windows the errors are ERROR_BROKEN_PIPE and ERROR_NO_DATA,
// which Go does not call EPIPE.
func isBrokenPipe(err error) bool {
	if runtime.GOOS == "windows" && (errors.Is(err, syscall.Errno(109)) || errors.Is(err, syscall.Errno(232))) {
		return true
	}
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe)
}

func (p *printer) Put(_ context.Context, batch []event.Event) error {
	p.buf = p.buf[:0]
	for i := range batch {
		p.buf = append(event.AppendJSON(p.buf, &batch[i]), '\n')
	}
	if len(p.buf) == 0 {
		return nil
	}
	if _, err := p.w.Write(p.buf); err != nil {
		err = fmt.Errorf("print events: %w", err)
		if isBrokenPipe(err) {
			return brokenPipe{err}
		}
		return err
	}
	return nil
}

func (p *printer) Sync(ctx context.Context, _, news []event.Event) error { return p.Put(ctx, news) }
