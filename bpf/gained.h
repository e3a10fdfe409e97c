/* SPDX-License-Identifier: GPL-2.0 */
/* Privileges that an exec gives: what a process has after it and had not before. */
#ifndef SENTINELD_GAINED_H
#define SENTINELD_GAINED_H

/* What the exec that a task has begun will give it, perhaps nothing. Where there is
 * no entry its begin was not seen: on_prepare is not attached, was left out, or found
 * no room. An exec that fails half-way leaves its entry, so the key alone says
 * nothing. */
struct gain { __u64 bprm, start; __u32 bits; __u32 pad; };
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64); /* task_struct */
	__type(value, struct gain);
} gains SEC(".maps");

/* Privileges are gained when the kernel says so (secureexec: the effective ids
 * differ from the real ones before, or capabilities came from the file) and they
 * were not there before the exec. */
static __always_inline __u32 gained(struct task_struct *p, struct linux_binprm *bprm, __u32 *flags)
{
	__u64 key = (__u64)p;
	struct gain *g;
	__u32 bits = 0;

	if (!BPF_CORE_READ_BITFIELD_PROBED(bprm, secureexec)) {
		*flags |= EXEC_GAINED;
		return 0;
	}
	g = bpf_map_lookup_elem(&gains, &key);
	if (!g)
		return 0; /* what was there before is not known */
	if (g->bprm == (__u64)bprm && g->start == READ(p, group_leader, start_boottime)) {
		bits = g->bits;
		*flags |= EXEC_GAINED;
	}
	bpf_map_delete_elem(&gains, &key);
	return bits;
}

/* The last moment at which a task has its old credentials and the exec its new
 * ones. */
static __always_inline int on_prepare(struct linux_binprm *bprm)
{
	struct task_struct *p = (struct task_struct *)bpf_get_current_task();
	const struct cred *old, *new;
	struct gain g = {};
	__u64 key = (__u64)p, may = 0, before = 0, after = 0;
	__u32 euid;
	bool root, setuid, setgid;

	if (!BPF_CORE_READ_BITFIELD_PROBED(bprm, secureexec))
		return 0;
	old = READ(p, cred);
	new = READ(bprm, cred);
	if (!new)
		return 0;
	euid = READ(new, euid.val);
	setuid = euid != READ(old, euid.val) && euid != READ(old, uid.val);
	setgid = READ(new, egid.val) != READ(old, egid.val) && READ(new, egid.val) != READ(old, gid.val);
	/* Who may take any id gains none, be it root or a user's. */
	bpf_core_read(&may, sizeof(may), &old->cap_effective);
	if (setuid && !(may >> CAP_SETUID & 1))
		g.bits |= GAINED_SETUID;
	if (setgid && !(may >> CAP_SETGID & 1))
		g.bits |= GAINED_SETGID;
	/* Root has all capabilities by being root, not by the file; that of a user
	 * namespace has another number. */
	bpf_core_read(&before, sizeof(before), &old->cap_permitted);
	bpf_core_read(&after, sizeof(after), &new->cap_permitted);
	root = euid == 0 || (setuid && READ(new, user_ns, level) > 0);
	if (!root && (after & ~before))
		g.bits |= GAINED_CAPS;
	g.bprm = (__u64)bprm;
	/* Not the thread's own: the one that executes takes the first one's place. */
	g.start = READ(p, group_leader, start_boottime);
	bpf_map_update_elem(&gains, &key, &g, BPF_ANY);
	return 0;
}

#endif
