// SPDX-License-Identifier: Apache-2.0
// loops WORKERS N FILE ARG...: WORKERS processes, each of which executes FILE N
// times, one after the other. With N 0 until the input ends.
#include "helper.h"
#include <poll.h>

static bool ended(void)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		usage("loops WORKERS N FILE ARG...");
	int workers = atoi(argv[1]), n = atoi(argv[2]);
	for (int w = 0; w < workers; w++) {
		if (fork() != 0)
			continue;
		die_with_parent();
		for (int i = 0; n == 0 ? !ended() : i < n; i++) {
			int status;
			pid_t pid = vfork();

			if (pid == 0) {
				execv(argv[3], argv + 3);
				_exit(127);
			}
			if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
				_exit(1);
		}
		_exit(0);
	}
	ready();
	for (int w = 0; w < workers; w++) {
		int status;

		if (wait(&status) < 0 || status != 0)
			return 1;
	}
	return 0;
}
