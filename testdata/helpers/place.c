// SPDX-License-Identifier: Apache-2.0
// place cd DIR FILE ARG...: executes FILE right after a change to DIR.
// place chroot DIR FILE ARG...: with DIR as its root; FILE is a path in there.
// place deleted DIR FILE ARG...: in a directory that it makes and removes.
#include "helper.h"

int main(int argc, char **argv)
{
	if (argc < 4)
		usage("place cd|chroot|deleted DIR FILE ARG...");
	char *how = argv[1], *dir = argv[2], **command = argv + 3;
	if (strcmp(how, "deleted") == 0 && mkdir(dir, 0755))
		die(dir);
	if (strcmp(how, "chroot") == 0 ? chroot(dir) || chdir("/") : chdir(dir))
		die(dir);
	if (strcmp(how, "deleted") == 0 && rmdir(dir))
		die(dir);
	execv(command[0], command);
	die(command[0]);
}
