// SPDX-License-Identifier: Apache-2.0
// threads run N: N threads that stay until the input ends; says their ids.
// threads exec FILE ARG...: a thread that is not the first executes FILE, once a
// line is on the input.
#include "helper.h"

static pthread_barrier_t up;
static char **command;
static pid_t ids[256];

static void *run(void *slot)
{
	*(pid_t *)slot = syscall(SYS_gettid);
	pthread_barrier_wait(&up);
	pause();
	return NULL;
}

static void *execute(void *arg)
{
	execv(command[0], command);
	die(command[0]);
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t t;
	char list[4096] = "";

	if (argc < 3)
		usage("threads run N|exec FILE ARG...");
	if (strcmp(argv[1], "exec") == 0) {
		command = argv + 2;
		ready();
		wait_line();
		if (pthread_create(&t, NULL, execute, NULL))
			die("start thread");
		pthread_join(t, NULL);
		return 1;
	}
	int n = atoi(argv[2]) & 255;
	pthread_barrier_init(&up, NULL, n + 1);
	for (int i = 0; i < n; i++)
		if (pthread_create(&t, NULL, run, &ids[i]))
			die("start thread");
	pthread_barrier_wait(&up);
	for (int i = 0; i < n; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%d", i ? "," : "", ids[i]);
	say("tids", "%s", list);
	ready();
	hold();
	return 0;
}
