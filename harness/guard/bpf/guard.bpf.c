/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The guard: BPF programs on LSM hooks that record every use of bpf(2), and refuse what a policy does not allow.
 *
 * Each hook collects the facts, asks `policy.h` for a decision, and hands it to `record.h`, which writes the record before
 * the answer is given. Hard checks, which hold whatever the policy says, come first. `abi.h` has the formats.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include "abi.h"
#include "state.h"
#include "caller.h"
#include "policy.h"
#include "record.h"
#include "scan.h"
#include "identity.h"
#include "reload.h"

/* Returns an argument of a hook as a number. The verifier takes every pointer among them for non-NULL, so that a
 * comparison in C would be removed. */
static __always_inline __u64 argument(const unsigned long long *ctx, __u32 index)
{
	return number_at((__u64)ctx + index * 8);
}

/* --- commands --- */

/* Returns whether a command opens a map for the reader, or for a reload, which no policy can take from them. */
static __always_inline bool is_opening(int cmd, union bpf_attr *attr)
{
	__u8 access;

	if (cmd != CMD_MAP_GET_FD_BY_ID)
		return false;
	access = own_access(attr->map_type);
	return access == GUARD_OWN_FOR_ROOT ? is_root() : access && claim(attr->map_type);
}

/* Returns whether a command is the reader's work. It is only counted: a reader whose reading made records would never end. */
static __always_inline bool is_reading(int cmd)
{
	return (cmd == CMD_OBJ_GET_INFO_BY_FD || cmd == CMD_MAP_LOOKUP_ELEM) && is_reader(bpf_get_current_task_btf());
}

SEC("lsm/bpf")
int BPF_PROG(guard_bpf, int cmd, union bpf_attr *attr)
{
	struct call *call;
	struct event event = {};
	/* Counted even while the guard is off: whoever loads it sees by this whether the hook is called at all. */
	__u64 number = __sync_fetch_and_add(&state.calls, 1) + 1;

	if (is_off())
		return 0;
	event.hook = GUARD_HOOK_BPF;
	event.cmd = cmd;
	if (constants.has_kernel_argument && (argument(ctx, 3) & 0xff))
		event.flags = GUARD_OF_KERNEL;
	event.call = number;
	event.generation = in_force();
	if (!(PLAIN_CMDS & cmd_bit(cmd))) {
		call = bpf_task_storage_get(&calls_of_tasks, bpf_get_current_task_btf(), 0, LOCAL_STORAGE_GET_F_CREATE);
		if (call) {
			call->number = number;
			call->cmd = cmd;
			call->flags = event.flags;
		}
	}
	if (cmd == CMD_LINK_GET_FD_BY_ID && is_own(GUARD_OBJECT_LINK, attr->map_type))
		return refuse_hard(&event, GUARD_OWN_LINK, attr->map_type);
	if (is_reading(cmd)) {
		count(GUARD_HOOK_BPF, GUARD_ALLOWED, false);
		return 0;
	}
	if (is_opening(cmd, attr)) {
		event.flags |= GUARD_OF_GUARD;
		return answer(&event, NULL);
	}
	if (decide_rule(&event) && !(event.profile->cmds & cmd_bit(cmd)))
		refuse(&event, GUARD_CMD, cmd);
	return answer(&event, NULL);
}

/* --- programs --- */

static __always_inline void describe_prog(struct guard_prog *to, struct bpf_prog *prog)
{
	struct bpf_prog_aux *aux = prog->aux;
	struct bpf_prog_aux___signed *signature = (void *)aux;

	to->type = prog->type;
	to->attach_type = prog->expected_attach_type;
	to->target = aux->attach_btf_id;
	to->target_btf = aux->attach_btf && aux->attach_btf->id != constants.vmlinux_btf_id ? aux->attach_btf->id : 0;
	to->insns = prog->len;
	to->id = aux->id;
	__builtin_memcpy(to->name, aux->name, sizeof(to->name));
	__builtin_memcpy(to->tag, prog->tag, sizeof(to->tag));
	__builtin_memset(to->helpers, 0, sizeof(to->helpers));
	__builtin_memset(to->list, 0, sizeof(to->list));
	to->kfuncs = 0;
	to->maps = 0;
	to->sig = 0;
	to->keyring_type = 0;
	to->keyring = 0;
	if (bpf_core_field_exists(signature->sig)) {
		to->sig = signature->sig.verdict;
		to->keyring_type = signature->sig.keyring_type;
		to->keyring = signature->sig.keyring_serial;
	}
}

