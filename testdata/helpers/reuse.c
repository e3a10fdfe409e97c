// SPDX-License-Identifier: Apache-2.0
// reuse PID FILE ARG...: a child with that very pid executes FILE.
#include "helper.h"

struct clone_args_v1 {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size;
};

int main(int argc, char **argv)
{
	if (argc < 3)
		usage("reuse PID FILE ARG...");
	pid_t want = atoi(argv[1]);
	struct clone_args_v1 a = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&want, .set_tid_size = 1};
	pid_t pid = syscall(SYS_clone3, &a, sizeof(a));
	for (int i = 0; pid < 0 && errno == EEXIST && i < 1000; i++) { /* somebody was first, who may end */
		nap(10);
		pid = syscall(SYS_clone3, &a, sizeof(a));
	}
	if (pid == 0) {
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (pid < 0 && errno == EEXIST)
		skip("another process took the pid first");
	if (pid < 0 && (errno == ENOSYS || errno == EPERM || errno == EINVAL))
		skip("a pid cannot be chosen here (clone3 with set_tid, Linux 5.5)");
	if (pid < 0)
		die("clone3");
	say_process("child", pid);
	return wait_for(pid) != 0;
}
