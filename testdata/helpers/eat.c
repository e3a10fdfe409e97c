// SPDX-License-Identifier: Apache-2.0
// eat BYTES: uses that much memory once its input ends.
#include "helper.h"

int main(int argc, char **argv)
{
	if (argc != 2)
		usage("eat BYTES");
	ready();
	hold();
	for (size_t left = strtoull(argv[1], NULL, 10); left >= 65536; left -= 65536) {
		volatile char *piece = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (piece == MAP_FAILED)
			die("map");
		for (int i = 0; i < 65536; i += 4096)
			piece[i] = 1;
	}
	return 3;
}
