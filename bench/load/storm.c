// SPDX-License-Identifier: Apache-2.0
// The load: storm N PATH executes PATH N times, one after the other, as cheaply
// as the kernel allows (vfork, execve, wait). Argument 1 of each is its number.
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char number[16];
	char *args[] = {argv[2], number, "sentineld-load", NULL};
	int n = argc == 3 ? atoi(argv[1]) : 0;

	for (int i = 0; i < n; i++) {
		snprintf(number, sizeof(number), "%d", i);
		pid_t pid = vfork();
		if (pid == 0) {
			execve(argv[2], args, NULL);
			_exit(127);
		}
		int status;
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
			return 1;
	}
	return 0;
}
