// SPDX-License-Identifier: Apache-2.0
// big COUNT LENGTH FILE: executes FILE with COUNT arguments of LENGTH letters.
#include "helper.h"

int main(int argc, char **argv)
{
	if (argc != 4)
		usage("big COUNT LENGTH FILE");
	int count = atoi(argv[1]), length = atoi(argv[2]);
	char **args = calloc(count + 2, sizeof(*args));

	args[0] = "big";
	for (int i = 1; i <= count; i++) {
		args[i] = calloc(1, length + 1);
		memset(args[i], 'a' + (i - 1) % 26, length);
	}
	execv(argv[3], args);
	die(argv[3]);
}
