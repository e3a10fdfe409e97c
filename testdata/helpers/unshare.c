// SPDX-License-Identifier: Apache-2.0
// unshare pid|mnt|both FILE ARG...: a child in new namespaces executes FILE.
#include "helper.h"

int main(int argc, char **argv)
{
	if (argc < 3)
		usage("unshare pid|mnt|both FILE ARG...");
	int flags = strcmp(argv[1], "mnt") ? CLONE_NEWPID : 0;
	if (strcmp(argv[1], "pid"))
		flags |= CLONE_NEWNS;
	if (unshare(flags))
		skip("namespaces cannot be made here");
	pid_t pid = fork();
	if (pid == 0) {
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (pid < 0)
		die("fork");
	say_process("child", pid);
	return wait_for(pid) != 0;
}
