/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Known loaders: what a process runs is found out when it is executed, and not asked of the process later. A task that the
 * guard has not seen execute a known loader is a stranger.
 */
#ifndef GUARD_IDENTITY_H
#define GUARD_IDENTITY_H

extern int bpf_get_fsverity_digest(struct file *file, struct bpf_dynptr *digest) __ksym __weak;

#define DIGEST_SIZE 32

/* Returns the known loader with an identity, 1 + its index; 0 for none. */
static __always_inline __u8 known(const struct guard_set_key *key)
{
	const __u8 *loader = bpf_map_lookup_elem(&sets, key);

	return loader ? *loader : 0;
}

static __always_inline __u8 known_by_inode(struct guard_set_key *key, struct file *file)
{
	struct inode *inode = file->f_inode;
	__u64 place[2];

	key->set = GUARD_SET_INODE;
	place[0] = inode->i_sb->s_dev;
	place[1] = inode->i_ino;
	__builtin_memcpy(key->value, place, sizeof(place));
	return known(key);
}

/* Returns the identities, bit per kind, of loaders that have a file's name. Not static, so that the verifier looks at it once. */
__noinline int kinds_of_name(__u64 name)
{
	__u32 generation = in_force();
	const struct guard_policy *policy = policy_of(generation);
	const struct guard_loader *loader;
	__u32 count = settings_of(generation)->loaders;
	__u32 index, kinds = 0;

	if (!policy)
		return 0;

	for (index = 0; index < GUARD_MOST_LOADERS; index++) {
		if (index >= count)
			break;
		loader = &policy->loaders[index];
		if (loader->length < GUARD_FILE_NAME && loader->identity && is_named(name, loader->name, loader->length))
			kinds |= 1 << (loader->identity & 3);
	}
	return kinds;
}

/* The address of a file's last name, as a number. */
static __always_inline __u64 name_of(struct file *file)
{
	struct dentry *dentry = file->f_path.dentry;

	return number_at((__u64)dentry + bpf_core_field_offset(dentry->d_name.name));
}

static __always_inline __u8 known_by_digest(struct guard_set_key *key, struct identity *identity, __u8 set)
{
	key->set = set;
	__builtin_memcpy(key->value, identity->digest, DIGEST_SIZE);
	return known(key);
}

static __always_inline __u8 known_by_fs_verity(struct guard_set_key *key, struct identity *identity, struct file *file)
{
	struct bpf_dynptr memory;

	if (bpf_dynptr_from_mem(&identity->algorithm, sizeof(identity->digest) + 4, 0, &memory) ||
	    bpf_get_fsverity_digest(file, &memory) || identity->algorithm != FS_VERITY_SHA256)
		return 0;
	return known_by_digest(key, identity, GUARD_SET_FS_VERITY);
}

static __always_inline __u8 known_by_ima(struct guard_set_key *key, struct identity *identity, struct file *file)
{
	if (bpf_ima_file_hash(file, identity->digest, sizeof(identity->digest)) != IMA_SHA256)
		return 0;
	return known_by_digest(key, identity, GUARD_SET_IMA);
}

static __always_inline struct identity *identity_of(struct task_struct *task, __u64 flags)
{
	return bpf_task_storage_get(&identities_of_tasks, task, 0, flags);
}

static __always_inline bool linker_is_replaced(struct linux_binprm *bprm)
{
	struct linux_binprm___linker *binary = (void *)bprm;

	return bpf_core_field_exists(binary->loader) && binary->loader;
}

#endif
