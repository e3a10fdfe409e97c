package procconn

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readsMax bounds the messages that are read before they are applied.
const readsMax = 1 << 14

// socket is a member of the connector's multicast group. It is used by one
// goroutine, but for wake and waits.
type socket struct {
	file *os.File
	raw  syscall.RawConn
	buf  [4096]byte

	// Of the last wait or drain.
	messages []message
	empty    bool // nothing more waits
	overflow bool // messages were lost; those that were read before empty came first
	err      error
	began    int64 // when the last reading began, CLOCK_MONOTONIC

	reading atomic.Bool // messages are being read, or were and are not counted yet
}

func openSocket(bufferBytes int) (_ *socket, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_CONNECTOR)
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return nil, fmt.Errorf("the kernel has no connector (CONFIG_CONNECTOR and CONFIG_PROC_EVENTS): %w", errors.ErrUnsupported)
	case errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("make netlink socket: %w (a sandbox refuses AF_NETLINK: allow it, or use --source=poll)", err)
	case err != nil:
		return nil, fmt.Errorf("make netlink socket: %w", err)
	}
	s := &socket{file: os.NewFile(uintptr(fd), "process connector")}
	defer func() {
		if err != nil {
			s.file.Close()
		}
	}()
	// The kernel doubles the size: what it counts includes its own overhead.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferBytes/2)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (cnIdxProc - 1)})
	}
	if errors.Is(err, unix.EPERM) {
		// Since Linux 6.6 anybody may listen, but with a buffer that the first
		// storm overflows.
		return nil, errors.New("permission denied (needs CAP_NET_ADMIN in the initial user namespace: run with sudo, or use --source=poll)")
	} else if err != nil {
		return nil, fmt.Errorf("bind netlink socket: %w", err)
	}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		return nil, err
	}
	return s, nil
}

// send makes a request.
func (s *socket) send(b []byte) error {
	var err error
	if ctl := s.raw.Control(func(fd uintptr) {
		err = unix.Sendto(int(fd), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}); ctl != nil {
		return ctl
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return errors.New("the connector is not in this network namespace (run in the host's: hostNetwork in Kubernetes, --network=host in Docker; or use --source=poll)")
	}
	return err
}

// wait reads what there is, and waits until there is something, until the
// deadline if it is not zero, or until wake.
func (s *socket) wait(deadline time.Time, stopping func() bool) {
	s.reset()
	// Stop is looked at after the deadline is set: wake comes after it.
	if err := s.file.SetReadDeadline(deadline); err != nil {
		s.err = errLost
		return
	}
	if stopping() {
		return
	}
	if err := s.raw.Read(s.read); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && s.err == nil {
		s.err = errLost
	}
}

// drain reads what there is.
func (s *socket) drain() {
	s.reset()
	if err := s.raw.Control(func(fd uintptr) { s.read(fd) }); err != nil && s.err == nil {
		s.err = errLost
	}
}

// wake ends a wait. Safe for concurrent use.
func (s *socket) wake() { _ = s.file.SetReadDeadline(time.Unix(1, 0)) } // fails if it is closed: nobody waits

// waits reports whether something is there to be read. Safe for concurrent use.
func (s *socket) waits() (yes bool) {
	_ = s.raw.Control(func(fd uintptr) { // it fails if the socket is closed: nothing is read any more
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		yes = n > 0 && err == nil
	})
	return yes
}

// memory is how many bytes wait, with the kernel's overhead, and how many may. Safe for
// concurrent use; 0, 0 when the socket is closed.
func (s *socket) memory() (waiting, size int) {
	_ = s.raw.Control(func(fd uintptr) {
		var info [unix.SK_MEMINFO_DROPS + 1]uint32 // sock_get_meminfo in net/core/sock.c
		n := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&n)), 0)
		if errno == 0 {
			waiting, size = int(info[unix.SK_MEMINFO_RMEM_ALLOC]), int(info[unix.SK_MEMINFO_RCVBUF])
		}
	})
	return waiting, size
}

func (s *socket) reset() {
	s.messages, s.empty, s.overflow, s.err = s.messages[:0], false, false, nil
}

// read reports whether there was anything.
func (s *socket) read(fd uintptr) bool {
	s.began = mono()
	s.reading.Store(true)
	for len(s.messages) < readsMax {
		n, from, err := unix.Recvfrom(int(fd), s.buf[:], unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			s.empty = true
			if len(s.messages) == 0 {
				s.reading.Store(false)
			}
			return len(s.messages) > 0 || s.overflow
		case err == unix.ENOBUFS:
			// It is told in front of the messages that did find room.
			s.overflow = true
			continue
		case err != nil:
			s.err = fmt.Errorf("read process connector: %w", err)
			return true
		}
		if nl, ok := from.(*unix.SockaddrNetlink); !ok || nl.Pid != 0 {
			continue // not from the kernel
		}
		if s.messages, s.err = decode(s.messages, s.buf[:n]); s.err != nil {
			return true
		}
	}
	return true
}
