/* SPDX-License-Identifier: GPL-2.0 */
/* The records in the ring buffer: what the decoder in
 * internal/source/ebpf/record.go reads. Native byte order; no padding that is
 * not named. */
#ifndef SENTINELD_RECORD_H
#define SENTINELD_RECORD_H

enum kind { KIND_EXEC = 1, KIND_FORK = 2, KIND_EXIT = 3, KIND_EXEC_FAILED = 4, KIND_MAX = 5 };

/* Who, when, and whose child. Times are nanoseconds on the boot clock. */
struct head {
	__u32 kind;
	__u32 pid; /* thread group id */
	__u64 time;
	__u64 start; /* of the thread group leader */
	__u64 parent_start;
	__u32 parent_pid;
	__u32 pad;
};

struct fork_record {
	struct head head;
	__u64 maker_start; /* of the process that made it */
	__u32 maker_pid;   /* 0 = the parent */
	__u32 pad;
};

struct exit_record {
	struct head head;
	__u32 status; /* as waitpid(2) returns it */
	__u32 pad;
};

/* What could be read. A missing bit means that the field is not known. */
enum exec_flags {
	EXEC_CREDS = 1 << 0,
	EXEC_AUID = 1 << 1,
	EXEC_SID = 1 << 2,
	EXEC_TTY = 1 << 3,
	EXEC_ARGS = 1 << 4,
	EXEC_FILE = 1 << 5,
	EXEC_NS = 1 << 6,
	EXEC_NSPID = 1 << 7,
	EXEC_INVOKED = 1 << 8,
	EXEC_INTERP = 1 << 9,
	EXEC_CGROUP = 1 << 10,
	EXEC_MEMORY = 1 << 11, /* the file system of the executable is memory */
	EXEC_GAINED = 1 << 12,
	EXEC_TIMES = 1 << 13,
	EXEC_ENV = 1 << 14, /* env holds the whole environment */
	EXEC_ARGS_CUT = 1 << 15, /* failed exec: there are more arguments than args holds */
	EXEC_CGROUP_V1 = 1 << 16, /* cgroup_v1 holds the whole path, or there is none */
	EXEC_RANDOM = 1 << 17, /* the addresses of the layout were drawn for this exec */
	EXEC_UNLINKED = 1 << 18, /* the name that exe ends with was removed */
};

/* How far a path was followed up. */
enum walked {
	WALK_CUT,   /* not known */
	WALK_WHOLE, /* to the root of a mount namespace */
	WALK_ANON,  /* to a name that hangs on no mount: memfd and the like */
	WALK_LOST,  /* to the root of a mount that is in no namespace, whose name is the last one */
	WALK_DEEP,  /* there are more names above */
};

/* What an exec gave a process, as in event.Gained. */
enum gained { GAINED_SETUID = 1 << 0, GAINED_SETGID = 1 << 1, GAINED_CAPS = 1 << 2 };

/* Followed by args, env, exe, cwd, invoked, interp, cgroup, cgroup_v1, in this order
 * and each as long as its _len says. exe, cwd and the cgroups are names, leaf first,
 * each ended by a NUL; cgroup_v1 is empty unless there is one beside cgroup. invoked
 * and interp are strings without one. The rest of the record is not used. args and env
 * are strings that are each ended by a NUL. A failed exec has the ids of who tried, and
 * no executable. */
struct exec_record {
	struct head head;
	__u32 flags; /* enum exec_flags */
	__u32 argc;
	__u64 args_total; /* bytes of all arguments, before any cut */
	__u64 inode;
	__u64 size;	    /* bytes */
	__s64 mtime, ctime; /* ns since 1970 */
	__u32 dev; /* kernel encoding: major << 20 | minor */
	__u32 nlink;
	__u32 uid, gid, euid, egid, auid, sid;
	__u32 tty_major, tty_minor;
	__u32 pid_ns, mnt_ns, ns_pid;
	__u32 gained; /* enum gained */
	__s32 error;  /* errno of a failed exec */
	__s32 dirfd;  /* what its path is relative to, or AT_FDCWD */
	__u32 exe_walked, cwd_walked; /* enum walked */
	__u32 args_len, env_len, exe_len, cwd_len, invoked_len, interp_len, cgroup_len, cgroup_v1_len;
	__u32 used; /* sum of the lengths; see struct room */
	__u32 whole; /* of fill_failed */
	__u64 piece; /* of put_user_args */
	char comm[16];
	__u64 start_code, end_code, start_stack; /* of the new memory, as in /proc/PID/stat */
};

#endif