/* Linux 6.18 keeps nothing of a signature: a load that names one fails unless it is right, and the keyring is the caller's
 * choice, the system's by their numbers from 0. */
static __always_inline void describe_signature(struct guard_prog *to, union bpf_attr *attr)
{
	struct bpf_prog_aux___signed *kept = NULL;
	__u32 keyring;

	if (bpf_core_field_exists(kept->sig) || !bpf_core_field_exists(attr->signature) || !attr->signature)
		return;
	keyring = attr->keyring_id;
	to->sig = 1;
	to->keyring = keyring;
	to->keyring_type = keyring < 3 ? GUARD_KEYRING_BUILTIN + keyring : GUARD_KEYRING_USER;
}

/* The hard rule: what a tracing program may not be attached to, and what may not be replaced. */
static __always_inline __u16 hard_rule(struct bpf_prog *prog, const struct guard_prog *facts, __u64 *what)
{
	struct bpf_prog *replaced = prog->aux->dst_prog;
	__u64 replaced_id = replaced ? replaced->aux->id : 0;
	__u32 target = facts->target;

	/* Or clang reads either number by one instruction, and the verifier allows one kind of memory each. */
	barrier_var(replaced_id);
	if (!self_protection())
		return 0;
	if (facts->type == PROG_TYPE_TRACING && !facts->target_btf && bpf_map_lookup_elem(&guarded, &target)) {
		*what = facts->target;
		return GUARD_GUARDED_FUNCTION;
	}
	if (facts->type == PROG_TYPE_EXT && replaced && replaced->type == PROG_TYPE_LSM) {
		*what = replaced_id;
		return GUARD_REPLACES_LSM;
	}
	return 0;
}

static __always_inline bool type_allowed(const struct guard_profile *profile, __u32 type)
{
	return type < 64 && (profile->progs >> type & 1);
}

static __always_inline bool attach_type_allowed(const struct guard_profile *profile, __u32 type, __u32 attach_type)
{
	if (attach_type >= GUARD_ATTACH_TYPES)
		return false;
	return profile->attach[type & 63][attach_type / 64 & 1] >> (attach_type & 63) & 1;
}

static __always_inline bool keyring_allowed(__u8 wanted, __u8 keyring)
{
	switch (wanted) {
	case GUARD_SIGNED_BUILTIN:
		return keyring == GUARD_KEYRING_BUILTIN;
	case GUARD_SIGNED_SECONDARY:
		return keyring == GUARD_KEYRING_BUILTIN || keyring == GUARD_KEYRING_SECONDARY;
	case GUARD_SIGNED_PLATFORM:
		return keyring == GUARD_KEYRING_PLATFORM;
	}
	return true;
}

/* The checks of a profile at load, in their order; those of the instructions were made by the scan. */
static __always_inline void check_prog(struct event *event, const struct call *call)
{
	const struct guard_prog *prog = &call->prog;
	const struct guard_profile *profile = event->profile;

	if (!type_allowed(profile, prog->type)) {
		refuse(event, GUARD_PROG_TYPE, prog->type);
	} else if (!attach_type_allowed(profile, prog->type, prog->attach_type)) {
		refuse(event, GUARD_ATTACH_TYPE, prog->attach_type);
	} else if (prog->insns > profile->max_insns) {
		refuse(event, GUARD_INSNS, prog->insns);
	} else if (profile->token_required && !(event->flags & GUARD_HAS_TOKEN)) {
		refuse(event, GUARD_TOKEN_MISSING, 0);
	} else if (profile->signature && !prog->sig) {
		refuse(event, GUARD_UNSIGNED, 0);
	} else if (!keyring_allowed(profile->signature, prog->keyring_type)) {
		refuse(event, GUARD_KEYRING, prog->keyring_type);
	} else if (prog->target && prog->target_btf && prog->type != PROG_TYPE_EXT && !profile->modules) {
		refuse(event, GUARD_TARGET_OF_MODULE, prog->target);
	} else if (prog->target && !prog->target_btf && !profile->any_target &&
		   !is_set(event->generation, GUARD_SET_TARGET, event->profile_number, prog->target)) {
		refuse(event, GUARD_TARGET, prog->target);
	} else if (call->reason) {
		refuse(event, call->reason, call->what);
	}
}

