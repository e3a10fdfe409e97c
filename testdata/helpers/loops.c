// SPDX-License-Identifier: Apache-2.0
// loops [-n] WORKERS N FILE ARG...: WORKERS processes, each of which executes FILE N
// times, one after the other. With N 0 until the input ends. Says workers='PROCESS',...
// With -n each program has two more arguments, the worker's number and a running number
// from 1; says of each worker which it is and how far it got: w0=PROCESS, w0_last=NUMBER.
#include "helper.h"
#include <poll.h>

static bool ended(void)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static void work(int n, char **command)
{
	int status;
	pid_t pid = vfork();

	if (pid == 0) {
		execv(command[0], command);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
		fprintf(stderr, "program %d failed\n", n);
		_exit(1);
	}
}

int main(int argc, char **argv)
{
	static char list[8192];
	bool numbered = argc > 1 && strcmp(argv[1], "-n") == 0;

	argc -= numbered;
	argv += numbered;
	if (argc < 4)
		usage("loops [-n] WORKERS N FILE ARG...");
	int workers = atoi(argv[1]), n = atoi(argv[2]);
	for (int w = 0; w < workers; w++) {
		char worker[16], number[16], name[32];
		char *command[argc]; /* the two more take the places of WORKERS and N */
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid > 0) {
			char *key = process_key(pid);
			snprintf(name, sizeof(name), "w%d", w);
			if (numbered)
				say(name, "%s", key);
			size_t used = strlen(list);
			if (snprintf(list + used, sizeof(list) - used, "%s'%s'", w ? "," : "", key) >= (int)(sizeof(list) - used))
				usage("loops with fewer WORKERS");
			continue;
		}
		die_with_parent();
		memcpy(command, argv + 3, (argc - 2) * sizeof(*command));
		if (numbered) {
			snprintf(worker, sizeof(worker), "%d", w);
			command[argc - 3] = worker;
			command[argc - 2] = number;
			command[argc - 1] = NULL;
		}
		int i;
		for (i = 0; n == 0 ? !ended() : i < n; i++) {
			snprintf(number, sizeof(number), "%d", i + 1);
			work(i + 1, command);
		}
		snprintf(name, sizeof(name), "w%d_last", w);
		if (numbered)
			say(name, "%d", i);
		_exit(0);
	}
	say("workers", "%s", list);
	ready();
	for (int w = 0; w < workers; w++) {
		int status;

		if (wait(&status) < 0 || status != 0)
			return 1;
	}
	return 0;
}
