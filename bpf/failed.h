/* SPDX-License-Identifier: GPL-2.0 */
/* The record of a failed exec. */
#ifndef SENTINELD_FAILED_H
#define SENTINELD_FAILED_H

/* A failed exec: what was asked for stands in the memory of the program that goes
 * on. The kernel need not have read it before it refused, so a page may not be
 * there; then the field is not known. */
#define FAILED_PIECES 300 /* of arguments; more are cut */
#define FAILED_ARGS (1 << 14) /* bytes of them, and up to a piece more */

static __always_inline void put_user_args(struct exec_record *r, struct room *to, const char *const *argv)
{
	volatile __u64 *piece = &r->piece; /* see struct room: not a number to track */
	__u64 cap = to->cap > FAILED_ARGS ? FAILED_ARGS : to->cap; /* the rest is for the others */
	int i;

	if (!argv) { /* as good as an empty list */
		r->flags |= EXEC_ARGS;
		return;
	}
	for (i = 0; i < FAILED_PIECES; i++) {
		__u32 off = *to->off;
		__u64 from = *piece;
		long n;

		if (!from) {
			if (bpf_probe_read_user(&r->piece, sizeof(r->piece), argv + *(volatile __u32 *)&r->argc))
				return;
			from = *piece;
			if (!from) {
				r->flags |= EXEC_ARGS;
				return;
			}
		}
		if (off > cap)
			break;
		n = bpf_probe_read_user_str(to->data + off, PIECE, (void *)from);
		if (n < 0 || n > PIECE)
			return;
		if (n == 0) /* what older kernels (6.12) say of an empty string */
			n = 1;
		if (n == PIECE) { /* the NUL may be the helper's: the next piece tells */
			*to->off = off + PIECE - 1;
			*piece = from + PIECE - 1;
		} else {
			*to->off = off + n;
			*piece = 0;
			r->argc++;
		}
	}
	r->flags |= EXEC_ARGS | EXEC_ARGS_CUT;
}

static __noinline int fill_failed(struct exec_record *r, __u64 cap, const char *filename, const char *const *argv)
{
	struct task_struct *p = (struct task_struct *)bpf_get_current_task();
	struct room to = {.data = (__u8 *)(r + 1), .cap = cap, .off = &r->used};
	volatile __u32 *whole = &r->whole; /* see struct room: not a number to track */
	__u32 from;

	fill_ids(r, p);
	/* An exec that fails half-way has a memory without the old strings, and not yet
	 * with all of the new program's; the process is killed. */
	*whole = READ(p, mm, env_end) != 0;
	if (*whole)
		put_user_args(r, &to, argv);
	if (r->flags & EXEC_ARGS) {
		r->args_len = r->used;
	} else {
		r->used = 0;
		r->argc = 0;
	}

	from = r->used;
	r->cwd_walked = put_path(&to, READ(p, fs, pwd.mnt), READ(p, fs, pwd.dentry));
	r->cwd_len = r->used - from;

	from = r->used;
	if (*whole && put_user_string(&to, filename))
		r->flags |= EXEC_INVOKED;
	r->invoked_len = r->used - from;

	put_cgroup(r, &to, p);
	return r->used > cap;
}

#define TRY_FAILED(SIZE, LAST)                                                                    \
	r = bpf_ringbuf_reserve(&events, sizeof(*r) + (SIZE) + PIECE, 0);                         \
	if (!r) {                                                                                 \
		count_lost(KIND_EXEC_FAILED);                                                     \
		return 0;                                                                         \
	}                                                                                         \
	__builtin_memset(r, 0, sizeof(*r));                                                       \
	fill_head(&r->head, KIND_EXEC_FAILED, p);                                                 \
	r->error = -ret;                                                                          \
	r->dirfd = dirfd;                                                                         \
	if (!fill_failed(r, (SIZE), filename, argv) || (LAST)) {                                  \
		submit(r);                                                                        \
		return 0;                                                                         \
	}                                                                                         \
	bpf_ringbuf_discard(r, 0);

static __always_inline int on_failed(long ret, int dirfd, const char *filename, const char *const *argv)
{
	struct task_struct *p = (struct task_struct *)bpf_get_current_task();
	struct exec_record *r;

	/* From 512 on are the kernel's own: the call is made again. */
	if (ret >= 0 || ret <= -512)
		return 0;
	if (!filename && READ(p, tgid) == canary_tgid) {
		__sync_fetch_and_add(&canary_failures, 1);
		return 0;
	}
	TRY_FAILED(1 << 10, false)
	TRY_FAILED(FAILED_ARGS + ROOM_WORST, true)
	return 0;
}

/* An execveat that only asks whether the file may be executed. */
#define IS_CHECK(regs) (ARG4(regs) & AT_EXECVE_CHECK)

/* Both calls begin with the same three arguments, but execveat has a directory in
 * front of them. A 32-bit program has other numbers for them and other pointers:
 * its failures are not seen. */
static __always_inline int on_sys_exit(struct pt_regs *regs, long ret)
{
	const char *const *argv;
	const char *filename;
	int dirfd;

	if (ret >= 0)
		return 0;
	switch (NR(regs)) {
	case NR_EXECVE:
		dirfd = AT_FDCWD;
		filename = (void *)ARG0(regs);
		argv = (void *)ARG1(regs);
		break;
	case NR_EXECVEAT:
		if (IS_CHECK(regs))
			return 0;
		dirfd = ARG0(regs);
		filename = (void *)ARG1(regs);
		argv = (void *)ARG2(regs);
		break;
	default:
		return 0;
	}
	if (IS_32BIT((struct task_struct *)bpf_get_current_task()))
		return 0;
	return on_failed(ret, dirfd, filename, argv);
}

#endif
