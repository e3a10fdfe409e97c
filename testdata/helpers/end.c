// SPDX-License-Identifier: Apache-2.0
// end [now] exit CODE|signal NUMBER|sleep MS: stays until its input ends, or not
// with now, and ends in that way.
#include "helper.h"

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "now") == 0) {
		argc--;
		argv++;
	} else {
		ready();
		hold();
	}
	if (argc < 3)
		usage("end [now] exit CODE|signal NUMBER|sleep MS");
	int n = atoi(argv[2]);
	if (strcmp(argv[1], "exit") == 0)
		return n;
	if (strcmp(argv[1], "sleep") == 0) {
		nap(n);
		return 0;
	}
	signal(n, SIG_DFL); /* whoever started us may ignore it */
	kill(getpid(), n);
	return 99;
}
