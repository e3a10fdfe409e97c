// SPDX-License-Identifier: Apache-2.0
// binfmt MAGIC INTERPRETER FILE ARG...: a child executes FILE, which begins with
// MAGIC, while the kernel knows INTERPRETER for such files (binfmt_misc).
#include "helper.h"

#define DIR "/proc/sys/fs/binfmt_misc"
#define NAME "scenario"

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

int main(int argc, char **argv)
{
	char *rule;
	bool mounted = false;

	if (argc < 4)
		usage("binfmt MAGIC INTERPRETER FILE ARG...");
	if (access(DIR "/register", W_OK)) {
		if (mount("binfmt_misc", DIR, "binfmt_misc", 0, NULL))
			skip("binfmt_misc cannot be mounted here");
		mounted = true;
	}
	put(DIR "/" NAME, "-1"); /* of a run that was killed */
	if (asprintf(&rule, ":" NAME ":M::%s::%s:", argv[1], argv[2]) < 0 || !put(DIR "/register", rule))
		die("register " NAME);
	pid_t pid = fork();
	if (pid == 0) {
		die_with_parent();
		execv(argv[3], argv + 3);
		_exit(127);
	}
	say_process("child", pid);
	int status = wait_for(pid);
	put(DIR "/" NAME, "-1");
	if (mounted)
		umount(DIR);
	return status != 0;
}
