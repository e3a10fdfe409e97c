// SPDX-License-Identifier: Apache-2.0
// bomb TRIES LIMIT UID: forks TRIES times as a user that may have only LIMIT
// processes. Says how often it could.
#include "helper.h"

int main(int argc, char **argv)
{
	int made = 0, refused = 0, gate[2];

	if (argc != 4)
		usage("bomb TRIES LIMIT UID");
	struct rlimit limit = {atol(argv[2]), atol(argv[2])};
	if (pipe(gate) || setrlimit(RLIMIT_NPROC, &limit) || setresuid(atoi(argv[3]), atoi(argv[3]), atoi(argv[3])))
		die("set up");
	for (int i = atoi(argv[1]); i > 0; i--) {
		pid_t pid = fork();
		if (pid == 0) {
			char c;
			close(gate[1]);
			_exit(read(gate[0], &c, 1) != 0);
		}
		made += pid > 0;
		refused += pid < 0;
	}
	say("made", "%d", made);
	say("refused", "%d", refused);
	ready();
	hold();
	close(gate[1]);
	while (wait(NULL) > 0)
		;
	return 0;
}
