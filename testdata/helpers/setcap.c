// SPDX-License-Identifier: Apache-2.0
// setcap NUMBER FILE: gives FILE that one capability, permitted and effective.
#include "helper.h"
#include <linux/capability.h>
#include <sys/xattr.h>

int main(int argc, char **argv)
{
	if (argc != 3)
		usage("setcap NUMBER FILE");
	int cap = atoi(argv[1]);
	struct vfs_cap_data data = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE};

	data.data[cap / 32].permitted = 1u << (cap % 32);
	if (setxattr(argv[2], "security.capability", &data, sizeof(data), 0) == 0)
		return 0;
	if (errno == EOPNOTSUPP)
		skip("the file system of the scenarios holds no file capabilities");
	die(argv[2]);
}
