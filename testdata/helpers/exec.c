// SPDX-License-Identifier: Apache-2.0
// exec [-w] [-s] ARG0 FILE ARG...: executes FILE as ARG0. With -w not before a
// line is on its input. When it fails it says errno, and with -s goes on as
// shells do with a file that the kernel cannot execute.
// exec -d DIR ARG0 FILE: by execveat, FILE relative to DIR or "", as fd.
// exec -n FILE: without any argument; exec -N FILE: without an argument vector.
#include "helper.h"

int main(int argc, char **argv)
{
	bool shell = false;
	char *none[] = {NULL};
	extern char **environ;
	int c, dir = -1;

	while ((c = getopt(argc, argv, "+wsnNd:")) != -1)
		switch (c) {
		case 'w':
			ready();
			wait_line();
			break;
		case 's':
			shell = true;
			break;
		case 'd':
			dir = open(optarg, O_RDONLY | O_DIRECTORY);
			if (dir < 0)
				die(optarg);
			say("fd", "%d", dir);
			break;
		case 'n':
		case 'N':
			if (argc != optind + 1)
				usage("exec -n FILE");
			syscall(SYS_execve, argv[optind], c == 'n' ? none : NULL, environ);
			die(argv[optind]);
			break;
		default:
			return 2;
		}
	argv += optind;
	if (argc - optind < 2)
		usage("exec [-w] [-s] ARG0 FILE ARG...");
	char *file = argv[1];
	argv[1] = argv[0];
	if (dir < 0)
		execve(file, argv + 1, environ);
	else
		syscall(SYS_execveat, dir, file, argv + 1, environ, *file ? 0 : AT_EMPTY_PATH);
	say("errno", "%d", errno);
	if (!shell)
		return 126;
	argv[0] = "/bin/sh";
	argv[1] = file;
	execve("/bin/sh", argv, environ);
	die("/bin/sh");
}
