// SPDX-License-Identifier: Apache-2.0
// fdexec memfd NAME|unlink PATH|linked PATH at|proc FILE ARG...: copies FILE into a
// memfd of that name, or to PATH which it then unlinks, for linked after it has made
// PATH.2 another name of the file, and executes the copy through the
// descriptor: by execveat with AT_EMPTY_PATH, or as /proc/self/fd/N.
#include "helper.h"

int main(int argc, char **argv)
{
	extern char **environ;
	char path[PATH_MAX];
	int fd;

	if (argc < 5)
		usage("fdexec memfd NAME|unlink PATH|linked PATH at|proc FILE ARG...");
	if (strcmp(argv[1], "memfd") == 0) {
		fd = syscall(SYS_memfd_create, argv[2], 0);
		if (fd < 0)
			die("memfd_create");
		copy_into(argv[4], fd);
	} else {
		int w = open(argv[2], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
		if (w < 0)
			die(argv[2]);
		copy_into(argv[4], w);
		close(w);
		fd = open(argv[2], O_RDONLY);
		snprintf(path, sizeof(path), "%s.2", argv[2]);
		if (strcmp(argv[1], "linked") == 0 && link(argv[2], path))
			die(path);
		if (fd < 0 || unlink(argv[2]))
			die(argv[2]);
	}
	say("fd", "%d", fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (strcmp(argv[3], "at") == 0)
		syscall(SYS_execveat, fd, "", argv + 4, environ, AT_EMPTY_PATH);
	else
		execve(path, argv + 4, environ);
	die("execute the descriptor");
}
