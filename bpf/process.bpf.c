// SPDX-License-Identifier: GPL-2.0
// Three programs on the scheduler's own tracepoints: exec, fork, exit. Each
// builds its record directly in the ring buffer's memory; per-CPU scratch space
// would be overwritten by another program on the same CPU where the kernel
// preempts tracing programs (PREEMPT_LAZY, 7.0 and later).

#include "kernel.h"
#include "record.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 23); /* replaced before loading */
} events SEC(".maps");

/* How many records of each kind found no room. Mapped into the reader. */
__u64 lost[KIND_MAX];

const volatile __u32 args_max = 64 << 10; /* bytes of argv kept of one exec */
const volatile bool hooks_only = false;	  /* benchmarks: build records, submit none */

#define PIECE 256	  /* names and strings are copied in pieces of at most this */
#define PATH_NAMES 48	  /* components of a path; more: not resolved */
#define CGROUP_NAMES 16
#define STRING_PIECES 17  /* PATH_MAX in pieces of PIECE - 1 */
#define ARGS_LIMIT (128 << 10)
#define ROOM_USUAL 640	  /* for the strings behind argv, almost always enough */
#define ROOM_WORST 12400  /* three paths of 4,096 and a little */

#define READ(p, ...) BPF_CORE_READ(p, ##__VA_ARGS__)

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

static __always_inline void fill_head(struct head *h, __u32 kind, struct task_struct *p, __u64 now)
{
	struct task_struct *parent = READ(p, real_parent);

	h->kind = kind;
	h->pid = READ(p, tgid);
	h->time = now;
	h->start = READ(p, group_leader, start_boottime);
	h->parent_pid = READ(parent, tgid);
	h->parent_start = READ(parent, group_leader, start_boottime);
	h->pad = 0;
}

static __always_inline int on_fork(struct task_struct *child)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct head *r;

	if (READ(child, pid) != READ(child, tgid))
		return 0; /* a thread */
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		count_lost(KIND_FORK);
		return 0;
	}
	fill_head(r, KIND_FORK, child, now);
	submit(r);
	return 0;
}

static __always_inline int on_exit(struct task_struct *p)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct signal_struct *sig = READ(p, signal);
	struct exit_record *r;

	/* The last thread brings live to 0 before this point. Two threads that
	 * end together may both see 0; the reader tells by the process key. */
	if (READ(sig, live.counter) != 0)
		return 0;
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		count_lost(KIND_EXIT);
		return 0;
	}
	fill_head(&r->head, KIND_EXIT, p, now);
	/* As wait_task_zombie() in kernel/exit.c chooses. */
	if (READ(sig, flags) & SIGNAL_GROUP_EXIT)
		r->status = READ(sig, group_exit_code);
	else
		r->status = READ(p, group_leader, exit_code);
	r->pad = 0;
	submit(r);
	return 0;
}

/* room is where the strings of a record go: data has cap + PIECE bytes, so that a
 * whole piece may be written wherever *off is still inside cap. off is kept in
 * the record itself: the verifier does not track numbers that it reads from
 * there, so that all ways to a place look alike to it and are checked once. With
 * off in a register it gives up after a million instructions. */
struct room {
	__u8 *data;
	__u64 cap;
	volatile __u32 *off;
};

static __always_inline bool put_name(struct room *to, const void *name, __u32 len)
{
	__u32 off = *to->off;

	if (off > to->cap)
		return false;
	len &= PIECE - 1;
	if (bpf_probe_read_kernel(to->data + off, len, name))
		return false;
	off += len;
	if (off > to->cap + PIECE - 1)
		return false;
	to->data[off] = 0;
	*to->off = off + 1;
	return true;
}

enum walked { WALK_DONE, WALK_ANON, WALK_CUT };

/* Writes the names of a path, leaf first. Mounts are crossed up to the root of
 * the mount namespace. */
static __always_inline enum walked put_path(struct room *to, struct vfsmount *vfs, struct dentry *dentry)
{
	struct mount *mnt = container_of(vfs, struct mount, mnt);
	struct dentry *root = READ(vfs, mnt_root);
	int i;

	for (i = 0; i < PATH_NAMES; i++) {
		struct dentry *parent;
		struct qstr name;

		if (dentry == root) {
			struct mount *up = READ(mnt, mnt_parent);

			if (up == mnt)
				return WALK_DONE;
			dentry = READ(mnt, mnt_mountpoint);
			mnt = up;
			root = READ(mnt, mnt.mnt_root);
			continue;
		}
		parent = READ(dentry, d_parent);
		BPF_CORE_READ_INTO(&name, dentry, d_name);
		if (!put_name(to, name.name, name.len))
			return WALK_CUT;
		if (parent == dentry)
			return WALK_ANON;
		dentry = parent;
	}
	return WALK_CUT;
}

