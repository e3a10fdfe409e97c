package procconn

// statuses are the exit statuses of a process's threads since its last exec, as
// the connector tells them: one a thread, in the order of their ends.
type statuses struct {
	leader  uint32 // of the first thread, once gone
	last    uint32 // of the last one after it
	core    uint32 // of one that dumped core; 0 = none did
	gone    bool   // the first thread has ended
	differs bool   // a thread after it ended otherwise, or it was not seen to end
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
	switch {
	case leader:
		s.leader, s.gone, s.differs = status, true, false
	case s.gone:
		s.last = status
		if status&^statusCore != s.leader&^statusCore {
			s.differs = true
		}
	}
}

// wait is what waitpid(2) tells of the process: the first thread's status, or
// the one that exit_group(2) or a deadly signal gave to all of them (kernel:
// wait_task_zombie). Which of the two is not told. They are the same where no
// thread outlived the first one, or all that did ended like it. A signal is
// always the whole process's, but for the SIGSYS by which seccomp(2) ends one
// thread.
//
// A thread that only waits until another one has dumped the core got its status
// before and lacks the flag (kernel: coredump_task_exit).
func (s *statuses) wait() (status uint32, ok bool) {
	switch signal := s.last & statusSignal; {
	case s.gone && !s.differs:
		status = s.leader
	case signal != 0 && signal != sigSys:
		status = s.last
	default:
		return 0, false
	}
	if s.core != 0 && s.core&statusSignal == status&statusSignal {
		status |= statusCore
	}
	return status, true
}