/* Without memory for what the scan finds, a program cannot be judged. */
static __always_inline int answer_unjudged(struct event *event)
{
	refuse(event, GUARD_NOT_RECORDED, 0);
	return answer(event, NULL);
}

SEC("lsm.s/bpf_prog_load")
int BPF_PROG(guard_prog_load, struct bpf_prog *prog, union bpf_attr *attr)
{
	struct event event = {};
	struct call *call;
	bool by_profile;
	__u64 what = 0;
	__u16 hard;

	if (is_off())
		return 0;
	call = start_event(&event, GUARD_HOOK_PROG_LOAD);
	event.cmd = CMD_PROG_LOAD;
	if (!call)
		return answer_unjudged(&event);
	/* Not the hook's argument, which is NULL before 7.3. */
	if (prog->aux->token)
		event.flags |= GUARD_HAS_TOKEN;
	by_profile = decide_rule(&event);
	describe_prog(&call->prog, prog);
	describe_signature(&call->prog, attr);
	scan(call, prog, event.generation, by_profile ? event.profile_number : NO_PROFILE);
	hard = hard_rule(prog, &call->prog, &what);
	if (hard)
		return refuse_hard_with(&event, hard, what, &call->prog);
	if (by_profile)
		check_prog(&event, call);
	return answer(&event, &call->prog);
}

static __always_inline bool tag_allowed(const struct event *event, const struct guard_prog *prog)
{
	__u64 tag;

	__builtin_memcpy(&tag, prog->tag, sizeof(tag));
	return !event->profile->only_tags || is_set(event->generation, GUARD_SET_TAG, event->profile_number, tag);
}

/* Called when a program gets a descriptor: at the end of a load, and when somebody asks for it by id or path. */
SEC("lsm/bpf_prog")
int BPF_PROG(guard_prog, struct bpf_prog *prog)
{
	struct event event = {};
	struct call *call;
	__u32 id = prog->aux->id;

	if (is_off())
		return 0;
	call = start_event(&event, GUARD_HOOK_PROG);
	if (is_own(GUARD_OBJECT_PROG, id))
		return refuse_hard(&event, GUARD_OWN_PROG, id);
	if (!call)
		return answer_unjudged(&event);
	if (prog->aux->token)
		event.flags |= GUARD_HAS_TOKEN;
	describe_prog(&call->prog, prog);
	use_maps(call, prog, event.caller.uid);
	if (call->own)
		return refuse_hard_with(&event, GUARD_OWN_MAP, call->own, &call->prog);
	if (decide_rule(&event) && event.cmd == CMD_PROG_LOAD) {
		if (!tag_allowed(&event, &call->prog))
			refuse(&event, GUARD_TAG, 0);
		else if (event.profile->own_maps && call->foreign)
			refuse(&event, GUARD_MAP_OF_OTHER, call->foreign);
	}
	return answer(&event, &call->prog);
}

/* --- maps --- */

static __always_inline void describe_map(struct guard_map *to, struct bpf_map *map)
{
	to->type = map->map_type;
	to->key_size = map->key_size;
	to->value_size = map->value_size;
	to->max_entries = map->max_entries;
	to->bytes = map_bytes(to);
	to->flags = map->map_flags;
	to->id = map->id;
	__builtin_memcpy(to->name, map->name, sizeof(to->name));
}

