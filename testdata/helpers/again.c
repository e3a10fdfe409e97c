// SPDX-License-Identifier: Apache-2.0
// again ARG...: does what each line of its input says, until that ends. title: writes
// over its arguments as setproctitle(3) does, and says titled=1. exec: executes what
// is at its path by now, with the same arguments; that says execed=1.
#include "helper.h"

int main(int argc, char **argv)
{
	char line[16];
	size_t n = 0;
	ssize_t got;

	if (getenv("AGAIN"))
		say("execed", "1");
	ready();
	while ((got = read(STDIN_FILENO, &line[n], 1)) > 0) {
		if (line[n] != '\n') {
			if (++n == sizeof(line))
				usage("again ARG...");
			continue;
		}
		line[n] = 0;
		n = 0;
		if (strcmp(line, "title") == 0) {
			size_t len = argv[argc - 1] + strlen(argv[argc - 1]) - argv[0];

			memset(argv[0], 0, len);
			snprintf(argv[0], len, "renamed");
			say("titled", "1");
		} else if (strcmp(line, "exec") == 0) {
			setenv("AGAIN", "1", 1);
			execv(argv[0], argv);
			die(argv[0]);
		}
	}
	return 0;
}
