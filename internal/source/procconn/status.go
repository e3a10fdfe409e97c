package procconn

// statuses are the exit statuses of a process's threads since its last exec, as
// the connector tells them: one a thread, in the order of their ends.
type statuses struct {
	last    uint32 // of the thread that ended last
	core    uint32 // of one that dumped core; 0 = none did
	any     bool   // a thread has ended
	gone    bool   // the first thread has ended
	unseen  bool   // and was not seen to: its status may be any
	differs bool   // two threads ended differently
}

const (
	statusSignal = 0x7f
	statusCore   = 0x80
	sigSys       = 31
)

func (s *statuses) add(leader bool, status uint32) {
	if status&statusCore != 0 {
		s.core = status
	}
	if s.any && status&^statusCore != s.last&^statusCore {
		s.differs = true
	}
	s.any, s.last = true, status
	if leader {
		s.gone, s.unseen = true, false
	}
}

// wait is what waitpid(2) tells of the process (kernel: wait_task_zombie): what
// exit_group(2) or a deadly signal gave to all threads; else the status of the
// last thread to enter do_exit (synchronize_group_exit, Linux 5.18), or of the
// first thread (before). Which of them is not told, and threads that end at one
// moment need not be told in the order in which they entered. So it is known
// where all ended alike, however long before the others one did. A signal is
// always the whole process's, but for the SIGSYS by which seccomp(2) ends one
// thread.
//
// A thread that only waits until another one has dumped the core got its status
// before and lacks the flag (kernel: coredump_task_exit).
func (s *statuses) wait() (status uint32, ok bool) {
	signal := s.last & statusSignal
	if !s.gone || (s.differs || s.unseen) && (signal == 0 || signal == sigSys) {
		return 0, false
	}
	status = s.last
	if s.core != 0 && s.core&statusSignal == signal {
		status |= statusCore
	}
	return status, true
}
