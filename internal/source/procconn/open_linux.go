package procconn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"github.com/sentineld/sentineld/internal/event"
	"github.com/sentineld/sentineld/internal/procfs"
	"github.com/sentineld/sentineld/internal/source"
)

const (
	// answerTime is how long the kernel's answer is waited for. It comes before
	// the request returns.
	answerTime = time.Second

	// listenTries: before Linux 6.6 anybody's surplus PROC_CN_MCAST_IGNORE
	// lowers the count of listeners, at worst below zero. Each request raises it.
	listenTries = 3
)

// Open subscribes to the connector, and returns when an event of its own making
// has come through and every live process is known.
func Open(ctx context.Context, o source.Options) (source.Source, error) {
	o.FillDefaults()
	s, err := open(ctx, o, procfs.FS{Env: o.Env})
	if err != nil {
		return nil, fmt.Errorf("open process connector: %w", err)
	}
	go s.run()
	return s, nil
}

func open(ctx context.Context, o source.Options, fs procfs.FS) (_ *conn, err error) {
	if err := initialPIDs(); err != nil {
		return nil, err
	}
	if o.Boot == (event.BootID{}) {
		if o.Boot, err = fs.BootID(); err != nil {
			return nil, err
		}
	}
	sock, err := openSocket(o.RingBytes)
	if err != nil {
		return nil, err
	}
	s := &conn{
		o: o, socket: sock, stop: make(chan struct{}), events: make(chan []event.Event, 2), // two batches of batchMax
		tracker: tracker{fs: fs, boot: o.Boot, argsMax: o.ArgsMax, execs: map[uint32]look{}, ends: map[uint32]ending{}},
	}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if err := s.listen(ctx); err != nil {
		return nil, err
	}
	if err := s.tracker.seed(); err != nil {
		return nil, err
	}
	s.socket.drain()
	if s.socket.err != nil {
		return nil, s.socket.err
	}
	s.tracker.clocks.read()
	s.tracker.apply(s.socket.messages, false)
	s.tracker.begin()
	s.overflow = s.socket.overflow || !s.socket.empty
	s.since = time.Now().UnixNano()
	s.lastGood.Store(s.since)
	return s, nil
}

// initialPIDs: the kernel does not answer in another pid namespace, and says
// pids of the initial one, which /proc must show as well.
func initialPIDs() error {
	const initial = "pid:[4026531836]" // PROC_PID_INIT_INO of linux/proc_ns.h
	if ns, err := os.Readlink("/proc/self/ns/pid"); err == nil && ns != initial {
		return errors.New("this is not the initial pid namespace, the only one the connector tells of (run in the host's: hostPID in Kubernetes, --pid=host in Docker; or use --source=poll)")
	}
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return fmt.Errorf("find this process in /proc: %w (needs a /proc of the initial pid namespace)", err)
	}
	if self != fmt.Sprint(os.Getpid()) {
		return fmt.Errorf("/proc belongs to another pid namespace: it calls process %d %s (mount the host's /proc)", os.Getpid(), self)
	}
	return nil
}

// listen asks for events until they come.
func (s *conn) listen(ctx context.Context) error {
	for range listenTries {
		ack := rand.Uint32()
		if err := s.socket.send(request(mcastListen, ack)); err != nil {
			return err
		}
		if err := s.answer(ctx, ack+1); err != nil {
			return err
		}
		// Fewer kinds, where the kernel knows how. It confirms that with
		// nothing, since the filter drops answers, and ignores it before 6.6.
		if err := s.socket.send(request(mcastListen, 0, evFork, evExec, evExit)); err != nil {
			return err
		}
		if heard, err := s.canary(); heard || err != nil {
			return err
		}
	}
	return errors.New("the kernel confirms the subscription and sends no events (another program may have switched them off: use --source=poll)")
}

// answer waits for the kernel's answer to a request.
func (s *conn) answer(ctx context.Context, ack uint32) error {
	deadline := time.Now().Add(answerTime)
	for time.Now().Before(deadline) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.socket.wait(deadline, s.stopping)
		if s.socket.err != nil {
			return s.socket.err
		}
		for _, m := range s.socket.messages {
			if m.what != evNone || m.ack != ack {
				continue
			}
			if m.errno != 0 {
				return fmt.Errorf("listen: %w (needs CAP_NET_ADMIN: run with sudo, or use --source=poll)", syscall.Errno(m.errno))
			}
			return nil
		}
	}
	return errNoAnswer
}

// canary makes a process that fails to exec, since / is a directory, and reports
// whether the kernel told of it.
func (s *conn) canary() (heard bool, err error) {
	_, err = syscall.ForkExec("/", []string{"/"}, nil)
	if !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EISDIR) && !errors.Is(err, syscall.EPERM) {
		return false, fmt.Errorf("start a process to test the subscription: %w", err)
	}
	s.socket.drain()
	for _, m := range s.socket.messages {
		if m.what == evFork && m.pid == m.tgid && m.parentTGID == uint32(os.Getpid()) {
			return true, nil
		}
	}
	return false, s.socket.err
}
