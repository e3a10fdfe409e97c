// SPDX-License-Identifier: Apache-2.0
// deep LEVELS LENGTH FILE ARG...: copies FILE below LEVELS directories with
// names of LENGTH letters, starts it there, says where, if that is a path, and clears up.
#include "helper.h"

int main(int argc, char **argv)
{
	char path[PATH_MAX], name[NAME_MAX + 1] = "";

	if (argc < 4)
		usage("deep LEVELS LENGTH FILE ARG...");
	int levels = atoi(argv[1]);
	memset(name, 'd', atoi(argv[2]) % NAME_MAX);
	for (int i = 0; i < levels; i++)
		if (mkdir(name, 0755) || chdir(name))
			die("make directory");
	int fd = open("program", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (fd < 0)
		die("program");
	copy_into(argv[3], fd);
	close(fd);
	pid_t pid = fork();
	if (pid == 0) {
		argv[3] = "deep";
		execv("./program", argv + 3);
		die("./program");
	}
	say_process("child", pid);
	if (getcwd(path, sizeof(path)))
		say("exe", "%s/program", path);
	ready();
	int status = wait_for(pid);
	unlink("program");
	for (int i = 0; i < levels; i++)
		if (chdir("..") || rmdir(name))
			die("remove directory");
	return status != 0;
}
