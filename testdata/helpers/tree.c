// SPDX-License-Identifier: Apache-2.0
// tree DEPTH: a binary tree of forks that stays until the input ends. Says its
// edges as processes: edges=('CHILD','PARENT'),...
#include "helper.h"

static int report[2], gate[2];

static void grow(int depth)
{
	pid_t pids[2];
	char c;

	for (int i = 0; depth > 1 && i < 2; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			char line[256];

			close(gate[1]);
			int n = snprintf(line, sizeof(line), "('%s',", process_key(getpid()));
			n += snprintf(line + n, sizeof(line) - n, "'%s')\n", process_key(getppid()));
			if (write(report[1], line, n) != n)
				_exit(1);
			grow(depth - 1);
			if (read(gate[0], &c, 1) != 0)
				_exit(1);
			_exit(0);
		}
	}
}

int main(int argc, char **argv)
{
	static char edges[8192];

	if (argc != 2)
		usage("tree DEPTH");
	int depth = atoi(argv[1]);
	if (pipe(report) || pipe(gate))
		die("pipe");
	grow(depth);
	FILE *f = fdopen(report[0], "r");
	for (int i = 0; i < (1 << depth) - 2; i++) {
		char line[256];

		if (!fgets(line, sizeof(line), f))
			die("read edges");
		line[strcspn(line, "\n")] = 0;
		snprintf(edges + strlen(edges), sizeof(edges) - strlen(edges), "%s%s", i ? "," : "", line);
	}
	say("edges", "%s", edges);
	ready();
	hold();
	close(gate[1]);
	while (wait(NULL) > 0)
		;
	return 0;
}
