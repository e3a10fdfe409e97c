/* SPDX-License-Identifier: GPL-2.0 */
/* Where the strings of a record go, and what writes them there: paths, cgroups,
 * strings of the kernel and of programs. */
#ifndef SENTINELD_ROOM_H
#define SENTINELD_ROOM_H

#define PIECE 256	  /* names and strings are copied in pieces of at most this */
#define PATH_NAMES 96	  /* components of a path and its mounts; there may be more */
#define PATH_BYTES 4096	  /* PATH_MAX; a name and that of the mount's root may be beyond it */
#define CGROUP_NAMES 16
#define STRING_PIECES 17  /* PATH_MAX in pieces of PIECE - 1 */

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

	if (off > to->cap || len > PIECE - 1) /* some file systems have names of 765 bytes */
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

/* Reports whether a mount is in a namespace, be it another one than the task's. One
 * that was unmounted is in none, those inside of the kernel have an error there, and
 * one that was never attached is in an anonymous namespace, of number 0 until 6.17. */
static __always_inline bool is_mounted(struct mount *mnt)
{
	__u32 ns = READ(mnt, mnt_ns, ns.inum);

	return ns != 0 && ns != MNT_NS_ANON_INO;
}

/* Writes the names of a path, leaf first. Mounts are crossed up to the root of
 * the mount namespace. */
static __always_inline enum walked put_path(struct room *to, struct vfsmount *vfs, struct dentry *dentry)
{
	struct mount *first = container_of(vfs, struct mount, mnt), *mnt = first;
	struct dentry *root = READ(vfs, mnt_root);
	__u32 from = *to->off;
	struct qstr name;
	int i;

	for (i = 0; i < PATH_NAMES; i++) {
		struct dentry *parent;

		if (dentry == root) {
			struct mount *up = READ(mnt, mnt_parent);

			if (up == mnt)
				goto top;
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
		if (*to->off - from > PATH_BYTES)
			break;
		dentry = parent;
	}
	return WALK_DEEP;
top:
	if (is_mounted(first))
		return WALK_WHOLE;
	BPF_CORE_READ_INTO(&name, root, d_name);
	return put_name(to, name.name, name.len) ? WALK_LOST : WALK_CUT;
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

/* Writes the names of a cgroup and those above it, leaf first; none for a root. */
static __always_inline bool put_levels(struct room *to, struct kernfs_node *kn, struct kernfs_node *up)
{
	int i;

	for (i = 0; i < CGROUP_NAMES; i++) {
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
		up = kernfs_parent(kn);
	}
	return false;
}

#define TRY_CGROUP(ID)                                                                            \
	if (!up && bpf_core_enum_value_exists(enum cgroup_subsys_id, ID) &&                       \
	    !(unified & 1u << bpf_core_enum_value(enum cgroup_subsys_id, ID))) {                  \
		struct cgroup_subsys_state *css = NULL;                                           \
                                                                                                  \
		bpf_core_read(&css, sizeof(css), &set->subsys[bpf_core_enum_value(enum cgroup_subsys_id, ID)]); \
		if (css) {                                                                        \
			kn = READ(css, cgroup, kn);                                               \
			up = kernfs_parent(kn);                                                   \
		}                                                                                 \
	}

/* The path of a task in the unified hierarchy, and, on a hybrid host, behind it the
 * first one in the hierarchies of v1 where it is not in the root, in the same order as
 * in internal/procfs. Where nobody uses the unified hierarchy that is the only one. */
static __always_inline void put_cgroup(struct exec_record *r, struct room *to, struct task_struct *p)
{
	struct css_set *set = READ(p, cgroups);
	struct cgroup *cgroup = READ(set, dfl_cgrp);
	__u32 unified = READ(cgroup, root, subsys_mask); /* its controllers; the rest are v1's */
	struct kernfs_node *v2 = READ(cgroup, kn), *v2_up = kernfs_parent(v2), *kn = NULL, *up = NULL;
	__u32 from = *to->off;

	TRY_CGROUP(pids_cgrp_id)
	TRY_CGROUP(memory_cgrp_id)
	TRY_CGROUP(cpu_cgrp_id)
	TRY_CGROUP(cpuacct_cgrp_id)
	TRY_CGROUP(cpuset_cgrp_id)
	TRY_CGROUP(devices_cgrp_id)
	TRY_CGROUP(freezer_cgrp_id)
	TRY_CGROUP(io_cgrp_id)
	if (!v2_up) {
		v2 = kn;
		v2_up = up;
		up = NULL;
	}
	if (put_levels(to, v2, v2_up))
		r->flags |= EXEC_CGROUP;
	r->cgroup_len = *to->off - from;
	from = *to->off;
	if (put_levels(to, kn, up))
		r->flags |= EXEC_CGROUP_V1;
	r->cgroup_v1_len = *to->off - from;
}

/* Copies a string of the current program without its NUL. It may be anything:
 * unmapped, not there yet, or changed meanwhile. */
static __always_inline bool put_user_string(struct room *to, const char *from)
{
	int i;

	for (i = 0; i < STRING_PIECES; i++) {
		__u32 off = *to->off;
		long n;

		if (off > to->cap)
			return false;
		n = bpf_probe_read_user_str(to->data + off, PIECE, from);
		if (n < 0 || n > PIECE)
			return false;
		if (n == 0) /* what older kernels (6.12) say of an empty string */
			n = 1;
		*to->off = off + n - 1;
		if (n < PIECE)
			return true;
		from += n - 1;
	}
	return false;
}

#endif
