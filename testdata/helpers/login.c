// SPDX-License-Identifier: Apache-2.0
// login UID FILE ARG...: a child in a session and on a terminal of its own, with UID
// as its login uid, executes FILE. login - FILE ARG...: a child in a session of its
// own without a terminal. Says tty, auid, and the beginning of a JSON array: the
// executables of the child's ancestors, nearest first, as far as they are files.
#include "helper.h"

/* One level up from pid; 0 above the first process. */
static pid_t parent_of(pid_t pid)
{
	char path[64], line[256];
	pid_t parent = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	FILE *f = fopen(path, "r");
	if (!f)
		die(path);
	while (fgets(line, sizeof(line), f) && sscanf(line, "PPid: %d", &parent) != 1)
		;
	fclose(f);
	return parent;
}

static void say_ancestors(void)
{
	static char list[64 << 10] = "[";

	for (pid_t pid = getpid(); pid > 0; pid = parent_of(pid)) {
		char path[64], exe[PATH_MAX];
		size_t used = strlen(list);

		snprintf(path, sizeof(path), "/proc/%d/exe", pid);
		ssize_t n = readlink(path, exe, sizeof(exe) - 1);
		exe[n > 0 ? n : 0] = 0;
		if (n < 0 || access(exe, F_OK)) /* some systems show nobody what pid 1 is; a memfd has no one name */
			break;
		snprintf(list + used, sizeof(list) - used, "%s\"%s\"", used > 1 ? "," : "", exe);
	}
	say("ancestors", "%s", list);
}

static void set_login_uid(const char *uid)
{
	int fd = open("/proc/self/loginuid", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, uid, strlen(uid)) != (ssize_t)strlen(uid))
		skip("the login uid cannot be set here (needs CAP_AUDIT_CONTROL and a kernel with audit)");
	close(fd);
}

static void say_auid(void)
{
	unsigned int uid;
	FILE *f = fopen("/proc/self/loginuid", "r");

	if (!f || fscanf(f, "%u", &uid) != 1)
		skip("this kernel has no login uids");
	fclose(f);
	say("auid", "%u", uid);
}

int main(int argc, char **argv)
{
	int master = -1;

	if (argc < 3)
		usage("login UID|- FILE ARG...");
	bool terminal = strcmp(argv[1], "-") != 0;
	if (terminal) {
		set_login_uid(argv[1]);
		master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (master < 0 || grantpt(master) || unlockpt(master))
			die("open terminal");
		say("tty", "%s", ptsname(master) + strlen("/dev/"));
	}
	say_auid();
	say_ancestors();
	pid_t pid = fork();
	if (pid == 0) {
		die_with_parent();
		if (setsid() < 0 || (terminal && open(ptsname(master), O_RDWR) < 0)) /* the first that a session opens is its own */
			_exit(126);
		execv(argv[2], argv + 2);
		_exit(127);
	}
	if (pid < 0)
		die("fork");
	say_process("child", pid);
	return wait_for(pid) != 0;
}
