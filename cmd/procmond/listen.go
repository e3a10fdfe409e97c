package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sentineld/sentineld/internal/wire"
)

// listener is the unix socket that sentineld connects to.
type listener struct{ *net.UnixListener }

// listen makes the socket, for its owner and group alone. A socket that a
// killed procmond left behind is replaced, one that is served is not.
func listen(path string) (*listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make socket directory: %w (choose another with --socket)", err)
	}
	addr := &net.UnixAddr{Name: path, Net: "unix"}
	if c, err := net.DialUnix("unix", nil, addr); err == nil {
		_ = c.Close()
		return nil, fmt.Errorf("listen on %s: another procmond serves there", path)
	} else if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, os.ErrNotExist) && isSocket(path) {
		return nil, fmt.Errorf("listen on %s: there is a socket that cannot be tried: %w", path, err)
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("listen on %s: there is something that is not a socket (remove it or choose another with --socket)", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("replace stale socket: %w", err)
		}
	}
	l, err := net.ListenUnix("unix", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, fmt.Errorf("protect socket: %w", err)
	}
	return &listener{l}, nil
}

func isSocket(path string) bool {
	st, err := os.Lstat(path)
	return err == nil && st.Mode()&os.ModeSocket != 0
}

// acceptPause is how long to wait after a failed accept.
const acceptPause = 100 * time.Millisecond

// serve serves one client after the other until ctx ends. The server refuses
// one that comes while another is there.
func (l *listener) serve(ctx context.Context, s *wire.Server, log *slog.Logger) {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil { // too many open files and the like
			log.Error("accept client", "err", err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		go func() {
			log.Debug("client connected")
			if err := s.Serve(ctx, conn); err != nil {
				log.Warn("client failed", "err", err)
			} else {
				log.Debug("client gone")
			}
		}()
	}
}
