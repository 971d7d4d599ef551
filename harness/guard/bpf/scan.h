/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What a program calls and uses, from its instructions before they are verified, and from its maps after. */
#ifndef GUARD_SCAN_H
#define GUARD_SCAN_H

/* What a loop is called with must be on the stack. */
struct loop {
	struct call *call;
};

/* Only the number of helpers is used, and that is the running kernel's. */
enum bpf_func_id { __BPF_FUNC_MAX_ID = 212 };

/* libbpf puts calls of numbers that no helper has where code cannot be reached; where it can, the verifier refuses them. */
static __always_inline bool is_helper(__u32 id)
{
	return id < bpf_core_enum_value(enum bpf_func_id, __BPF_FUNC_MAX_ID);
}

static __always_inline void see_helper(struct call *call, __u32 id)
{
	const struct guard_profile *profile;

	if (id < GUARD_HELPERS)
		call->prog.helpers[id / 64 & 3] |= 1ULL << (id & 63);
	if (call->reason)
		return;
	profile = profile_of(call->generation, call->profile);
	if (profile && (id >= GUARD_HELPERS || !(profile->helpers[id / 64 & 3] >> (id & 63) & 1))) {
		call->reason = GUARD_HELPER;
		call->what = id;
	}
}

static __always_inline void see_kfunc(struct call *call, __u32 id, __s16 module)
{
	const struct guard_profile *profile;
	__u32 number = call->prog.kfuncs;

	call->prog.kfuncs = number + 1;
	if (number < GUARD_LISTED)
		call->prog.list[number & (GUARD_LISTED - 1)] = id;
	if (call->reason)
		return;
	profile = profile_of(call->generation, call->profile);
	if (!profile)
		return;
	if (module) {
		if (profile->modules)
			return;
		call->reason = GUARD_KFUNC_OF_MODULE;
	} else {
		if (profile->any_kfunc || is_set(call->generation, GUARD_SET_KFUNC, call->profile, id))
			return;
		call->reason = GUARD_KFUNC;
	}
	call->what = id;
}

static long scan_instruction(__u32 index, struct loop *loop)
{
	struct call *call = loop->call;
	__u64 address = call->instructions + (__u64)index * sizeof(struct bpf_insn);
	const struct bpf_insn *insn = bpf_rdonly_cast((void *)address, bpf_core_type_id_kernel(struct bpf_insn));
	__u8 kind;

	if (insn->code != INSN_CALL)
		return 0;
	kind = BPF_CORE_READ_BITFIELD(insn, src_reg);
	if (kind == CALL_HELPER && is_helper(insn->imm))
		see_helper(call, insn->imm);
	else if (kind == CALL_KFUNC)
		see_kfunc(call, insn->imm, insn->off);
	return 0;
}

/* Fills `call->prog` and `call->reason` from a program's instructions; no profile judges them where `profile` is NO_PROFILE. */
static __always_inline void scan(struct call *call, struct bpf_prog *prog, __u32 generation, __u32 profile)
{
	struct loop loop = { .call = call };

	call->instructions = (__u64)prog + bpf_core_field_offset(prog->insnsi);
	call->generation = generation;
	call->profile = profile;
	call->reason = 0;
	bpf_loop(prog->len, scan_instruction, &loop, 0);
}

static long use_map(__u32 index, struct loop *loop)
{
	struct call *call = loop->call;
	__u64 address = number_at(call->maps + (__u64)index * 8);
	const struct bpf_map *map = bpf_rdonly_cast((void *)address, bpf_core_type_id_kernel(struct bpf_map));
	__u32 id = map->id;
	const __u32 *maker = bpf_map_lookup_elem(&makers, &id);

	if (index < GUARD_LISTED)
		call->prog.list[index & (GUARD_LISTED - 1)] = id;
	if (!call->own && is_own(GUARD_OBJECT_MAP, id))
		call->own = id;
	if (!call->foreign && (!maker || *maker != call->uid))
		call->foreign = id;
	return 0;
}

/* Fills `call->prog`, `call->own` and `call->foreign` from the maps of a verified program. */
static __always_inline void use_maps(struct call *call, struct bpf_prog *prog, __u32 uid)
{
	struct loop loop = { .call = call };

	call->maps = (__u64)prog->aux->used_maps;
	call->uid = uid;
	call->own = 0;
	call->foreign = 0;
	call->prog.maps = prog->aux->used_map_cnt;
	bpf_loop(call->prog.maps, use_map, &loop, 0);
}

#endif