static __always_inline void check_map(struct event *event, const struct guard_map *map)
{
	const struct guard_profile *profile = event->profile;

	if (map->type >= 64 || !(profile->maps >> map->type & 1))
		refuse(event, GUARD_MAP_TYPE, map->type);
	else if (map->max_entries > profile->max_entries)
		refuse(event, GUARD_MAP_ENTRIES, map->max_entries);
	else if (map->bytes > profile->max_bytes)
		refuse(event, GUARD_MAP_BYTES, map->bytes);
	else if (profile->token_required && !(event->flags & GUARD_HAS_TOKEN))
		refuse(event, GUARD_TOKEN_MISSING, 0);
}

SEC("lsm/bpf_map_create")
int BPF_PROG(guard_map_create, struct bpf_map *map)
{
	struct event event = {};
	struct guard_map facts = {};

	if (is_off())
		return 0;
	start_event(&event, GUARD_HOOK_MAP_CREATE);
	event.cmd = CMD_MAP_CREATE;
	/* The token that the kernel uses; a map keeps none, and this hook is given it on every kernel with tokens. */
	if (argument(ctx, 2))
		event.flags |= GUARD_HAS_TOKEN;
	describe_map(&facts, map);
	if (decide_rule(&event))
		check_map(&event, &facts);
	return answer(&event, &facts);
}

static __always_inline bool may_open(__u8 access, unsigned int mode)
{
	switch (access) {
	case GUARD_OWN_FOR_ROOT:
		return is_root();
	case GUARD_OWN_FOR_READER:
		return is_reader(bpf_get_current_task_btf());
	case GUARD_OWN_TO_LOOK_AT:
		return !(mode & FMODE_WRITE) && is_reader(bpf_get_current_task_btf());
	}
	return false;
}

/* Called when a map gets a descriptor: after it was made, and when somebody asks for it by id or path. */
SEC("lsm/bpf_map")
int BPF_PROG(guard_map, struct bpf_map *map, unsigned int mode)
{
	struct event event = {};
	struct guard_map facts = {};
	__u32 id = map->id;

	if (is_off())
		return 0;
	start_event(&event, GUARD_HOOK_MAP);
	describe_map(&facts, map);
	if (is_own(GUARD_OBJECT_MAP, id)) {
		if (!may_open(own_access(id), mode))
			return refuse_hard_with(&event, GUARD_OWN_MAP, id, &facts);
		event.flags |= GUARD_OF_GUARD;
		return answer(&event, &facts);
	}
	if (event.cmd == CMD_MAP_CREATE)
		bpf_map_update_elem(&makers, &id, &event.caller.uid, 0);
	decide_rule(&event);
	return answer(&event, &facts);
}

/* Called as `guard_map` is. Loaded only where the policy can be reloaded. */
SEC("lsm.s/bpf_map")
int BPF_PROG(guard_reload, struct bpf_map *map)
{
	struct event event = {};
	struct guard_incoming *asked, *copy;
	__u32 zero = 0;

	if (is_off() || own_access(map->id) != GUARD_OWN_FOR_ROOT || !is_root())
		return 0;
	asked = bpf_map_lookup_elem(&incoming, &zero);
	copy = bpf_map_lookup_elem(&judged, &zero);
	if (!asked || !copy || !asked->ready)
		return 0;
	if (__sync_lock_test_and_set(&state.reloading, 1))
		return -EBUSY;
	start_event(&event, GUARD_HOOK_RELOAD);
	judge(&event, asked, copy);
	write_record(&event, NULL);
	asked->reason = event.reason;
	asked->what = event.what;
	asked->ready = 0;
	state.reloading = 0;
	return returned(&event);
}

/* --- tokens --- */

SEC("lsm/bpf_token_create")
int BPF_PROG(guard_token_create)
{
	struct event event = {};

	if (is_off())
		return 0;
	start_event(&event, GUARD_HOOK_TOKEN_CREATE);
	if (decide_rule(&event) && !(event.profile->cmds & cmd_bit(event.cmd)))
		refuse(&event, GUARD_CMD, event.cmd);
	return answer(&event, NULL);
}

