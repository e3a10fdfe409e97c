// SPDX-License-Identifier: Apache-2.0
// The load: storm N PATH RUN executes PATH N times, one after the other, as
// cheaply as the kernel allows (vfork, execve, wait); storm Ns PATH RUN does so
// for N seconds. The arguments of each are its number and sentineld-load-RUN, so
// that they are told from those of another run. How many it were is printed.
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
	char number[24], mark[48], *unit;
	char *args[] = {argv[2], number, mark, NULL};

	if (argc != 4)
		return 2;
	snprintf(mark, sizeof(mark), "sentineld-load-%s", argv[3]);
	double amount = strtod(argv[1], &unit);
	double end = *unit == 's' ? now() + amount : 0;
	long done = 0;
	while (end ? now() < end : done < (long)amount) {
		snprintf(number, sizeof(number), "%ld", done);
		pid_t pid = vfork();
		if (pid == 0) {
			execve(argv[2], args, NULL);
			_exit(127);
		}
		int status;
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
			return 1;
		done++;
	}
	printf("%ld\n", done);
	return 0;
}
