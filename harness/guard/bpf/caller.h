/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Who makes a call. */
#ifndef GUARD_CALLER_H
#define GUARD_CALLER_H

extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym;
extern struct task_struct *bpf_task_from_pid(__s32 pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;

/* Reads kernel memory as a number of 8 bytes; 0 where it cannot be read. Unlike bpf_probe_read_kernel() it is there under
 * lockdown=confidentiality too. */
static __always_inline __u64 number_at(__u64 address)
{
	const struct timespec64 *pair = bpf_rdonly_cast((void *)address, bpf_core_type_id_kernel(struct timespec64));

	return pair->tv_sec;
}

/* Returns the calling task as memory that is only looked at. */
static __always_inline struct task_struct *current_task(void)
{
	return bpf_rdonly_cast(bpf_get_current_task_btf(), bpf_core_type_id_kernel(struct task_struct));
}

struct caller {
	__u32 uid;
	__u32 loginuid;
	bool in_initial_userns;
	__u8 loader;
};

/* No login, as the kernel writes it. */
#define NO_LOGIN 0xffffffffU

static __always_inline __u32 loginuid_of(struct task_struct *task)
{
	struct task_struct___audit *audited = (void *)task;

	return bpf_core_field_exists(audited->loginuid) ? audited->loginuid.val : NO_LOGIN;
}

static __always_inline __u32 session_of(struct task_struct *task)
{
	struct task_struct___audit *audited = (void *)task;

	return bpf_core_field_exists(audited->sessionid) ? audited->sessionid : NO_LOGIN;
}

/* Returns the user in the initial namespace, as bpf_get_current_uid_gid() does in more steps. */
static __always_inline __u32 uid_of(struct task_struct *task)
{
	const struct cred *cred = task->cred;

	return cred ? cred->uid.val : NO_LOGIN;
}

static __always_inline bool is_process(struct task_struct *task, __u32 tgid, __u64 start)
{
	struct task_struct *leader;

	if (!tgid || task->tgid != tgid)
		return false;
	leader = task->group_leader;
	return leader && leader->start_boottime == start;
}

/* Returns whether a task is of the process that loads the guard. Its first call tells when it started. */
static __always_inline bool is_guard(struct task_struct *task)
{
	struct task_struct *leader;

	if (!state.guard_start && task->tgid == state.guard_tgid) {
		leader = task->group_leader;
		if (leader)
			state.guard_start = leader->start_boottime;
	}
	return is_process(task, state.guard_tgid, state.guard_start);
}

static __always_inline bool is_reader(struct task_struct *task)
{
	return is_process(task, state.reader_tgid, state.reader_start);
}

/* Looks a loader up in another policy than the one by which it was known last. */
static __always_inline void know_again(struct identity *identity, __u32 generation)
{
	struct guard_set_key key = identity->key;
	const __u8 *loader;

	key.slot = generation & 1;
	loader = bpf_map_lookup_elem(&sets, &key);
	identity->loader = loader ? *loader : 0;
	identity->generation = generation;
}

/* Returns the known loader of a policy that a task runs, 1 + its index; 0 for a stranger. */
static __always_inline __u8 loader_of(struct task_struct *task, __u32 generation)
{
	struct identity *identity;

	if (!constants.has_loaders)
		return 0;
	identity = bpf_task_storage_get(&identities_of_tasks, task, 0, 0);
	if (!identity)
		return 0;
	if (is_reloadable() && identity->generation != generation)
		know_again(identity, generation);
	return identity->loader;
}

static __always_inline void describe_caller(struct caller *caller, __u32 generation)
{
	struct task_struct *task = current_task();
	const struct cred *cred = task->cred;
	struct user_namespace *userns = cred ? cred->user_ns : NULL;

	caller->uid = uid_of(task);
	caller->loginuid = loginuid_of(task);
	caller->in_initial_userns = userns && userns->level == 0;
	caller->loader = loader_of(bpf_get_current_task_btf(), generation);
}

/* Returns whether a name of a cgroup is this one, compared 8 bytes at a time with its terminating zero. */
static __always_inline bool is_named(__u64 name, const char *wanted, __u32 length)
{
	__u64 mask, word;
	__u32 at;

	for (at = 0; at < GUARD_CGROUP_NAME; at += 8) {
		if (at > length)
			return true;
		mask = length - at >= 7 ? ~0ULL : (1ULL << (length - at + 1) * 8) - 1;
		word = number_at(name + at);
		if ((word ^ *(const __u64 *)(wanted + at)) & mask)
			return false;
	}
	return true;
}

/* Returns whether the calling task is in a cgroup of the policy or below it. Not static, so that the verifier looks at it
 * once and not at each call. */
__noinline int is_in_cgroup(__u32 generation, __u32 index)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct guard_policy *policy = policy_of(generation);
	const struct guard_cgroup *wanted;
	struct css_set *set = task->cgroups;
	struct cgroup *cgroup;
	__u64 ancestors, ancestor, node;
	__u32 level, length;

	if (!policy || index >= GUARD_MOST_CGROUPS || !set)
		return 0;
	barrier_var(policy);
	wanted = &policy->cgroups[index];
	cgroup = set->dfl_cgrp;
	if (!cgroup || cgroup->level < (int)wanted->depth)
		return 0;
	ancestors = (__u64)cgroup + bpf_core_field_offset(cgroup->ancestors);
	for (level = 0; level < GUARD_CGROUP_DEPTH; level++) {
		if (level >= wanted->depth)
			return 1;
		length = wanted->length[level];
		if (length >= GUARD_CGROUP_NAME)
			return 0;
		/* The root is ancestor 0. */
		ancestor = number_at(ancestors + (level + 1) * 8);
		node = number_at(ancestor + bpf_core_field_offset(struct cgroup, kn));
		if (!is_named(number_at(node + bpf_core_field_offset(struct kernfs_node, name)), wanted->name[level], length))
			return 0;
	}
	return 1;
}

