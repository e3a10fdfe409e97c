/* SPDX-License-Identifier: GPL-2.0 */
/* The buffer, its counters, and what all records have. */
#ifndef SENTINELD_COMMON_H
#define SENTINELD_COMMON_H

#define READ(p, ...) BPF_CORE_READ(p, ##__VA_ARGS__)

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 23); /* replaced before loading */
} events SEC(".maps");

/* How many records of each kind found no room. Mapped into the reader. */
__u64 lost[KIND_MAX];

/* Threads of the reader's own that began and ended, and its execs without a path: it makes
 * some now and then to see that the programs still run. */
__u64 canary_forks, canary_exits, canary_failures;
int canary_tgid;

const volatile __u32 args_max = 64 << 10; /* bytes of argv kept of one exec */
const volatile __u32 env_max = 0;	  /* bytes of environment read of one exec; 0 = none */
const volatile bool exit_after_mm = false; /* sched_process_exit comes behind exit_mm(): until 6.15 */
const volatile bool hooks_only = false;	  /* benchmarks: build records, submit none */

static __always_inline void submit(void *record)
{
	/* Without a flag the kernel wakes the reader only if it had read all
	 * there was before this record. The reader sleeps a while after each
	 * wake-up, so there is one wake-up per sleep however many records
	 * come, none is left behind unseen, and none at all happens at rest. */
	if (hooks_only)
		bpf_ringbuf_discard(record, 0);
	else
		bpf_ringbuf_submit(record, 0);
}

static __always_inline void count_lost(__u32 kind)
{
	__sync_fetch_and_add(&lost[kind], 1);
}

static __always_inline void fill_head(struct head *h, __u32 kind, struct task_struct *p)
{
	struct task_struct *parent;

	/* Records are read in the order of their places in the ring: the time is taken
	 * once this one has its own. From 7.0 on a program can be preempted in between. */
	h->time = bpf_ktime_get_boot_ns();
	parent = READ(p, real_parent);
	h->kind = kind;
	h->pid = READ(p, tgid);
	h->start = READ(p, group_leader, start_boottime);
	h->parent_pid = READ(parent, tgid);
	h->parent_start = READ(parent, group_leader, start_boottime);
	h->pad = 0;
}

static __always_inline void fill_ids(struct exec_record *r, struct task_struct *p)
{
	const struct cred *cred = READ(p, cred);
	struct signal_struct *sig = READ(p, signal);
	struct pid *sid = READ(sig, pids[PIDTYPE_SID]);
	struct pid *pid = READ(p, group_leader, thread_pid);
	struct tty_struct *tty = READ(sig, tty);
	struct upid inner = {};
	__u32 level;

	r->uid = READ(cred, uid.val);
	r->gid = READ(cred, gid.val);
	r->euid = READ(cred, euid.val);
	r->egid = READ(cred, egid.val);
	r->flags |= EXEC_CREDS;
	if (bpf_core_field_exists(p->loginuid)) {
		r->auid = READ(p, loginuid.val);
		r->flags |= EXEC_AUID;
	}
	if (sid) {
		r->sid = READ(sid, numbers[0].nr);
		r->flags |= EXEC_SID;
	}
	if (tty) {
		struct tty_driver *driver = READ(tty, driver);

		r->tty_major = READ(driver, major);
		r->tty_minor = READ(driver, minor_start) + READ(tty, index);
	}
	r->flags |= EXEC_TTY;
	r->mnt_ns = READ(p, nsproxy, mnt_ns, ns.inum);
	if (pid) {
		level = READ(pid, level);
		if (!bpf_core_read(&inner, sizeof(inner), &pid->numbers[level])) {
			r->ns_pid = inner.nr;
			r->pid_ns = READ(inner.ns, ns.inum);
			r->flags |= EXEC_NS | EXEC_NSPID;
		}
	}
	bpf_probe_read_kernel_str(r->comm, sizeof(r->comm), p->comm);
}

#endif
