// SPDX-License-Identifier: Apache-2.0
// cgroup [-1|-2] [-m BYTES] PATH FILE ARG...: a child in the cgroup PATH, which is
// made and removed again, executes FILE; with -m it may use that much memory. -1
// and -2 choose the version, else the second is preferred. Says the child and how
// it ended.
#include "helper.h"

static char made[64][PATH_MAX]; /* innermost last */
static int levels;

static bool put(const char *dir, const char *file, const char *value)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	close(fd);
	return ok;
}

/* Finds a hierarchy of that version; of version 1 one with the controller. */
static bool find(int version, const char *controller, char *dir)
{
	FILE *f = fopen("/proc/self/mountinfo", "r");
	char line[4096], root[PATH_MAX], at[PATH_MAX], type[64], options[1024];
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f)) {
		char *rest = strstr(line, " - ");
		if (!rest || sscanf(line, "%*d %*d %*s %4095s %4095s", root, at) != 2 ||
		    sscanf(rest, " - %63s %*s %1023s", type, options) != 2 || strcmp(root, "/"))
			continue;
		if (version == 2)
			found = strcmp(type, "cgroup2") == 0;
		else if (strcmp(type, "cgroup") == 0)
			for (char *o = strtok(options, ","); o; o = strtok(NULL, ","))
				found = found || strcmp(o, controller) == 0;
		char probe[PATH_MAX + 64];
		if (found) {
			snprintf(probe, sizeof(probe), "%s/scenario-probe", at);
			found = mkdir(probe, 0755) == 0 && rmdir(probe) == 0;
		}
	}
	if (f)
		fclose(f);
	if (found)
		strcpy(dir, at);
	return found;
}

static void clear(void)
{
	for (int i = levels - 1; i >= 0; i--)
		rmdir(made[i]); /* not what was there before, or is in use */
}

int main(int argc, char **argv)
{
	int version = 0, c;
	const char *memory = NULL, *controller = "pids";
	char dir[PATH_MAX];

	while ((c = getopt(argc, argv, "+12m:")) != -1)
		switch (c) {
		case '1':
		case '2':
			version = c - '0';
			break;
		case 'm':
			memory = optarg;
			controller = "memory";
			break;
		default:
			return 2;
		}
	argv += optind;
	if (argc - optind < 2)
		usage("cgroup [-1|-2] [-m BYTES] PATH FILE ARG...");
	if (version != 1 && find(2, NULL, dir) && (!memory || put(dir, "cgroup.subtree_control", "+memory")))
		version = 2;
	else if (version != 2 && find(1, controller, dir))
		version = 1;
	else
		skip(version == 1   ? "no writable cgroup hierarchy of version 1"
		     : version == 2 ? "no writable cgroup hierarchy of version 2"
				    : "no writable cgroup hierarchy");

	for (char *level = strtok(strdup(argv[0]), "/"); level; level = strtok(NULL, "/")) {
		if (memory && version == 2)
			put(dir, "cgroup.subtree_control", "+memory");
		strncat(dir, "/", sizeof(dir) - strlen(dir) - 1);
		strncat(dir, level, sizeof(dir) - strlen(dir) - 1);
		if (mkdir(dir, 0755) && errno != EEXIST)
			die(dir);
		strcpy(made[levels++], dir);
	}
	if (memory && !put(dir, version == 2 ? "memory.max" : "memory.limit_in_bytes", memory)) {
		clear();
		skip("memory cannot be limited here");
	}
	pid_t pid = fork();
	if (pid == 0) {
		die_with_parent();
		if (!put(dir, "cgroup.procs", "0"))
			_exit(126);
		execv(argv[1], argv + 1);
		_exit(127);
	}
	say_process("child", pid);
	int status = wait_for(pid);
	clear();
	if (WIFEXITED(status) && WEXITSTATUS(status) == 126)
		skip("a process cannot be moved into a cgroup here");
	say_status(status);
	return 0;
}
