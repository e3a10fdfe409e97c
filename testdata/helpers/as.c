// SPDX-License-Identifier: Apache-2.0
// as [-a CAP] [-c] [-n] UID GID FILE ARG...: executes FILE as that user, without
// other groups; with -a with that ambient capability, with -c in a cgroup namespace
// of its own, with -n so that nothing can give it privileges (no_new_privs).
#include "helper.h"
#include <grp.h>
#include <linux/capability.h>

/* Needs PR_SET_KEEPCAPS before the change of user. */
static void ambient(int cap)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {};

	data[cap / 32].permitted = data[cap / 32].effective = data[cap / 32].inheritable = 1u << (cap % 32);
	if (syscall(SYS_capset, &h, data) || prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0))
		die("raise ambient capability");
}

int main(int argc, char **argv)
{
	int cap = -1, c;
	bool no_new_privs = false;

	while ((c = getopt(argc, argv, "+a:cn")) != -1)
		switch (c) {
		case 'a':
			cap = atoi(optarg);
			break;
		case 'c':
			if (unshare(CLONE_NEWCGROUP))
				skip("a cgroup namespace cannot be made here");
			break;
		case 'n':
			no_new_privs = true;
			break;
		default:
			return 2;
		}
	argv += optind;
	if (argc - optind < 3)
		usage("as [-a CAP] [-c] [-n] UID GID FILE ARG...");
	uid_t uid = atoi(argv[0]);
	gid_t gid = atoi(argv[1]);
	if (cap >= 0 && prctl(PR_SET_KEEPCAPS, 1))
		die("keep capabilities");
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		die("change user");
	if (cap >= 0)
		ambient(cap);
	if (no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("set no_new_privs");
	die_with_parent(); /* a change of user has taken that back */
	execv(argv[2], argv + 2);
	die(argv[2]);
}
