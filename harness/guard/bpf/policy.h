/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What the policy says about a call. `harness/guard/policy/src/decision.rs` does the same in Rust. */
#ifndef GUARD_POLICY_H
#define GUARD_POLICY_H

#define NO_PROFILE 0xffffU
#define NO_CMD 0xffffffffU

/* One call of a hook: its facts, and what is decided. */
struct event {
	__u64 call;
	__u64 what;
	const struct guard_profile *profile;
	__u32 cmd;
	/* Of the policy that decides. */
	__u32 generation;
	struct caller caller;
	__u16 profile_number;
	__u16 reason;
	__u16 rule;
	__u8 hook;
	__u8 verdict;
	__u8 flags;
	__u8 mode;
	bool has_caller;
};

static __always_inline __u64 cmd_bit(__u32 cmd)
{
	return cmd < 64 ? 1ULL << cmd : 0;
}

/* Starts an event outside of the hook `bpf`, within the call that this task is in. Returns that call, or NULL if it cannot be
 * remembered. */
static __always_inline struct call *start_event(struct event *event, __u8 hook)
{
	struct call *call =
		bpf_task_storage_get(&calls_of_tasks, bpf_get_current_task_btf(), 0, LOCAL_STORAGE_GET_F_CREATE);

	event->hook = hook;
	event->cmd = NO_CMD;
	event->generation = in_force();
	if (call) {
		event->call = call->number;
		event->cmd = call->cmd;
		event->flags = call->flags;
	}
	describe_caller(&event->caller, event->generation);
	event->has_caller = true;
	return call;
}

/* Searches the rule that takes a call. */
struct search {
	struct caller caller;
	const struct guard_policy *policy;
	__u64 cmd;
	const struct guard_rule *found;
	__u32 generation;
	bool has_caller;
};

/* Returns whether a rule takes calls of some processes only. */
static __always_inline bool asks_who(const struct guard_rule *rule)
{
	return rule->uid_min || ~rule->uid_max || rule->loginuid_min || ~rule->loginuid_max || rule->userns ||
	       rule->loader;
}

static long try_rule(__u32 index, struct search *search)
{
	const struct guard_rule *rule;

	if (!search->policy || index >= GUARD_MOST_RULES)
		return 1;
	rule = &search->policy->rules[index];
	if (!(rule->cmds & search->cmd))
		return 0;
	if (!search->has_caller && asks_who(rule)) {
		describe_caller(&search->caller, search->generation);
		search->has_caller = true;
	}
	if (search->caller.uid < rule->uid_min || search->caller.uid > rule->uid_max)
		return 0;
	if (search->caller.loginuid < rule->loginuid_min || search->caller.loginuid > rule->loginuid_max)
		return 0;
	if (rule->userns == GUARD_USERNS_INITIAL && !search->caller.in_initial_userns)
		return 0;
	if (rule->userns == GUARD_USERNS_NOT_INITIAL && search->caller.in_initial_userns)
		return 0;
	if (rule->loader == GUARD_ANY_LOADER ? !search->caller.loader :
					       rule->loader && rule->loader != search->caller.loader)
		return 0;
	/* Without cgroups in the policy, the verifier need not look at what compares them. */
	if (constants.has_cgroups && rule->cgroup && !is_in_cgroup(search->generation, rule->cgroup - 1))
		return 0;
	search->found = rule;
	return 1;
}

static __always_inline void refuse(struct event *event, __u16 reason, __u64 what)
{
	bool enforce = event->mode == GUARD_MODE_ENFORCE;

	if (event->mode == GUARD_MODE_OF_POLICY)
		enforce = settings_of(event->generation)->enforce;
	event->verdict = enforce ? GUARD_DENIED : GUARD_WOULD_DENY;
	event->reason = reason;
	event->what = what;
}

/* Decides by the rule that takes a call; returns 1 if it is left to the profile, whose number is set then. Not static, so that
 * the verifier looks at it once and not at each call. */
__noinline int decide_rule_of(struct event *event)
{
	const struct guard_settings *settings;
	const struct guard_rule *rule;
	struct search search = {};

	if (!event)
		return 0;
	if (state.guard_tgid && is_guard(bpf_get_current_task_btf())) {
		event->flags |= GUARD_OF_GUARD;
		return 0;
	}
	if (event->has_caller) {
		search.caller = event->caller;
		search.has_caller = true;
	}
	search.cmd = cmd_bit(event->cmd);
	search.generation = event->generation;
	search.policy = policy_of(event->generation);
	settings = settings_of(event->generation);
	/* A loop that the verifier knows to take no turn would lose its function and keep the reference to it: the kernel warns
	 * and refuses the program. */
	if (settings->rules)
		bpf_loop(settings->rules, try_rule, &search, 0);
	rule = search.found;
	if (!rule) {
		if (!settings->default_allow)
			refuse(event, GUARD_NO_RULE, 0);
		return 0;
	}
	event->rule = rule->number;
	event->mode = rule->mode;
	if (rule->action == GUARD_DENY)
		refuse(event, GUARD_RULE, 0);
	if (rule->action != GUARD_USE_PROFILE)
		return 0;
	event->profile_number = rule->profile;
	return 1;
}

static __always_inline const struct guard_profile *profile_of(__u32 generation, __u32 number)
{
	const struct guard_policy *policy = policy_of(generation);

	if (!policy || number >= GUARD_MOST_PROFILES)
		return NULL;
	/* Or clang adds the offset before it looks at NULL. */
	barrier_var(policy);
	return &policy->profiles[number];
}

static __always_inline bool decide_rule(struct event *event)
{
	if (!decide_rule_of(event))
		return false;
	event->profile = profile_of(event->generation, event->profile_number);
	return event->profile != NULL;
}

/* Rounds up to 8 bytes, as maps do. */
static __always_inline __u64 rounded(__u32 bytes)
{
	return ((__u64)bytes + 7) & ~7ULL;
}

/* Entries times key and value; the entries of a ring buffer are bytes. Cannot overflow: 2^32 times less than 2^34 may, so it
 * saturates. */
static __always_inline __u64 map_bytes(const struct guard_map *map)
{
	__u64 entry = rounded(map->key_size) + rounded(map->value_size);

	if (map->type == MAP_TYPE_RINGBUF || map->type == MAP_TYPE_USER_RINGBUF)
		return map->max_entries;
	if (entry >> 32)
		return map->max_entries ? ~0ULL : 0;
	return map->max_entries * entry;
}

#endif
