// SPDX-License-Identifier: Apache-2.0
// race N: N children, one after the other, whose two threads end at one moment, the
// first one with 7 and the other with 0. Says what waitpid told: rows=(PID,CODE),...
// Which of them it is the kernel decides: since Linux 5.18 the last one to begin.
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
	static char rows[64 << 10];
	size_t used = 0;

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
			syscall(SYS_exit, 7);
		}
		if (pid < 0)
			die("fork");
		int status = wait_for(pid);
		if (!WIFEXITED(status) || (WEXITSTATUS(status) != 7 && WEXITSTATUS(status) != 0)) {
			fprintf(stderr, "a child ended with status %#x\n", status);
			return 1;
		}
		used += snprintf(rows + used, sizeof(rows) - used, "%s(%d,%d)", used ? "," : "", pid, WEXITSTATUS(status));
		if (used >= sizeof(rows))
			usage("race N, with a smaller N");
	}
	say("rows", "%s", rows);
	return 0;
}
