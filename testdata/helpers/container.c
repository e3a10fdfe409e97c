// SPDX-License-Identifier: Apache-2.0
// container ID FILE ARG...: FILE, a static program, runs in a container of runc's
// with that id, whose bundle is made in the current directory.
#include "helper.h"

int main(int argc, char **argv)
{
	if (argc < 3)
		usage("container ID FILE ARG...");
	if ((mkdir("rootfs", 0755) || mkdir("rootfs/proc", 0755)) && errno != EEXIST)
		die("make rootfs");
	int fd = open("rootfs/program", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (fd < 0)
		die("rootfs/program");
	copy_into(argv[2], fd);
	close(fd);
	FILE *f = fopen("config.json", "w");
	if (!f)
		die("config.json");
	fputs("{\"ociVersion\": \"1.0.2\", \"root\": {\"path\": \"rootfs\", \"readonly\": true},\n"
	      "\"mounts\": [{\"destination\": \"/proc\", \"type\": \"proc\", \"source\": \"proc\"}],\n"
	      "\"linux\": {\"namespaces\": [{\"type\": \"pid\"}, {\"type\": \"mount\"}, {\"type\": \"ipc\"}, {\"type\": \"uts\"}]},\n"
	      "\"process\": {\"user\": {\"uid\": 0, \"gid\": 0}, \"cwd\": \"/\", \"args\": [\"/program\"", f);
	for (int i = 3; i < argc; i++)
		fprintf(f, ", \"%s\"", argv[i]);
	fputs("]}}\n", f);
	if (fclose(f))
		die("config.json");
	execlp("runc", "runc", "--root", "state", "run", argv[1], NULL);
	if (errno == ENOENT)
		skip("runc is not installed");
	die("runc");
}
