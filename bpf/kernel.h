/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel structures that the programs read, cut down to the fields they
 * use. Offsets and sizes come from the running kernel's BTF at load time
 * (CO-RE), so only names and types matter here, not order. */
#ifndef SENTINELD_KERNEL_H
#define SENTINELD_KERNEL_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;

#define bool _Bool
#define true 1
#define false 0
#define NULL ((void *)0)

/* include/uapi/linux/bpf.h */
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_PROG_ARRAY 3
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_MAP_TYPE_LRU_HASH 9
#define BPF_MAP_TYPE_RINGBUF 27
#define BPF_ANY 0

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head { struct list_head *next, *prev; };
typedef struct { int counter; } atomic_t;
typedef struct { __u32 val; } kuid_t;
typedef struct { __u32 val; } kgid_t;

struct qstr {
	union {
		struct { __u32 hash, len; };
		__u64 hash_len;
	};
	const unsigned char *name;
};

struct super_block { __u32 s_dev; unsigned long s_magic; };
struct timespec64 { __s64 tv_sec; long tv_nsec; };

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
	union { const unsigned int i_nlink; unsigned int __i_nlink; };
	__s64 i_size;
};
struct inode___until_6_5 { struct timespec64 i_mtime, i_ctime; };
struct inode___6_6 { struct timespec64 i_mtime, __i_ctime; };
struct inode___until_6_10 { struct timespec64 __i_mtime, __i_ctime; };
struct inode___since_6_11 { __s64 i_mtime_sec, i_ctime_sec; __u32 i_mtime_nsec, i_ctime_nsec; };

struct hlist_bl_node { struct hlist_bl_node **pprev; };
struct dentry {
	unsigned int d_flags;
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};
struct mnt_namespace;
struct vfsmount { struct dentry *mnt_root; };
struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
	struct mnt_namespace *mnt_ns;
};
struct path { struct vfsmount *mnt; struct dentry *dentry; };
struct file { struct path f_path; struct inode *f_inode; };
struct fs_struct { struct path root, pwd; };

struct ns_common { unsigned int inum; };
struct pid_namespace { struct ns_common ns; };
struct mnt_namespace { struct ns_common ns; };
struct nsproxy { struct mnt_namespace *mnt_ns; };

struct upid { int nr; struct pid_namespace *ns; };
struct pid { unsigned int level; struct upid numbers[1]; };

struct tty_driver { int major, minor_start; };
struct tty_struct { struct tty_driver *driver; int index; };

enum pid_type { PIDTYPE_PID, PIDTYPE_TGID, PIDTYPE_PGID, PIDTYPE_SID, PIDTYPE_MAX };

struct signal_struct {
	atomic_t live;
	unsigned int flags;
	int group_exit_code;
	struct pid *pids[PIDTYPE_MAX];
	struct tty_struct *tty;
};

struct mm_struct {
	unsigned long start_code, end_code, start_stack, arg_start, arg_end, env_start, env_end;
	struct file *exe_file;
};
typedef struct { __u64 val; } kernel_cap_t; /* two __u32 until 6.2, in the same order */
struct user_namespace { int level; };
struct cred {
	kuid_t uid;
	kgid_t gid;
	kuid_t euid;
	kgid_t egid;
	kernel_cap_t cap_permitted, cap_effective;
	struct user_namespace *user_ns;
};

struct kernfs_node { const char *name; };
struct kernfs_node___until_6_14 { struct kernfs_node *parent; };
struct kernfs_node___since_6_15 { struct kernfs_node *__parent; };
struct cgroup_root { unsigned int subsys_mask; };
struct cgroup { struct kernfs_node *kn; struct cgroup_root *root; };
struct cgroup_subsys_state { struct cgroup *cgroup; };
struct css_set { struct cgroup_subsys_state *subsys[1]; struct cgroup *dfl_cgrp; };
enum cgroup_subsys_id {
	pids_cgrp_id,
	memory_cgrp_id,
	cpu_cgrp_id,
	cpuacct_cgrp_id,
	cpuset_cgrp_id,
	devices_cgrp_id,
	freezer_cgrp_id,
	io_cgrp_id,
};

#if defined(__TARGET_ARCH_x86)
struct thread_info { __u32 status; };
struct pt_regs { unsigned long r10, r8, dx, si, di, orig_ax; };
#else
struct thread_info { unsigned long flags; };
struct pt_regs { __u64 regs[31]; __u64 orig_x0; __s32 syscallno; };
#endif

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	int pid, tgid;
	struct task_struct *real_parent, *group_leader;
	__u64 start_boottime, self_exec_id;
	struct signal_struct *signal;
	struct mm_struct *mm;
	const struct cred *cred;
	struct fs_struct *fs;
	struct nsproxy *nsproxy;
	struct pid *thread_pid;
	struct css_set *cgroups;
	kuid_t loginuid;
	int exit_code;
	char comm[16];
};

struct linux_binprm {
	const char *filename, *interp;
	int argc;
	unsigned int secureexec : 1;
	struct cred *cred;
};

#pragma clang attribute pop

#define SIGNAL_GROUP_EXIT 0x00000004 /* include/linux/sched/signal.h */
#define PF_RANDOMIZE 0x00400000	     /* include/linux/sched.h */
#define I_CTIME_QUERIED (1u << 31) /* include/linux/fs.h, since 6.13: not a part of the time */
#define AT_EXECVE_CHECK 0x10000	     /* include/uapi/linux/fcntl.h, since 6.14: execute nothing */
#define AT_FDCWD -100
#define TMPFS_MAGIC 0x01021994	     /* include/uapi/linux/magic.h */
#define RAMFS_MAGIC 0x858458f6
#define HUGETLBFS_MAGIC 0x958458f6
#define DCACHE_OP_REVALIDATE (1 << 2) /* include/linux/dcache.h */
#define MNT_NS_ANON_INO 0xeffffff7u  /* include/uapi/linux/nsfs.h, since 6.18 */
#define CAP_SETGID 6		     /* include/uapi/linux/capability.h */
#define CAP_SETUID 7

#endif
