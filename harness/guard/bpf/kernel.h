/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * The kernel's types as far as the guard reads them. `preserve_access_index` lets libbpf put the offsets of the running
 * kernel into the programs, so that one object fits all of them; only the names and kinds of members matter here.
 */
#ifndef GUARD_KERNEL_H
#define GUARD_KERNEL_H

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
typedef __u32 __wsum;
typedef _Bool bool;
enum { false, true };

#define NULL ((void *)0)

/* Kinds of members must be the kernel's, or libbpf refuses the relocation: so enumerations are enumerations. */
enum bpf_prog_type { PROG_TYPE };
enum bpf_attach_type { ATTACH_TYPE };
enum bpf_map_type { MAP_TYPE };

/* Numbers of include/uapi/linux/bpf.h. */
enum { CMD_MAP_CREATE = 0, CMD_MAP_LOOKUP_ELEM = 1, CMD_PROG_LOAD = 5, CMD_MAP_GET_FD_BY_ID = 14, CMD_OBJ_GET_INFO_BY_FD = 15,
       CMD_LINK_GET_FD_BY_ID = 30 };
/* Commands that no other hook follows: those on elements of maps, and those that list ids and describe objects. */
#define PLAIN_CMDS (1ULL << 1 | 1ULL << 2 | 1ULL << 3 | 1ULL << 4 | 1ULL << 11 | 1ULL << 12 | 1ULL << 15 | 1ULL << 23 | 1ULL << 31)
enum { PROG_TYPE_TRACING = 26, PROG_TYPE_EXT = 28, PROG_TYPE_LSM = 29 };
enum { MAP_TYPE_HASH = 1, MAP_TYPE_ARRAY = 2, MAP_TYPE_PERCPU_ARRAY = 6, MAP_TYPE_LRU_HASH = 9, MAP_TYPE_RINGBUF = 27,
       MAP_TYPE_TASK_STORAGE = 29, MAP_TYPE_USER_RINGBUF = 31 };
enum { F_NO_PREALLOC = 1 << 0, F_RDONLY_PROG = 1 << 7, F_MMAPABLE = 1 << 10 };
enum { LOCAL_STORAGE_GET_F_CREATE = 1 };
/* An instruction that calls, and what its source register says: a helper, or a function of the kernel (kfunc). */
enum { INSN_CALL = 0x85, CALL_HELPER = 0, CALL_KFUNC = 2 };

/* include/linux/fs.h */
enum { FMODE_WRITE = 2 };
/* include/linux/binfmts.h, include/linux/security.h */
enum { F_BPRM_SECUREEXEC = 1, UNSAFE_PTRACE = 2 };
/* Numbers of SHA-256: include/uapi/linux/hash_info.h, include/uapi/linux/fsverity.h */
enum { IMA_SHA256 = 4, FS_VERITY_SHA256 = 1 };
/* include/linux/ptrace.h */
enum { PTRACE_MODE_ATTACH = 2 };

#define __kernel_type __attribute__((preserve_access_index))

struct bpf_insn {
	__u8 code;
	__u8 dst_reg : 4;
	__u8 src_reg : 4;
	__s16 off;
	__s32 imm;
} __kernel_type;

/* Two numbers of 8 bytes. Memory that no type describes is read as these. */
struct timespec64 {
	__s64 tv_sec;
	long tv_nsec;
} __kernel_type;

/* A program's handle of memory; what is in it is the kernel's. */
struct bpf_dynptr {
	__u64 opaque[2];
} __attribute__((aligned(8)));

/* A reference to a keyring. */
struct bpf_key {
	bool has_ref;
} __kernel_type;

struct btf {
	__u32 id;
} __kernel_type;

struct bpf_map {
	enum bpf_map_type map_type;
	__u32 key_size;
	__u32 value_size;
	__u32 max_entries;
	__u32 map_flags;
	__u32 id;
	char name[16];
} __kernel_type;

struct bpf_prog;

/* Since 7.2: what the kernel found of a program's signature. */
struct bpf_prog_aux___signed {
	struct {
		__s32 keyring_serial;
		__u8 keyring_type;
		__u8 verdict;
	} sig;
} __kernel_type;

struct bpf_prog_aux {
	__u32 id;
	__u32 used_map_cnt;
	__u32 attach_btf_id;
	struct btf *attach_btf;
	struct bpf_prog *dst_prog;
	struct bpf_map **used_maps;
	struct bpf_token *token;
	char name[16];
} __kernel_type;

struct bpf_prog {
	enum bpf_prog_type type;
	enum bpf_attach_type expected_attach_type;
	__u32 len;
	__u8 tag[8];
	struct bpf_prog_aux *aux;
	struct bpf_insn insnsi[0];
} __kernel_type;

union bpf_attr {
	/* The first number of every command; for those that open an object by its id, that id. */
	__u32 map_type;
	/* Of a load, since 6.18. */
	__u64 signature;
	__s32 keyring_id;
} __kernel_type;

struct ns_common {
	unsigned int inum;
} __kernel_type;

struct user_namespace {
	int level;
	struct ns_common ns;
} __kernel_type;

struct pid_namespace {
	struct ns_common ns;
} __kernel_type;

struct upid {
	int nr;
	struct pid_namespace *ns;
} __kernel_type;

struct pid {
	unsigned int level;
	struct upid numbers[0];
} __kernel_type;

typedef struct {
	__u32 val;
} kuid_t;

struct cred {
	kuid_t uid;
	struct user_namespace *user_ns;
} __kernel_type;

struct super_block {
	__u32 s_dev;
} __kernel_type;

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
} __kernel_type;

struct qstr {
	const unsigned char *name;
} __kernel_type;

struct dentry {
	struct qstr d_name;
	struct inode *d_inode;
} __kernel_type;

struct vfsmount {
	struct super_block *mnt_sb;
} __kernel_type;

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
} __kernel_type;

struct file {
	struct inode *f_inode;
	struct path f_path;
} __kernel_type;

struct linux_binprm {
	struct file *file;
	int unsafe;
} __kernel_type;

/* Since 7.3: a file that takes the place of the dynamic linker (binfmt_misc). */
struct linux_binprm___linker {
	struct file *loader;
} __kernel_type;

struct mm_struct {
	struct file *exe_file;
} __kernel_type;

struct kernfs_node {
	const char *name;
} __kernel_type;

struct cgroup {
	int level;
	struct kernfs_node *kn;
	struct cgroup *ancestors[0];
} __kernel_type;

struct css_set {
	struct cgroup *dfl_cgrp;
} __kernel_type;

struct task_struct {
	int pid;
	int tgid;
	int exit_state;
	__u64 start_boottime;
	struct task_struct *group_leader;
	struct mm_struct *mm;
	const struct cred *cred;
	struct pid *thread_pid;
	struct css_set *cgroups;
} __kernel_type;

/* Members that only some kernels have: CONFIG_AUDIT. */
struct task_struct___audit {
	kuid_t loginuid;
	unsigned int sessionid;
} __kernel_type;

#endif
