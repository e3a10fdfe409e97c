// SPDX-License-Identifier: Apache-2.0
// leader exit|thread: the first thread ends with 3 once the input ends; another
// goes on for a second and then ends the process with 7 (exit), or only itself
// with 5 (thread): then waitpid tells 5 since Linux 5.17, and 3 before.
// leader gone ARG...: the first thread ends at once, and the other stays until the
// input ends, then ends the process with 7.
#include "helper.h"

static bool whole;

static void *other(void *arg)
{
	nap(1000);
	if (whole)
		exit(7);
	syscall(SYS_exit, 5);
	return arg;
}

static void *stay(void *arg)
{
	char stat[64], state = 0;

	while (state != 'Z') {
		int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
		ssize_t n = fd < 0 ? -1 : read(fd, stat, sizeof(stat) - 1);
		if (n <= 0)
			die("read stat");
		close(fd);
		stat[n] = 0;
		sscanf(strchr(stat, ')') + 1, " %c", &state);
		nap(1);
	}
	ready();
	hold();
	exit(7);
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t t;
	bool gone = argc > 1 && strcmp(argv[1], "gone") == 0;

	whole = argc > 1 && strcmp(argv[1], "exit") == 0;
	if (!gone) {
		ready();
		hold();
	}
	if (pthread_create(&t, NULL, gone ? stay : other, NULL))
		die("start thread");
	syscall(SYS_exit, 3);
}
