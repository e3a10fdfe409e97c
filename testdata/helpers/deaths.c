// SPDX-License-Identifier: Apache-2.0
// deaths CORE: fifteen children, each of which is killed by one of the signals 1
// to 15 once the input ends, with a core file of at most CORE bytes. Says how each
// ended as waitpid tells: rows=('PROCESS',CODE,SIGNAL,CORE),...
#include "helper.h"

int main(int argc, char **argv)
{
	int gate[2], cores = 0;
	pid_t pids[16];
	char rows[4096] = "";

	if (argc != 2)
		usage("deaths CORE");
	struct rlimit core = {atol(argv[1]), atol(argv[1])};
	if (setrlimit(RLIMIT_CORE, &core) || pipe(gate))
		die("set up");
	for (int i = 1; i <= 15; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			char c;
			close(gate[1]);
			if (read(gate[0], &c, 1) != 0)
				_exit(98);
			signal(i, SIG_DFL);
			kill(getpid(), i);
			_exit(99);
		}
	}
	ready();
	hold();
	close(gate[1]);
	for (int i = 1; i <= 15; i++) {
		char key[64];
		siginfo_t info;

		if (waitid(P_PID, pids[i], &info, WEXITED | WNOWAIT)) /* a zombie still has its stat */
			die("waitid");
		strcpy(key, process_key(pids[i]));
		int status = wait_for(pids[i]);
		if (!WIFSIGNALED(status))
			die("a child was not killed");
		cores += !!WCOREDUMP(status);
		snprintf(rows + strlen(rows), sizeof(rows) - strlen(rows), "%s('%s',0,%d,%d)", i > 1 ? "," : "", key,
			 WTERMSIG(status), !!WCOREDUMP(status));
	}
	if (core.rlim_cur > 0 && !cores)
		skip("this system writes no core files (see core(5))");
	say("rows", "%s", rows);
	say("cores", "%d", cores);
	return 0;
}