/* After a refusal the kernel goes on as if there were no token. */
SEC("lsm/bpf_token_cmd")
int BPF_PROG(guard_token_cmd, struct bpf_token *token, int cmd)
{
	struct event event = {};

	if (is_off())
		return 0;
	start_event(&event, GUARD_HOOK_TOKEN_CMD);
	event.flags |= GUARD_HAS_TOKEN;
	if (decide_rule(&event) && !(event.profile->cmds & cmd_bit(cmd)))
		refuse(&event, GUARD_CMD, cmd);
	return answer(&event, NULL);
}

SEC("lsm/bpf_token_capable")
int BPF_PROG(guard_token_capable, struct bpf_token *token, int cap)
{
	struct event event = {};

	if (is_off())
		return 0;
	start_event(&event, GUARD_HOOK_TOKEN_CAPABLE);
	event.flags |= GUARD_HAS_TOKEN;
	event.what = cap;
	if (decide_rule(&event) && (cap < 0 || cap > 63 || !(event.profile->token_caps >> cap & 1)))
		refuse(&event, GUARD_TOKEN_CAP, cap);
	return answer(&event, NULL);
}

/* --- the guard itself --- */

static __always_inline bool is_own_bpffs(struct super_block *sb)
{
	return self_protection() && constants.own_bpffs_dev && sb && sb->s_dev == constants.own_bpffs_dev;
}

static __always_inline int refuse_bpffs(__u8 hook, struct inode *inode)
{
	struct event event = {};

	start_event(&event, hook);
	event.cmd = NO_CMD;
	return refuse_hard(&event, GUARD_OWN_BPFFS, inode ? inode->i_ino : 0);
}

SEC("lsm/inode_unlink")
int BPF_PROG(guard_inode_unlink, struct inode *dir, struct dentry *dentry)
{
	if (is_off() || !is_own_bpffs(dir->i_sb))
		return 0;
	return refuse_bpffs(GUARD_HOOK_INODE_UNLINK, dentry->d_inode);
}

SEC("lsm/inode_rmdir")
int BPF_PROG(guard_inode_rmdir, struct inode *dir, struct dentry *dentry)
{
	if (is_off() || !is_own_bpffs(dir->i_sb))
		return 0;
	return refuse_bpffs(GUARD_HOOK_INODE_RMDIR, dentry->d_inode);
}

SEC("lsm/inode_rename")
int BPF_PROG(guard_inode_rename, struct inode *old_dir, struct dentry *old_dentry)
{
	if (is_off() || !is_own_bpffs(old_dir->i_sb))
		return 0;
	return refuse_bpffs(GUARD_HOOK_INODE_RENAME, old_dentry->d_inode);
}

SEC("lsm/sb_umount")
int BPF_PROG(guard_sb_umount, struct vfsmount *mount)
{
	if (is_off() || !is_own_bpffs(mount->mnt_sb))
		return 0;
	return refuse_bpffs(GUARD_HOOK_SB_UMOUNT, NULL);
}

SEC("lsm/move_mount")
int BPF_PROG(guard_move_mount, struct path *from)
{
	struct vfsmount *mount = from->mnt;

	if (is_off() || !mount || !is_own_bpffs(mount->mnt_sb))
		return 0;
	return refuse_bpffs(GUARD_HOOK_MOVE_MOUNT, NULL);
}

static __always_inline int refuse_process(__u8 hook, __u16 reason, struct task_struct *task)
{
	struct event event = {};

	start_event(&event, hook);
	event.cmd = NO_CMD;
	return refuse_hard(&event, reason, task->tgid);
}

static __always_inline bool is_own_process(struct task_struct *task)
{
	struct task_struct *caller = bpf_get_current_task_btf();

	return self_protection() && (is_guard(task) || is_reader(task)) && caller->tgid != task->tgid;
}

SEC("lsm/ptrace_access_check")
int BPF_PROG(guard_ptrace, struct task_struct *child, unsigned int mode)
{
	__u32 generation;
	__u8 loader;

	if (is_off() || !(mode & PTRACE_MODE_ATTACH))
		return 0;
	if (is_own_process(child))
		return refuse_process(GUARD_HOOK_PTRACE, GUARD_OWN_PROCESS, child);
	generation = in_force();
	loader = loader_of(child, generation);
	if (!loader || !self_protection() || loader == loader_of(bpf_get_current_task_btf(), generation))
		return 0;
	return refuse_process(GUARD_HOOK_PTRACE, GUARD_KNOWN_LOADER, child);
}

