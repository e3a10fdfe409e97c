// SPDX-License-Identifier: GPL-2.0
// Programs on the scheduler's own tracepoints: exec, fork, exit; before an exec
// one that still sees the old credentials; and, where it is wanted, one that sees
// failed execs. Each builds its record directly in the ring buffer's memory;
// per-CPU scratch space would be overwritten by another program on the same CPU
// where the kernel preempts tracing programs (PREEMPT_LAZY, 7.0 and later).

#include "kernel.h"
#include "record.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

#include "common.h"
#include "room.h"
#include "arch.h"
#include "gained.h"
#include "exec.h"
#include "failed.h"
#include "spare.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline int on_fork(struct task_struct *maker, struct task_struct *child)
{
	struct fork_record *r;
	__u32 maker_pid;

	if (READ(child, pid) != READ(child, tgid)) { /* a thread */
		if (READ(child, tgid) == canary_tgid)
			__sync_fetch_and_add(&canary_forks, 1);
		return 0;
	}
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		count_lost(KIND_FORK);
		return 0;
	}
	fill_head(&r->head, KIND_FORK, child);
	maker_pid = READ(maker, tgid);
	r->maker_pid = 0;
	r->maker_start = 0;
	r->pad = 0;
	if (maker_pid != r->head.parent_pid) { /* CLONE_PARENT */
		r->maker_pid = maker_pid;
		r->maker_start = READ(maker, group_leader, start_boottime);
	}
	submit(r);
	return 0;
}

static __always_inline int on_exit(struct task_struct *p)
{
	struct signal_struct *sig = READ(p, signal);
	struct task_struct *first = READ(p, group_leader);
	struct exit_record *r;

	/* The last thread brings live to 0 before this point. Two threads that
	 * end together may both see 0; the reader tells by the process key. */
	if (READ(sig, live.counter) != 0) {
		if (READ(p, tgid) == canary_tgid)
			__sync_fetch_and_add(&canary_exits, 1);
		return 0;
	}
	/* Before 5.18 a thread sets exit_code after it has counted down. A first one that
	 * has its memory yet comes here later, and tells what its code is. */
	if (exit_after_mm && first != p && READ(first, mm) && !(READ(sig, flags) & SIGNAL_GROUP_EXIT))
		return 0;
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		count_lost(KIND_EXIT);
		return 0;
	}
	fill_head(&r->head, KIND_EXIT, p);
	/* As wait_task_zombie() in kernel/exit.c chooses. */
	if (READ(sig, flags) & SIGNAL_GROUP_EXIT)
		r->status = READ(sig, group_exit_code);
	else
		r->status = READ(first, exit_code);
	r->pad = 0;
	submit(r);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_btf, struct task_struct *p, int old_pid, struct linux_binprm *bprm)
{
	return on_exec(p, bprm);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(fork_btf, struct task_struct *maker, struct task_struct *child)
{
	return on_fork(maker, child);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(exit_btf, struct task_struct *p)
{
	return on_exit(p);
}

SEC("raw_tp/sched_process_exec")
int BPF_PROG(exec_raw, struct task_struct *p, int old_pid, struct linux_binprm *bprm)
{
	return on_exec(p, bprm);
}

SEC("raw_tp/sched_process_fork")
int BPF_PROG(fork_raw, struct task_struct *maker, struct task_struct *child)
{
	return on_fork(maker, child);
}

SEC("raw_tp/sched_process_exit")
int BPF_PROG(exit_raw, struct task_struct *p)
{
	return on_exit(p);
}

SPARES("tp_btf", btf)
SPARES("raw_tp", raw)

SEC("tp_btf/sched_prepare_exec") /* since 6.10 */
int BPF_PROG(prepare_btf, struct task_struct *p, struct linux_binprm *bprm)
{
	return on_prepare(bprm);
}

SEC("raw_tp/sched_prepare_exec")
int BPF_PROG(prepare_raw, struct task_struct *p, struct linux_binprm *bprm)
{
	return on_prepare(bprm);
}

SEC("fentry/security_bprm_committing_creds")
int BPF_PROG(prepare_fentry, struct linux_binprm *bprm)
{
	return on_prepare(bprm);
}

SEC("kprobe/security_bprm_committing_creds")
int prepare_kprobe(struct pt_regs *regs)
{
	return on_prepare((struct linux_binprm *)FIRST(regs));
}

SEC("fexit/" SYSCALL "execve")
int BPF_PROG(failed_fexit_execve, struct pt_regs *regs, long ret)
{
	return on_failed(ret, AT_FDCWD, (void *)ARG0(regs), (void *)ARG1(regs));
}

SEC("fexit/" SYSCALL "execveat")
int BPF_PROG(failed_fexit_execveat, struct pt_regs *regs, long ret)
{
	return IS_CHECK(regs) ? 0 : on_failed(ret, ARG0(regs), (void *)ARG1(regs), (void *)ARG2(regs));
}

SEC("tp_btf/sys_exit")
int BPF_PROG(failed_btf, struct pt_regs *regs, long ret)
{
	return on_sys_exit(regs, ret);
}

SEC("raw_tp/sys_exit")
int BPF_PROG(failed_raw, struct pt_regs *regs, long ret)
{
	return on_sys_exit(regs, ret);
}
