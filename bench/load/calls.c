// SPDX-License-Identifier: Apache-2.0
// The load of the failed execs: calls getppid N makes a system call that does
// next to nothing N times; calls execve N fails to execute a file that is not
// there N times, and rests now and then, so that the failures can be read before
// they fill a buffer: what finds no room costs less. The CPU time of one call in
// ns is printed: other programs that run meanwhile would be in any other time.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE 100 /* failures between two rests */

int main(int argc, char **argv)
{
	char *args[] = {"/none", NULL};
	struct timespec a, b, rest = {.tv_nsec = 100000000};

	if (argc != 3 || atol(argv[2]) < 1)
		return 2;
	long n = atol(argv[2]);
	int execs = strcmp(argv[1], "execve") == 0;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	for (long i = 0; i < n; i++) {
		if (!execs) {
			syscall(SYS_getppid); /* the library's might remember it */
			continue;
		}
		if (execve(args[0], args, NULL) != -1 || errno != ENOENT)
			return 1;
		if (i % AT_ONCE == AT_ONCE - 1)
			nanosleep(&rest, NULL);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	printf("%.1f\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)n);
	return 0;
}