/* Process 1 may end the daemon: it does so when it stops services. Enforcement does not hang on the daemon. */
SEC("lsm/task_kill")
int BPF_PROG(guard_task_kill, struct task_struct *task, void *info, int signal)
{
	if (is_off() || !signal || !is_own_process(task) || current_tgid() == 1)
		return 0;
	return refuse_process(GUARD_HOOK_TASK_KILL, GUARD_OWN_PROCESS, task);
}

/* The hook of prlimit(2) and setrlimit(2); a limit of processor time ends a process. */
SEC("lsm/task_setrlimit")
int BPF_PROG(guard_task_setrlimit, struct task_struct *task)
{
	if (is_off() || !is_own_process(task) || current_tgid() == 1)
		return 0;
	return refuse_process(GUARD_HOOK_TASK_SETRLIMIT, GUARD_OWN_PROCESS, task);
}

/* --- known loaders: loaded only if the policy has some --- */

/* Called once an exec has found the file that will run: of a script, its interpreter. What is found counts when the program
 * is in place, or a failed exec would leave it to the old one. A process that is traced is its tracer's. */
SEC("lsm.s/bprm_creds_from_file")
int BPF_PROG(guard_exec, struct linux_binprm *bprm)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct identity *identity = identity_of(task, 0);
	struct file *file = bprm->file;
	__u32 generation = in_force();
	struct guard_set_key key = { .slot = generation & 1 };
	__u32 kinds;
	__u8 loader;

	if (identity)
		identity->found = 0;
	if (is_off() || (bprm->unsafe & UNSAFE_PTRACE) || linker_is_replaced(bprm))
		return 0;
	loader = known_by_inode(&key, file);
	kinds = loader ? 0 : kinds_of_name(name_of(file));
	if (!loader && !kinds)
		return 0;
	identity = identity_of(task, LOCAL_STORAGE_GET_F_CREATE);
	if (!identity)
		return 0;
	if (constants.has_fs_verity && !loader && (kinds & 1 << GUARD_IDENTITY_FS_VERITY))
		loader = known_by_fs_verity(&key, identity, file);
	if (constants.has_ima && !loader && (kinds & 1 << GUARD_IDENTITY_IMA))
		loader = known_by_ima(&key, identity, file);
	identity->found_key = key;
	identity->found_generation = generation;
	identity->found = loader;
	if (loader)
		bpf_bprm_opts_set(bprm, F_BPRM_SECUREEXEC);
	return 0;
}

SEC("lsm/bprm_committed_creds")
int BPF_PROG(guard_executed)
{
	struct identity *identity = identity_of(bpf_get_current_task_btf(), 0);

	if (!identity)
		return 0;
	identity->loader = identity->found;
	identity->generation = identity->found_generation;
	/* A stranger stays one whatever another policy says: it was not started as a known loader is. */
	if (identity->found)
		identity->key = identity->found_key;
	else
		__builtin_memset(&identity->key, 0, sizeof(identity->key));
	identity->found = 0;
	return 0;
}

/* A new task, be it a thread or a process, runs what its maker runs. Without memory for that it is a stranger. */
SEC("lsm/task_alloc")
int BPF_PROG(guard_task_alloc, struct task_struct *task)
{
	struct identity *maker = identity_of(bpf_get_current_task_btf(), 0);
	struct identity *identity;

	if (!maker || !maker->loader)
		return 0;
	identity = identity_of(task, LOCAL_STORAGE_GET_F_CREATE);
	if (!identity)
		return 0;
	identity->loader = maker->loader;
	identity->generation = maker->generation;
	identity->key = maker->key;
	return 0;
}

/* The helpers that the guard uses are for programs under the GPL; these are under it too. */
char _license[] SEC("license") = "Dual MIT/GPL";
