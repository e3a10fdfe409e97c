// SPDX-License-Identifier: Apache-2.0
// subreaper FILE ARG...: a child of ours makes one of its own and ends. That orphan,
// which is ours now (PR_SET_CHILD_SUBREAPER), makes a child, late, and executes FILE.
#include "helper.h"

static void orphan(int gate, int tell, char **command)
{
	char c;

	if (read(gate, &c, 1) != 1)
		_exit(1);
	pid_t late = fork();
	if (late == 0)
		_exit(0);
	wait_for(late);
	if (write(tell, &late, sizeof(late)) != sizeof(late))
		_exit(1);
	execv(command[0], command);
	_exit(127);
}

int main(int argc, char **argv)
{
	int gate[2], tell[2];
	pid_t pid, late;

	if (argc < 2)
		usage("subreaper FILE ARG...");
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) || pipe2(gate, O_CLOEXEC) || pipe2(tell, O_CLOEXEC))
		die("set up");
	pid_t between = fork();
	if (between == 0) {
		pid = fork();
		if (pid == 0)
			orphan(gate[0], tell[1], argv + 1);
		_exit(write(tell[1], &pid, sizeof(pid)) != sizeof(pid));
	}
	if (read(tell[0], &pid, sizeof(pid)) != sizeof(pid) || pid <= 0)
		die("make child");
	say_process("between", between);
	say_process("orphan", pid);
	wait_for(between);
	if (write(gate[1], "x", 1) != 1 || read(tell[0], &late, sizeof(late)) != sizeof(late))
		die("pipe");
	say("late", "%d", late);
	return wait_for(pid) != 0;
}
