// SPDX-License-Identifier: Apache-2.0
// leader exit|thread: the first thread ends with 3 once the input ends; another
// goes on for a second and then ends the process with 7 (exit), or only itself
// with 5 (thread): then waitpid tells 5 since Linux 5.17, and 3 before.
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

int main(int argc, char **argv)
{
	pthread_t t;

	whole = argc > 1 && strcmp(argv[1], "exit") == 0;
	ready();
	hold();
	if (pthread_create(&t, NULL, other, NULL))
		die("start thread");
	syscall(SYS_exit, 3);
}
