// SPDX-License-Identifier: Apache-2.0
// What the programs that scenarios run have in common. They are static, so that
// they run in a guest that holds nothing else, and speak to the runner in lines
// on standard output: NAME=VALUE, and "ready".
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HELPER static __attribute__((unused))

HELPER void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

HELPER void usage(const char *how)
{
	fprintf(stderr, "usage: %s\n", how);
	exit(2);
}

/* The scenario cannot be run on this system. */
HELPER void skip(const char *why)
{
	printf("skip=%s\n", why);
	fflush(stdout);
	_exit(77);
}

/* One write for each line: several processes may share the pipe. */
HELPER __attribute__((format(printf, 2, 3))) void say(const char *name, const char *format, ...)
{
	static char value[128 << 10];
	char *line;
	va_list args;

	va_start(args, format);
	vsnprintf(value, sizeof(value), format, args);
	va_end(args);
	int n = asprintf(&line, "%s=%s\n", name, value);
	if (n < 0 || write(STDOUT_FILENO, line, n) != n)
		die("write standard output");
	free(line);
}

HELPER void ready(void)
{
	if (write(STDOUT_FILENO, "ready\n", 6) != 6)
		die("write standard output");
}

/* Until the runner closes standard input. */
HELPER void hold(void)
{
	char c;

	while (read(STDIN_FILENO, &c, 1) > 0)
		;
}

/* Until the runner sends a line. Byte by byte: the rest is the next program's. */
HELPER void wait_line(void)
{
	char c;

	while (read(STDIN_FILENO, &c, 1) > 0 && c != '\n')
		;
}

HELPER void nap(long ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000};

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}

/* The identity as the views show it: BOOT-PID-START. */
HELPER char *process_key(pid_t pid)
{
	static char key[64];
	char path[64], boot[16] = "", stat[1024];
	unsigned long long start = 0;

	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "r");
	if (!f || !fgets(boot, 9, f))
		die("read boot id");
	fclose(f);
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (!f)
		die(path);
	size_t n = fread(stat, 1, sizeof(stat) - 1, f);
	fclose(f);
	stat[n] = 0;
	char *field = strrchr(stat, ')'); /* field 2; the start is field 22 */
	for (int i = 2; field && i < 22; i++)
		field = strchr(field + 1, ' ');
	if (!field || sscanf(field, " %llu", &start) != 1)
		die("find start in stat");
	snprintf(key, sizeof(key), "%s-%d-%llu", boot, pid, start);
	return key;
}

/* NAME is the pid, NAME_process the identity. */
HELPER void say_process(const char *name, pid_t pid)
{
	char long_name[64];

	say(name, "%d", pid);
	snprintf(long_name, sizeof(long_name), "%s_process", name);
	say(long_name, "%s", process_key(pid));
}

/* What waitpid tells. */
HELPER void say_status(int status)
{
	say("code", "%d", WIFEXITED(status) ? WEXITSTATUS(status) : 0);
	say("signal", "%d", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	say("core", "%d", WIFSIGNALED(status) && WCOREDUMP(status));
}

/* For a child that would go on by itself: it is not to outlive us when we are killed. */
HELPER void die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

HELPER int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) != pid)
		if (errno != EINTR)
			die("waitpid");
	return status;
}

HELPER void copy_into(const char *from, int to)
{
	char buf[65536];
	ssize_t n;
	int fd = open(from, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die(from);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (write(to, buf, n) != n)
			die("copy");
	close(fd);
}
