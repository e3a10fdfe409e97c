/* SPDX-License-Identifier: GPL-2.0 */
/* The record of an exec. */
#ifndef SENTINELD_EXEC_H
#define SENTINELD_EXEC_H

#define ARGS_LIMIT (128 << 10)
#define ENV_LIMIT (32 << 10)
#define ROOM_USUAL 640	  /* for the strings behind argv, almost always enough */
#define ROOM_WORST (26 << 10) /* two paths of PATH_BYTES and two names, two strings, two cgroups */

#define NS(sec, nsec) ((sec) * 1000000000ll + (nsec))

static __always_inline void fill_times(struct exec_record *r, struct inode *inode)
{
	struct inode___since_6_11 *now = (void *)inode;
	struct inode___until_6_10 *old = (void *)inode;
	struct inode___6_6 *older = (void *)inode;
	struct inode___until_6_5 *oldest = (void *)inode;

	if (bpf_core_field_exists(now->i_mtime_sec)) {
		r->mtime = NS(READ(now, i_mtime_sec), READ(now, i_mtime_nsec));
		r->ctime = NS(READ(now, i_ctime_sec), READ(now, i_ctime_nsec) & ~I_CTIME_QUERIED);
	} else if (bpf_core_field_exists(old->__i_mtime)) {
		r->mtime = NS(READ(old, __i_mtime.tv_sec), READ(old, __i_mtime.tv_nsec));
		r->ctime = NS(READ(old, __i_ctime.tv_sec), READ(old, __i_ctime.tv_nsec));
	} else if (bpf_core_field_exists(older->__i_ctime)) {
		r->mtime = NS(READ(older, i_mtime.tv_sec), READ(older, i_mtime.tv_nsec));
		r->ctime = NS(READ(older, __i_ctime.tv_sec), READ(older, __i_ctime.tv_nsec));
	} else {
		r->mtime = NS(READ(oldest, i_mtime.tv_sec), READ(oldest, i_mtime.tv_nsec));
		r->ctime = NS(READ(oldest, i_ctime.tv_sec), READ(oldest, i_ctime.tv_nsec));
	}
	r->flags |= EXEC_TIMES;
}

static __always_inline void fill_file(struct exec_record *r, struct file *exe)
{
	struct inode *inode = READ(exe, f_inode);
	struct super_block *sb = READ(inode, i_sb);
	struct dentry *dentry = READ(exe, f_path.dentry);
	unsigned long magic = READ(sb, s_magic);

	r->inode = READ(inode, i_ino);
	r->nlink = READ(inode, i_nlink);
	r->dev = READ(sb, s_dev);
	if (magic == TMPFS_MAGIC || magic == RAMFS_MAGIC || magic == HUGETLBFS_MAGIC)
		r->flags |= EXEC_MEMORY;
	/* As d_unlinked() says, but for file systems that forget names which are still
	 * there (NFS, FUSE). */
	if (!READ(dentry, d_hash.pprev) && READ(dentry, d_parent) != dentry &&
	    !(READ(dentry, d_flags) & DCACHE_OP_REVALIDATE))
		r->flags |= EXEC_UNLINKED;
	r->size = READ(inode, i_size);
	fill_times(r, inode);
	r->flags |= EXEC_FILE;
}

/* Fills a record whose strings have room for cap bytes, and PIECE more. Not
 * zero when the strings behind argv and environment did not fit. copy is the
 * bytes of both. */
