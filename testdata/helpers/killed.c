// SPDX-License-Identifier: Apache-2.0
// killed seccomp|cpu: once its input ends it is killed by a seccomp filter (SIGSYS),
// or for its CPU time (SIGXCPU).
// killed exitkill|ptrace: then a child that it traces is killed by the end of its
// tracer (PTRACE_O_EXITKILL), or by PTRACE_KILL: says how that ended.
#include "helper.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ptrace.h>

static void by_seccomp(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {sizeof(code) / sizeof(code[0]), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
		skip("a seccomp filter cannot be set here");
	syscall(SYS_getppid);
}

static void by_cpu_time(void)
{
	struct rlimit limit = {1, 60}; /* beyond the second it is SIGKILL */

	if (setrlimit(RLIMIT_CPU, &limit))
		die("limit CPU time");
	for (;;)
		;
}

static int traced(bool exitkill)
{
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	if (pid < 0 || ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_EXITKILL))
		die("trace");
	say_process("child", pid);
	ready();
	hold();
	if (exitkill)
		return 0;
	if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL))
		die("stop");
	if (!WIFSTOPPED(wait_for(pid)) || ptrace(PTRACE_KILL, pid, NULL, NULL))
		die("kill");
	say_status(wait_for(pid));
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		usage("killed seccomp|cpu|exitkill|ptrace");
	if (strcmp(argv[1], "exitkill") == 0 || strcmp(argv[1], "ptrace") == 0)
		return traced(argv[1][0] == 'e');
	ready();
	hold();
	if (strcmp(argv[1], "seccomp") == 0)
		by_seccomp();
	else
		by_cpu_time();
	return 99;
}
