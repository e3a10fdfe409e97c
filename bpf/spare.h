/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel leaves a program out on a CPU that is inside of it already. Where it
 * preempts tracing programs (from 7.0 on, and PREEMPT_RT) that is every event of
 * the CPU from when a task is preempted inside of one until it goes on, which on
 * a busy CPU is many ticks later. There several small programs stand at the
 * tracepoint, and the first of them that is not left out runs the one that
 * records, by a tail call: the kernel does not count who is inside of that. */
#ifndef SENTINELD_SPARE_H
#define SENTINELD_SPARE_H

#define SPARE_SLOTS (1 << 15)

/* The event that a thread was last seen in, by its id. Of two threads that share a
 * slot one may be recorded twice, if both are between two of the small programs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SPARE_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} taken SEC(".maps");

/* How often the first of them ran, and how often one took an event. As there was an
 * event whenever the first one ran or was left out, which the kernel counts, these
 * tell how many events nobody took. */
struct spare_counts {
	__u64 ran[KIND_MAX], taken[KIND_MAX];
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct spare_counts);
} spare_counts SEC(".maps");

/* What is run: internal/source/ebpf/spare_linux.go puts it here. */
#define TARGET(name)                            \
	struct {                                \
		__uint(type, BPF_MAP_TYPE_PROG_ARRAY); \
		__uint(max_entries, 1);         \
		__type(key, __u32);             \
		__type(value, __u32);           \
	} name SEC(".maps")

TARGET(exec_target);
TARGET(fork_target);
TARGET(exit_target);

/* Reports whether nobody has taken the event, and takes it. n tells the events of
 * one kind and task apart. */
static __always_inline bool take(bool first, __u32 kind, struct task_struct *p, __u64 n)
{
	__u32 zero = 0, slot = (__u32)bpf_get_current_pid_tgid() % SPARE_SLOTS;
	__u64 event = (READ(p, start_boottime) * KIND_MAX + kind) ^ n << 56;
	__u64 *last = bpf_map_lookup_elem(&taken, &slot);
	struct spare_counts *counts = bpf_map_lookup_elem(&spare_counts, &zero);

	if (!last || !counts)
		return false; /* never: both are arrays */
	if (first)
		__sync_fetch_and_add(&counts->ran[kind], 1);
	if (*last == event)
		return false;
	*last = event;
	__sync_fetch_and_add(&counts->taken[kind], 1);
	return true;
}

const volatile bool never = false;

/* Since 6.13 all runs of a program on a CPU have one stack, as only one can be
 * there at a time; which is not so for what is reached by a tail call. A program
 * that may make one itself has the task's stack (check_max_stack_depth in
 * kernel/bpf/verifier.c). */
#define ON_OWN_STACK(target)                           \
	do {                                           \
		if (never)                             \
			bpf_tail_call(ctx, &target, 0); \
	} while (0)

/* The programs of one type: the small ones, of which the second is loaded many times,
 * and what they run. */
#define SPARES(type, suffix)                                                                       \
	EXEC(type, exec_first_##suffix, if (take(true, KIND_EXEC, p, READ(p, self_exec_id))) bpf_tail_call(ctx, &exec_target, 0)) \
	EXEC(type, exec_spare_##suffix, if (take(false, KIND_EXEC, p, READ(p, self_exec_id))) bpf_tail_call(ctx, &exec_target, 0)) \
	EXEC(type, exec_spared_##suffix, ON_OWN_STACK(exec_target); on_exec(p, bprm))              \
	FORK(type, fork_first_##suffix, if (take(true, KIND_FORK, child, 0)) bpf_tail_call(ctx, &fork_target, 0)) \
	FORK(type, fork_spare_##suffix, if (take(false, KIND_FORK, child, 0)) bpf_tail_call(ctx, &fork_target, 0)) \
	FORK(type, fork_spared_##suffix, ON_OWN_STACK(fork_target); on_fork(maker, child))         \
	EXIT(type, exit_first_##suffix, if (take(true, KIND_EXIT, p, 0)) bpf_tail_call(ctx, &exit_target, 0)) \
	EXIT(type, exit_spare_##suffix, if (take(false, KIND_EXIT, p, 0)) bpf_tail_call(ctx, &exit_target, 0)) \
	EXIT(type, exit_spared_##suffix, ON_OWN_STACK(exit_target); on_exit(p))

#define EXEC(type, name, ...)                                                                      \
	SEC(type "/sched_process_exec")                                                            \
	int BPF_PROG(name, struct task_struct *p, int old_pid, struct linux_binprm *bprm)          \
	{                                                                                          \
		__VA_ARGS__;                                                                       \
		return 0;                                                                          \
	}
#define FORK(type, name, ...)                                                                      \
	SEC(type "/sched_process_fork")                                                            \
	int BPF_PROG(name, struct task_struct *maker, struct task_struct *child)                   \
	{                                                                                          \
		__VA_ARGS__;                                                                       \
		return 0;                                                                          \
	}
#define EXIT(type, name, ...)                                                                      \
	SEC(type "/sched_process_exit")                                                            \
	int BPF_PROG(name, struct task_struct *p)                                                  \
	{                                                                                          \
		__VA_ARGS__;                                                                       \
		return 0;                                                                          \
	}

#endif