/* Copies a kernel string without its NUL. */
static __always_inline bool put_string(struct room *to, const char *from)
{
	int i;

	for (i = 0; i < STRING_PIECES; i++) {
		__u32 off = *to->off;
		long n;

		if (off > to->cap)
			return false;
		n = bpf_probe_read_kernel_str(to->data + off, PIECE, from);
		if (n <= 0 || n > PIECE)
			return false;
		*to->off = off + n - 1;
		if (n < PIECE)
			return true;
		from += n - 1;
	}
	return false;
}

static __always_inline struct kernfs_node *kernfs_parent(struct kernfs_node *kn)
{
	struct kernfs_node___since_6_15 *now = (void *)kn;
	struct kernfs_node___until_6_14 *old = (void *)kn;

	if (bpf_core_field_exists(now->__parent))
		return READ(now, __parent);
	return READ(old, parent);
}

#define TRY_CGROUP(ID)                                                                            \
	if (!kernfs_parent(kn) && bpf_core_enum_value_exists(enum cgroup_subsys_id, ID)) {        \
		struct cgroup_subsys_state *css = NULL;                                           \
                                                                                                  \
		bpf_core_read(&css, sizeof(css), &set->subsys[bpf_core_enum_value(enum cgroup_subsys_id, ID)]); \
		if (css)                                                                          \
			kn = READ(css, cgroup, kn);                                               \
	}

static __always_inline bool put_cgroup(struct room *to, struct task_struct *p)
{
	struct css_set *set = READ(p, cgroups);
	struct kernfs_node *kn = READ(set, dfl_cgrp, kn);
	int i;

	/* On a v1 or hybrid host nobody may use the unified hierarchy: a task
	 * in its root is looked up in those of v1, in the same order as in
	 * internal/procfs. */
	TRY_CGROUP(pids_cgrp_id)
	TRY_CGROUP(memory_cgrp_id)
	TRY_CGROUP(cpu_cgrp_id)
	TRY_CGROUP(cpuacct_cgrp_id)
	TRY_CGROUP(cpuset_cgrp_id)
	TRY_CGROUP(devices_cgrp_id)
	TRY_CGROUP(freezer_cgrp_id)
	TRY_CGROUP(io_cgrp_id)
	for (i = 0; i < CGROUP_NAMES; i++) {
		struct kernfs_node *up = kernfs_parent(kn);
		const char *name;
		__u32 off;
		long n;

		if (!up)
			return true;
		off = *to->off;
		if (off > to->cap)
			return false;
		name = READ(kn, name);
		n = bpf_probe_read_kernel_str(to->data + off, PIECE, name);
		if (n <= 0 || n > PIECE)
			return false;
		*to->off = off + n;
		kn = up;
	}
	return false;
}

