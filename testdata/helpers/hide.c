// SPDX-License-Identifier: Apache-2.0
// hide DIR FILE ARG...: executes FILE in a mount namespace where DIR is empty.
#include "helper.h"

int main(int argc, char **argv)
{
	if (argc < 3)
		usage("hide DIR FILE ARG...");
	if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", argv[1], "tmpfs", 0, NULL))
		die("hide directory");
	execv(argv[2], argv + 2);
	die(argv[2]);
}
