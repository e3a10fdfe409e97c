package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/sentineld/sentineld/internal/health"
)

// controlName is the agent's unix socket in its data directory. Whoever may
// connect gets the agent's status as one JSON object.
const controlName = "agent.sock"

// errNoAgent is wrapped when no agent answers for a data directory.
var errNoAgent = errors.New("no agent runs")

// controlTimeout bounds a question and its answer.
const controlTimeout = 2 * time.Second

// serveControl answers until the returned function is called. The caller holds
// the lock on dir, so that a socket that is there is a dead one.
func serveControl(dir string, status func() health.Agent, log *slog.Logger) (stop func(), err error) {
	path := filepath.Join(dir, controlName)
	_ = os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for status: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen for status: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			} else if err != nil { // too many open files and the like
				log.Error("answer status", "err", err)
				<-time.After(100 * time.Millisecond)
				continue
			}
			_ = conn.SetDeadline(time.Now().Add(controlTimeout))
			_ = json.NewEncoder(conn).Encode(status()) // who does not read it does not want it
			conn.Close()
		}
	}()
	return func() {
		l.Close()
		<-done
	}, nil
}

// askAgent gets the status of the agent that runs on dir. The error wraps
// errNoAgent when there is none.
func askAgent(ctx context.Context, dir string) (*health.Agent, error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dir, controlName))
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("ask agent: %w (run as the user that sentineld runs as)", err)
	} else if err != nil {
		return nil, fmt.Errorf("%w on %s", errNoAgent, dir)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	b, err := io.ReadAll(io.LimitReader(conn, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("ask agent: %w", err)
	}
	var a health.Agent
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("ask agent: it answers with no status: %w", err)
	}
	return &a, nil
}