static __always_inline void fill_ids(struct exec_record *r, struct task_struct *p)
{
	const struct cred *cred = READ(p, cred);
	struct signal_struct *sig = READ(p, signal);
	struct pid *sid = READ(sig, pids[PIDTYPE_SID]);
	struct pid *pid = READ(p, thread_pid);
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

static __always_inline void fill_file(struct exec_record *r, struct file *exe)
{
	struct inode *inode = READ(exe, f_inode);
	struct super_block *sb = READ(inode, i_sb);

	r->inode = READ(inode, i_ino);
	r->nlink = READ(inode, i_nlink);
	r->dev = READ(sb, s_dev);
	if (READ(sb, s_magic) == TMPFS_MAGIC)
		r->flags |= EXEC_TMPFS;
	r->flags |= EXEC_FILE;
}

/* Fills a record whose strings have room for cap bytes, and PIECE more. Not
 * zero when the strings behind argv did not fit. */
static __noinline int fill_exec(struct exec_record *r, __u64 cap, struct linux_binprm *bprm, __u64 args_len)
{
	struct task_struct *p = (struct task_struct *)bpf_get_current_task();
	struct mm_struct *mm = READ(p, mm);
	struct file *exe = READ(mm, exe_file);
	const char *filename = READ(bprm, filename), *interp = READ(bprm, interp);
	unsigned long start = READ(mm, arg_start);
	struct room to = {.data = (__u8 *)(r + 1), .cap = cap, .off = &r->used};
	enum walked walked;
	__u32 from;

	fill_ids(r, p);
	fill_file(r, exe);
	r->argc = READ(bprm, argc);

	/* The argument pages of the new mm have just been written, so they are
	 * there; one copy takes all arguments whatever their number. */
	if (args_len > cap)
		args_len = cap;
	if (args_len == 0 || bpf_probe_read_user(to.data, args_len, (void *)start) == 0) {
		r->flags |= EXEC_ARGS;
		r->args_len = args_len;
		r->used = args_len;
	}

	from = r->used;
	walked = put_path(&to, READ(exe, f_path.mnt), READ(exe, f_path.dentry));
	r->exe_len = r->used - from;
	if (walked != WALK_CUT)
		r->flags |= walked == WALK_ANON ? EXEC_EXE | EXEC_EXE_ANON : EXEC_EXE;

	from = r->used;
	walked = put_path(&to, READ(p, fs, pwd.mnt), READ(p, fs, pwd.dentry));
	r->cwd_len = r->used - from;
	if (walked != WALK_CUT)
		r->flags |= walked == WALK_ANON ? EXEC_CWD | EXEC_CWD_ANON : EXEC_CWD;

	from = r->used;
	if (put_string(&to, filename))
		r->flags |= EXEC_INVOKED;
	r->invoked_len = r->used - from;

	/* A script: the kernel went on with its interpreter. */
	from = r->used;
	if (interp == filename || put_string(&to, interp))
		r->flags |= EXEC_INTERP;
	r->interp_len = r->used - from;

	from = r->used;
	if (put_cgroup(&to, p))
		r->flags |= EXEC_CGROUP;
	r->cgroup_len = r->used - from;
	return r->used > cap;
}

/* The verifier wants a constant size for each reservation, so there are
 * classes. Each is a record with room for SIZE bytes of strings. Every class
 * costs the verifier another pass through fill_exec, some 30 ms at start. */
#define TRY(SIZE)                                                                                 \
	if (need <= (SIZE)) {                                                                     \
		r = bpf_ringbuf_reserve(&events, sizeof(*r) + (SIZE) + PIECE, 0);                 \
		if (!r) {                                                                         \
			count_lost(KIND_EXEC);                                                    \
			return 0;                                                                 \
		}                                                                                 \
		__builtin_memset(r, 0, sizeof(*r));                                               \
		fill_head(&r->head, KIND_EXEC, p, now);                                           \
		r->args_total = total;                                                            \
		if (fill_exec(r, (SIZE), bprm, args_len) && !last) {                              \
			bpf_ringbuf_discard(r, 0);                                                \
			continue;                                                                 \
		}                                                                                 \
		submit(r);                                                                        \
		return 0;                                                                         \
	}

static __always_inline int on_exec(struct task_struct *p, struct linux_binprm *bprm)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct mm_struct *mm = READ(p, mm);
	__u64 total = READ(mm, arg_end) - READ(mm, arg_start);
	__u64 args_len = total > args_max ? args_max : total;
	int last;

	if (args_len > ARGS_LIMIT)
		args_len = ARGS_LIMIT;
	for (last = 0; last < 2; last++) {
		__u64 need = args_len + (last ? ROOM_WORST : ROOM_USUAL);
		struct exec_record *r;

		TRY(1 << 10)
		TRY(1 << 11)
		TRY(1 << 12)
		TRY(1 << 14)
		TRY((1 << 16) + ROOM_WORST)
		TRY(ARGS_LIMIT + ROOM_WORST)
	}
	count_lost(KIND_EXEC);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(exec_btf, struct task_struct *p, int old_pid, struct linux_binprm *bprm)
{
	return on_exec(p, bprm);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(fork_btf, struct task_struct *parent, struct task_struct *child)
{
	return on_fork(child);
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
int BPF_PROG(fork_raw, struct task_struct *parent, struct task_struct *child)
{
	return on_fork(child);
}

SEC("raw_tp/sched_process_exit")
int BPF_PROG(exit_raw, struct task_struct *p)
{
	return on_exit(p);
}
