/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The maps of the guard, and its variables. */
#ifndef GUARD_STATE_H
#define GUARD_STATE_H

/* --- the policy: written by the loader, then frozen; a reload is written by the program that judges it --- */

#define ARRAY(map, value_type, entries) \
	struct { \
		__uint(type, MAP_TYPE_ARRAY); \
		__uint(max_entries, entries); \
		__type(key, __u32); \
		__type(value, value_type); \
	} map SEC(".maps")

#define SET(map, key_type, entries, flags) \
	struct { \
		__uint(type, MAP_TYPE_HASH); \
		__uint(map_flags, flags); \
		__uint(max_entries, entries); \
		__type(key, key_type); \
		__type(value, __u8); \
	} map SEC(".maps")

/* Two entries if the policy can be reloaded. */
ARRAY(policies, struct guard_policy, 1);
/* The loader sets the sizes to those of the policy. */
SET(sets, struct guard_set_key, 1, 0);
SET(guarded, __u32, 1, F_RDONLY_PROG);
/* Ids are known only once programs are loaded and attached; frozen right after. */
SET(own, struct guard_own_key, 256, F_RDONLY_PROG);

/* Only where the policy can be reloaded. What `incoming` holds can change while it is judged, so a copy is. */
struct {
	__uint(type, MAP_TYPE_ARRAY);
	__uint(map_flags, F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct guard_incoming);
} incoming SEC(".maps");
ARRAY(judged, struct guard_incoming, 1);

/* --- the record --- */

struct {
	__uint(type, MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} denials SEC(".maps");

struct {
	__uint(type, MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} calls SEC(".maps");

struct {
	__uint(type, MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GUARD_HOOKS * GUARD_VERDICTS);
	__type(key, __u32);
	__type(value, struct guard_counter);
} counters SEC(".maps");

struct {
	__uint(type, MAP_TYPE_ARRAY);
	__uint(map_flags, F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} heartbeat SEC(".maps");

/* --- what hooks remember --- */

/* The bpf(2) call that a task is in, or was in last. What loops collect is here too: on the stack, the verifier would follow
 * every value that it can take. */
struct call {
	__u64 number;
	__u32 cmd;
	__u32 flags;
	/* The scan of a program: where its instructions are, as a number, and the first thing that its profile does not allow. */
	__u64 instructions;
	__u64 what;
	__u32 profile;
	__u32 reason;
	/* The maps of a program: where the pointers are, as a number; who loads it; the ids of the first map of the guard's, and
	 * of the first that another user made. */
	__u64 maps;
	__u32 uid;
	__u32 own;
	__u32 foreign;
	/* Of the policy that `profile` is of. */
	__u32 generation;
	struct guard_prog prog;
};

struct {
	__uint(type, MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct call);
} calls_of_tasks SEC(".maps");

/* The known loader that a task runs. Strangers need no entry. */
struct identity {
	/* 1 + index into `loaders`; 0 for none. `found` is what exec found before the new program is in place. */
	__u8 loader;
	__u8 found;
	__u8 reserved[2];
	/* Of the policies that `loader` and `found` are of. */
	__u32 generation;
	__u32 found_generation;
	/* By which it is known; zeros for a stranger. */
	struct guard_set_key key;
	struct guard_set_key found_key;
	/* Where the kernel writes a digest; of fs-verity, after its algorithm and size. */
	__u16 algorithm;
	__u16 size;
	__u8 digest[64];
};

struct {
	__uint(type, MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct identity);
} identities_of_tasks SEC(".maps");

/* The user who made a map, by the map's id. A map that is forgotten here counts as somebody else's. */
struct {
	__uint(type, MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, __u32);
} makers SEC(".maps");

/* --- variables --- */

const volatile struct guard_constants constants = {};
struct guard_state state = {};

static __always_inline __u32 current_tgid(void)
{
	return bpf_get_current_pid_tgid() >> 32;
}

/* Returns whether hooks have nothing to do. */
static __always_inline bool is_off(void)
{
	__u32 tgid;

	if (!state.armed)
		return true;
	if (!constants.is_trial)
		return false;
	tgid = current_tgid();
	return state.off || tgid == state.exempt_tgid || tgid == state.guard_tgid;
}

static __always_inline bool self_protection(void)
{
	return constants.settings.self_protection;
}

static __always_inline bool is_reloadable(void)
{
	return constants.settings.reload;
}

/* Returns the generation of the policy that is in force. A hook asks once, or it would judge a call by two of them. */
static __always_inline __u32 in_force(void)
{
	return is_reloadable() ? state.generation : 0;
}

static __always_inline struct guard_policy *policy_of(__u32 generation)
{
	__u32 index = generation & 1;

	return bpf_map_lookup_elem(&policies, &index);
}

/* Returns the settings of a policy. Where no other can take its place they are constants. */
static __always_inline const struct guard_settings *settings_of(__u32 generation)
{
	const struct guard_policy *policy;

	if (!is_reloadable())
		return (const struct guard_settings *)&constants.settings;
	policy = policy_of(generation);
	if (!policy)
		return (const struct guard_settings *)&constants.settings;
	barrier_var(policy);
	return &policy->settings;
}

static __always_inline bool is_set(__u32 generation, __u8 set, __u16 profile, __u64 value)
{
	struct guard_set_key key = { .slot = generation & 1, .set = set, .profile = profile };

	__builtin_memcpy(key.value, &value, sizeof(value));
	return bpf_map_lookup_elem(&sets, &key) != NULL;
}

#endif
