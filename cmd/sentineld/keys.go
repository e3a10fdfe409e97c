package main

import (
	"bytes"
	"io"
)

type readWriter struct {
	io.Reader
	io.Writer
}

// interruptible ends when stop is closed, whatever its reader waits for. What is
// asked of that then is lost.
type interruptible struct {
	r    io.Reader
	stop <-chan struct{}
}

func (i *interruptible) Read(p []byte) (n int, err error) {
	type result struct {
		data []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		buf := make([]byte, len(p)) // p is not ours any more once stop is closed
		n, err := i.r.Read(buf)
		read <- result{buf[:n], err}
	}()
	select {
	case r := <-read:
		return copy(p, r.data), r.err
	case <-i.stop:
		return 0, io.EOF
	}
}

// keyReader turns Ctrl-C, which to term.Terminal is the end of its input, into an
// empty line that cancels what was typed so far.
type keyReader struct {
	r         io.Reader
	waiting   []byte
	cancel    string // what is left of cancelLine
	cancelled bool
}

const (
	ctrlC                  = 3
	toEnd, killLine, enter = "\x05", "\x15", "\r"

	// cancelLine ends a sequence that was begun, as with Esc, and leaves an empty line:
	// any letter ends one, and none that term.Terminal knows ends with z.
	cancelLine = "z" + toEnd + killLine + enter
)

func (k *keyReader) Read(p []byte) (int, error) {
	if k.cancel != "" {
		// Byte by byte: behind one that is no UTF-8 term.Terminal reads before it goes on.
		n := copy(p, k.cancel[:1])
		k.cancel = k.cancel[n:]
		return n, nil
	}
	if len(k.waiting) == 0 {
		var buf [256]byte
		n, err := k.r.Read(buf[:])
		if err != nil {
			return 0, err
		}
		k.waiting = append(k.waiting, buf[:n]...)
	}
	if k.waiting[0] == ctrlC { // what was typed before it is read by now
		k.waiting, k.cancel, k.cancelled = k.waiting[1:], cancelLine, true
		return k.Read(p)
	}
	until := bytes.IndexByte(k.waiting, ctrlC)
	if until < 0 {
		until = len(k.waiting)
	}
	n := copy(p, k.waiting[:until])
	k.waiting = k.waiting[n:]
	return n, nil
}

// takeCancelled tells whether Ctrl-C was typed since it was asked last.
func (k *keyReader) takeCancelled() bool {
	was := k.cancelled
	k.cancelled = false
	return was
}