/* Returns the inode number of the task's pid namespace. */
static __always_inline __u32 pidns_of(struct task_struct *task)
{
	struct pid *pid = task->thread_pid;
	const struct upid *innermost;
	__u64 address;

	if (!pid)
		return 0;
	address = (__u64)pid + bpf_core_field_offset(pid->numbers) + pid->level * bpf_core_type_size(struct upid);
	innermost = bpf_rdonly_cast((void *)address, bpf_core_type_id_kernel(struct upid));
	return innermost->ns->ns.inum;
}

/* Returns whether the process that reads the rings is alive: one that nobody has waited for yet is not. */
static __always_inline bool reader_lives(void)
{
	struct task_struct *task;
	bool lives;

	if (!state.reader_tgid)
		return false;
	task = bpf_task_from_pid(state.reader_tgid);
	if (!task)
		return false;
	lives = task->start_boottime == state.reader_start && !task->exit_state;
	bpf_task_release(task);
	return lives;
}

static __always_inline bool is_own(__u32 object, __u32 id)
{
	struct guard_own_key key = { .object = object, .id = id };

	if (!self_protection() || is_guard(bpf_get_current_task_btf()))
		return false;
	return bpf_map_lookup_elem(&own, &key) != NULL;
}

/* Who may open a map of the guard's. */
static __always_inline __u8 own_access(__u32 id)
{
	struct guard_own_key key = { .object = GUARD_OBJECT_MAP, .id = id };
	const __u8 *access = bpf_map_lookup_elem(&own, &key);

	return access ? *access : GUARD_OWN_SECRET;
}

static __always_inline bool is_root(void)
{
	struct caller caller = {};

	describe_caller(&caller, in_force());
	return !caller.uid && caller.in_initial_userns;
}

/* Makes the calling process the reader, if it is root's, opens a map for the reader, and nobody reads yet: a process that has
 * loaded the guard and is not done with it reads itself. Returns whether the caller is the reader now. */
static __always_inline bool claim(__u32 id)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct task_struct *leader = task->group_leader;

	if (is_reader(task))
		return true;
	if (!own_access(id) || !is_root() || !leader || state.guard_tgid || reader_lives())
		return false;
	state.reader_start = leader->start_boottime;
	state.reader_tgid = task->tgid;
	return true;
}

#endif
