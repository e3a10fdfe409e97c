// SPDX-License-Identifier: Apache-2.0
// race N: N children, one after the other, whose two threads end at one moment.
#include "helper.h"

static pthread_barrier_t start;

static void *other(void *arg)
{
	pthread_barrier_wait(&start);
	syscall(SYS_exit, 0);
	return arg;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		usage("race N");
	for (int i = atoi(argv[1]); i > 0; i--) {
		pid_t pid = fork();
		if (pid == 0) {
			pthread_t t;

			pthread_barrier_init(&start, NULL, 2);
			if (pthread_create(&t, NULL, other, NULL))
				_exit(1);
			pthread_barrier_wait(&start);
			syscall(SYS_exit, 0);
		}
		if (pid < 0 || wait_for(pid) != 0)
			die("child");
	}
	return 0;
}
