package main

import (
	"context"
	"fmt"
	"io"

	"github.com/sentineld/sentineld/internal/event"
)

// printer is the sink of --output json: one object a line, written whole
// batches at a time.
type printer struct {
	w   io.Writer
	buf []byte
}

// brokenPipe is the error of output that nobody reads any more.
type brokenPipe struct{ error }

func (p *printer) Put(_ context.Context, batch []event.Event) error {
	p.buf = p.buf[:0]
	for i := range batch {
		p.buf = append(event.AppendJSON(p.buf, &batch[i]), '\n')
	}
	if len(p.buf) == 0 {
		return nil
	}
	if _, err := p.w.Write(p.buf); err != nil {
		return brokenPipe{fmt.Errorf("print events: %w", err)}
	}
	return nil
}

func (p *printer) Sync(ctx context.Context, _, news []event.Event) error { return p.Put(ctx, news) }
