/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Another policy takes the place of the one in force. No process is trusted with that: whoever asks writes an image and a
 * signature into `incoming`; what judges them is a program of the guard, which copies, checks and puts in force.
 */
#ifndef GUARD_RELOAD_H
#define GUARD_RELOAD_H

extern struct bpf_key *bpf_lookup_system_key(__u64 id) __ksym __weak;
extern void bpf_key_put(struct bpf_key *key) __ksym __weak;
extern int bpf_verify_pkcs7_signature(struct bpf_dynptr *data, struct bpf_dynptr *signature, struct bpf_key *keyring) __ksym __weak;

/* What this calls an error that the kernel's own check does not name. */
enum { EINVAL = 22, EKEYREJECTED = 129 };

/* Copies what `incoming` holds, so that nobody can change it any more. */
static __always_inline bool take(struct guard_incoming *incoming, struct guard_incoming *judged)
{
	struct bpf_dynptr memory;

	return !bpf_dynptr_from_mem(incoming, sizeof(*incoming), 0, &memory) &&
	       !bpf_dynptr_read(judged, sizeof(*judged), &memory, 0, 0);
}

/* Returns 0 if an image is signed by a key of the keyring that the policy in force names; otherwise a positive error. */
static __always_inline int check_signature(struct guard_incoming *judged)
{
	struct bpf_dynptr image, signature;
	__u32 size = judged->signature_size;
	struct bpf_key *keyring;
	int error = EINVAL;

	if (constants.settings.reload == GUARD_RELOAD_ROOT)
		return 0;
	if (!size || size > GUARD_SIGNATURE)
		return EKEYREJECTED;
	keyring = bpf_lookup_system_key(constants.settings.reload - GUARD_RELOAD_BUILTIN);
	if (!keyring)
		return EINVAL;
	if (!bpf_dynptr_from_mem(&judged->image, sizeof(judged->image), 0, &image) &&
	    !bpf_dynptr_from_mem(judged->signature, size, 0, &signature))
		error = -bpf_verify_pkcs7_signature(&image, &signature, keyring);
	bpf_key_put(keyring);
	return error;
}

/* Returns whether an image was made for the running kernel, or for any. */
static __always_inline bool is_for_this_kernel(const struct guard_image *image)
{
	bool is_for_any = true, is_same = true;
	__u32 at;

	for (at = 0; at < GUARD_BUILD_ID; at++) {
		is_for_any = is_for_any && !image->build_id[at];
		is_same = is_same && image->build_id[at] == constants.build_id[at];
	}
	return is_for_any || is_same;
}

struct filling {
	const struct guard_image *image;
	__u32 generation;
	/* 1: an entry found no room. */
	__u32 failed;
};

static long drop_entry(void *map, const void *key, void *value, void *context)
{
	const struct guard_set_key *entry = key;
	const struct filling *filling = context;

	if (entry->slot == (filling->generation & 1))
		bpf_map_delete_elem(&sets, entry);
	return 0;
}

static long add_entry(__u32 index, struct filling *filling)
{
	struct guard_set_key key;

	if (!filling->image || index >= GUARD_MOST_SETS)
		return 1;
	key = filling->image->sets[index].key;
	key.slot = filling->generation & 1;
	if (!bpf_map_update_elem(&sets, &key, &filling->image->sets[index].value, 0))
		return 0;
	filling->failed = 1;
	return 1;
}

/* Writes an image where the policy of a generation is read. Returns whether it fits. */
static __always_inline bool write_policy(struct guard_image *image, __u32 generation)
{
	struct filling filling = { .image = image, .generation = generation };
	struct guard_policy *policy = policy_of(generation);
	struct bpf_dynptr memory;

	if (!policy || image->entries > GUARD_MOST_SETS ||
	    bpf_dynptr_from_mem(&image->policy, sizeof(image->policy), 0, &memory) ||
	    bpf_dynptr_read(policy, sizeof(*policy), &memory, 0, 0))
		return false;
	bpf_for_each_map_elem(&sets, drop_entry, &filling, 0);
	if (image->entries)
		bpf_loop(image->entries, add_entry, &filling, 0);
	return !filling.failed;
}

/* Judges what `incoming` holds, and puts it in force unless it is refused. */
static __always_inline void judge(struct event *event, struct guard_incoming *incoming, struct guard_incoming *judged)
{
	const struct guard_settings *now = settings_of(state.generation);
	struct guard_settings *then = &judged->image.policy.settings;
	int error;

	if (!take(incoming, judged)) {
		refuse_whatever(event, GUARD_IMAGE_FORMAT, 0);
		return;
	}
	error = check_signature(judged);
	if (error)
		refuse_whatever(event, GUARD_IMAGE_SIGNATURE, error);
	else if (judged->image.magic != GUARD_MAGIC || then->abi != GUARD_ABI)
		refuse_whatever(event, GUARD_IMAGE_FORMAT, then->abi);
	else if (!is_for_this_kernel(&judged->image))
		refuse_whatever(event, GUARD_IMAGE_KERNEL, 0);
	else if (then->reload != constants.settings.reload || then->self_protection != constants.settings.self_protection)
		refuse_whatever(event, GUARD_IMAGE_FIXED, 0);
	else if (then->revision <= now->revision)
		refuse_whatever(event, GUARD_IMAGE_REVISION, then->revision);
	else if (!write_policy(&judged->image, state.generation + 1))
		refuse_whatever(event, GUARD_IMAGE_FORMAT, then->abi);
	if (event->verdict == GUARD_DENIED)
		return;
	event->what = then->revision;
	__sync_fetch_and_add(&state.generation, 1);
}

#endif