static __noinline int fill_exec(struct exec_record *r, __u64 cap, struct linux_binprm *bprm, __u64 args_len, __u64 copy)
{
	struct task_struct *p = (struct task_struct *)bpf_get_current_task();
	struct mm_struct *mm = READ(p, mm);
	struct file *exe = READ(mm, exe_file);
	const char *filename = READ(bprm, filename), *interp = READ(bprm, interp);
	unsigned long start = READ(mm, arg_start), tail = start;
	struct room to = {.data = (__u8 *)(r + 1), .cap = cap, .off = &r->used};
	__u32 from;

	fill_ids(r, p);
	fill_file(r, exe);
	r->start_code = READ(mm, start_code);
	r->end_code = READ(mm, end_code);
	r->start_stack = READ(mm, start_stack);
	if (READ(p, flags) & PF_RANDOMIZE)
		r->flags |= EXEC_RANDOM;
	r->argc = READ(bprm, argc);

	/* The argument pages of the new mm have just been written, so they are
	 * there; one copy takes all arguments whatever their number, and the
	 * environment, which the kernel puts right behind them. Where arguments are
	 * cut it takes as many from their end, and another one the first. */
	if (copy > cap)
		copy = cap;
	if (args_len > cap)
		args_len = cap;
	asm volatile("" : "+r"(args_len)); /* the verifier compares with numbers alone, until 6.7 */
	if (args_len > copy)
		args_len = copy;
	if (copy > args_len)
		tail = READ(mm, env_start) - args_len;
	if ((copy == 0 || bpf_probe_read_user(to.data, copy, (void *)tail) == 0) &&
	    (tail == start || bpf_probe_read_user(to.data, args_len, (void *)start) == 0)) {
		r->flags |= EXEC_ARGS;
		r->args_len = args_len;
		r->env_len = copy - args_len;
		r->used = copy;
	} else {
		r->flags &= ~EXEC_ENV;
	}

	from = r->used;
	r->exe_walked = put_path(&to, READ(exe, f_path.mnt), READ(exe, f_path.dentry));
	r->exe_len = r->used - from;

	from = r->used;
	r->cwd_walked = put_path(&to, READ(p, fs, pwd.mnt), READ(p, fs, pwd.dentry));
	r->cwd_len = r->used - from;

	from = r->used;
	if (put_string(&to, filename))
		r->flags |= EXEC_INVOKED;
	r->invoked_len = r->used - from;

	/* A script: the kernel went on with its interpreter. */
	from = r->used;
	if (interp == filename || put_string(&to, interp))
		r->flags |= EXEC_INTERP;
	r->interp_len = r->used - from;

	put_cgroup(r, &to, p);
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
		fill_head(&r->head, KIND_EXEC, p);                                                \
		r->args_total = total;                                                            \
		r->flags = is.flags;                                                              \
		r->gained = is.bits;                                                              \
		if (fill_exec(r, (SIZE), bprm, args_len, copy) && !last) {                              \
			bpf_ringbuf_discard(r, 0);                                                \
			continue;                                                                 \
		}                                                                                 \
		submit(r);                                                                        \
		return 0;                                                                         \
	}

static __always_inline int on_exec(struct task_struct *p, struct linux_binprm *bprm)
{
	struct mm_struct *mm = READ(p, mm);
	__u64 total = READ(mm, arg_end) - READ(mm, arg_start);
	__u64 args_len = total > args_max ? args_max : total;
	struct { __u32 copy, args_len, flags, bits; } was = {}, is = {};
	int last;

	was.bits = gained(p, bprm, &was.flags);
	if (args_len > ARGS_LIMIT)
		args_len = ARGS_LIMIT;
	was.copy = was.args_len = args_len;
	if (env_max && READ(mm, env_start) == READ(mm, arg_end)) {
		__u64 env = READ(mm, env_end) - READ(mm, env_start), most = env_max;

		if (most > ENV_LIMIT)
			most = ENV_LIMIT;
		if (env <= most)
			was.flags |= EXEC_ENV;
		was.copy += env <= most ? env : most;
	}
	for (last = 0; last < 2; last++) {
		struct exec_record *r;
		__u64 copy, need;

		/* What follows must not be verified once for each way that these came
		 * about: copied by a helper, they are any numbers. */
		bpf_probe_read_kernel(&is, sizeof(is), &was);
		copy = is.copy;
		args_len = is.args_len;
		need = copy + (last ? ROOM_WORST : ROOM_USUAL);
		TRY(1 << 10)
		TRY(1 << 12)
		TRY(1 << 14)
		TRY(1 << 15)
		TRY((1 << 16) + ROOM_WORST)
		TRY(ARGS_LIMIT + ENV_LIMIT + ROOM_WORST)
	}
	count_lost(KIND_EXEC);
	return 0;
}

#endif
