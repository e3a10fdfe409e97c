// SPDX-License-Identifier: Apache-2.0
// spawn fork|vfork|clone3|parent|parent3 FILE ARG...: makes a child in that way,
// which executes FILE. With parent (clone with CLONE_PARENT) and parent3 (clone3
// with it) a child of ours, maker, makes it, and it is ours nevertheless.
// spawn stay: by fork, and the child executes nothing.
// spawn beside: the same with CLONE_PARENT, so that it is a child of our parent's.
#include "helper.h"

struct clone_args_v0 {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
};

static pid_t clone3(uint64_t flags, int signal)
{
	struct clone_args_v0 a = {.flags = flags, .exit_signal = signal};
	pid_t pid = syscall(SYS_clone3, &a, sizeof(a));

	if (pid < 0 && errno == ENOSYS)
		skip("this kernel or sandbox has no clone3");
	return pid;
}

static void child(char **command)
{
	if (!command[0]) {
		hold();
		_exit(0);
	}
	execv(command[0], command);
	_exit(127);
}

/* The one made by maker comes through a pipe. */
static pid_t made_by_maker(bool three, char **command, pid_t *maker)
{
	int p[2];
	pid_t pid = 0;

	if (pipe2(p, O_CLOEXEC))
		die("pipe");
	*maker = fork();
	if (*maker == 0) {
		/* CLONE_PARENT takes the exit signal from the maker, and clone3 wants 0. */
		pid = three ? clone3(CLONE_PARENT, 0) : syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
		if (pid == 0)
			child(command);
		if (write(p[1], &pid, sizeof(pid)) != sizeof(pid))
			die("write pipe");
		hold();
		_exit(0);
	}
	if (read(p[0], &pid, sizeof(pid)) != sizeof(pid) || pid <= 0)
		die("make child");
	return pid;
}

int main(int argc, char **argv)
{
	static pid_t maker; /* not on the stack that a vfork shares */
	pid_t pid;

	if (argc < 2)
		usage("spawn fork|vfork|clone3|parent|parent3|stay|beside FILE ARG...");
	char *how = argv[1], **command = argv + 2;
	if (strcmp(how, "beside") == 0) {
		pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
		if (pid < 0)
			die(how);
		if (pid == 0)
			child(command);
		say_process("beside", pid);
		ready();
		hold();
		return 0;
	}
	if (strncmp(how, "parent", 6) == 0)
		pid = made_by_maker(how[6] == '3', command, &maker);
	else if (strcmp(how, "vfork") == 0) {
		pid = vfork();
		if (pid == 0) {
			execv(command[0], command);
			_exit(127);
		}
	} else {
		pid = strcmp(how, "clone3") == 0 ? clone3(0, SIGCHLD) : fork();
		if (pid == 0)
			child(command);
	}
	if (pid < 0)
		die(how);
	say_process("child", pid);
	if (maker)
		say_process("maker", maker);
	ready();
	int status = wait_for(pid);
	if (maker)
		wait_for(maker);
	return status != 0;
}
