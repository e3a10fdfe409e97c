// SPDX-License-Identifier: Apache-2.0
// as UID GID FILE ARG...: executes FILE as that user, without other groups.
#include "helper.h"
#include <grp.h>

int main(int argc, char **argv)
{
	if (argc < 4)
		usage("as UID GID FILE ARG...");
	uid_t uid = atoi(argv[1]);
	gid_t gid = atoi(argv[2]);
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		die("change user");
	die_with_parent(); /* a change of user has taken that back */
	execv(argv[3], argv + 3);
	die(argv[3]);
}
