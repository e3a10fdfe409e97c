// SPDX-License-Identifier: Apache-2.0
// place cd DIR FILE ARG...: executes FILE right after a change to DIR.
// place chroot DIR FILE ARG...: with DIR as its root; FILE is a path in there.
// place deleted DIR FILE ARG...: in a directory that it makes and removes.
// place nosuid DIR FILE ARG...: where DIR is mounted so that programs in there give
// no privileges.
// place other DIR FILE ARG...: in the mount namespace of another process, where DIR
// is a file system that holds nothing but a copy of FILE; that is executed.
#include "helper.h"

static void own_mounts(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		skip("a mount namespace cannot be made here");
}

static void nosuid(const char *dir)
{
	own_mounts();
	if (mount(dir, dir, NULL, MS_BIND, NULL) || mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND | MS_NOSUID, NULL))
		die(dir);
}

/* Gives the path of the copy. */
static char *other(const char *dir, const char *file)
{
	char *copy, ns[64], c;
	int p[2];

	if (asprintf(&copy, "%s/%s", dir, strrchr(file, '/') + 1) < 0 || pipe2(p, O_CLOEXEC))
		die("pipe");
	pid_t pid = fork();
	if (pid == 0) {
		die_with_parent();
		own_mounts();
		if (mount("scenario", dir, "tmpfs", 0, NULL))
			die(dir);
		int fd = open(copy, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
		if (fd < 0)
			die(copy);
		copy_into(file, fd);
		close(fd);
		if (write(p[1], "x", 1) != 1)
			die("write pipe");
		pause();
		_exit(0);
	}
	close(p[1]);
	if (read(p[0], &c, 1) != 1)
		exit(WEXITSTATUS(wait_for(pid)));
	snprintf(ns, sizeof(ns), "/proc/%d/ns/mnt", pid);
	int fd = open(ns, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNS))
		die(ns);
	kill(pid, SIGKILL);
	wait_for(pid);
	return copy;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		usage("place cd|chroot|deleted|nosuid|other DIR FILE ARG...");
	char *how = argv[1], *dir = argv[2], **command = argv + 3;
	if (strcmp(how, "deleted") == 0 && mkdir(dir, 0755))
		die(dir);
	if (strcmp(how, "nosuid") == 0)
		nosuid(dir);
	if (strcmp(how, "other") == 0)
		command[0] = other(dir, command[0]);
	if (strcmp(how, "chroot") == 0 ? chroot(dir) || chdir("/") : chdir(dir))
		die(dir);
	if (strcmp(how, "deleted") == 0 && rmdir(dir))
		die(dir);
	execv(command[0], command);
	die(command[0]);
}
