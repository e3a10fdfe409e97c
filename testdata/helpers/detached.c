// SPDX-License-Identifier: Apache-2.0
// detached new TYPE PATH FILE ARG...: makes a file system of TYPE that is mounted
// nowhere, copies FILE to PATH in it, and executes it there.
// detached clone DIR PATH ARG...: executes PATH in a clone of DIR that is mounted nowhere.
// detached unmount DIR PATH FILE ARG...: mounts a tmpfs on DIR, copies FILE to PATH in
// it, unmounts it while it is in use (umount -l), and executes PATH there.
#include "helper.h"
#include <libgen.h>
#include <linux/mount.h>

static void place(int dir, const char *path, const char *file)
{
	char part[PATH_MAX];

	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
		if (mkdirat(dir, part, 0755))
			die(part);
	}
	int fd = openat(dir, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	if (fd < 0)
		die(path);
	copy_into(file, fd);
	close(fd);
}

int main(int argc, char **argv)
{
	extern char **environ;
	bool clone = argc > 1 && strcmp(argv[1], "clone") == 0;
	int dir;

	if (argc < (clone ? 4 : 5))
		usage("detached new TYPE|unmount DIR PATH FILE ARG..., detached clone DIR PATH ARG...");
	if (clone) {
		dir = syscall(SYS_open_tree, AT_FDCWD, argv[2], OPEN_TREE_CLONE);
	} else if (strcmp(argv[1], "new") == 0) {
		int fs = syscall(SYS_fsopen, argv[2], FSOPEN_CLOEXEC);
		if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
			die(argv[2]);
		dir = syscall(SYS_fsmount, fs, 0, 0);
	} else {
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
			die("unshare");
		if (mount("none", argv[2], "tmpfs", 0, NULL))
			die(argv[2]);
		dir = open(argv[2], O_RDONLY | O_DIRECTORY);
		if (dir < 0 || umount2(argv[2], MNT_DETACH))
			die(argv[2]);
	}
	if (dir < 0)
		die("detached mount");
	char *path = argv[3], **command = argv + 3;
	if (!clone) {
		place(dir, path, argv[4]);
		command++;
	}
	say("fd", "%d", dir);
	command[0] = basename(path);
	syscall(SYS_execveat, dir, path, command, environ, *path ? 0 : AT_EMPTY_PATH);
	die(path);
}
