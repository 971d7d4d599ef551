/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * What the guard's BPF programs and its programs in user space share: the values of the policy's maps, and the record.
 *
 * All numbers are little-endian and every structure is free of holes. `harness/guard/policy/src/layout.rs` and
 * `harness/guard/record/src/layout.rs` have the same structures in Rust; a test compares them with the BTF of the
 * compiled object.
 */
#ifndef GUARD_ABI_H
#define GUARD_ABI_H

/* Raised when the meaning of anything in this file changes. */
#define GUARD_ABI 4

#define GUARD_MOST_RULES 512
#define GUARD_MOST_PROFILES 64
#define GUARD_MOST_CGROUPS 64
#define GUARD_CGROUP_DEPTH 4
#define GUARD_CGROUP_NAME 64
#define GUARD_ATTACH_TYPES 128
#define GUARD_HELPERS 256
#define GUARD_MOST_LOADERS 32
#define GUARD_FILE_NAME 64
/* Entries that an image may have for map `sets`. */
#define GUARD_MOST_SETS 4096
#define GUARD_SIGNATURE 4096
#define GUARD_BUILD_ID 20

/* Of the policy as a whole. Those of the policy that the guard starts with are a part of `constants`, too, so that the kernel
 * removes what a policy does not ask for, if no other can take its place. */
struct guard_settings {
	__u32 abi;
	/* The number of entries of `rules` that count. */
	__u32 rules;
	/* 1: rules without a mode of their own are enforced; 0: their refusals are recorded only. */
	__u8 enforce;
	/* 1: a call that no rule takes is allowed. */
	__u8 default_allow;
	/* 1: a call whose record does not fit the ring is refused. */
	__u8 when_full_deny;
	/* 1: a call is refused once nobody has read the rings for `patience_ns`. */
	__u8 no_reader_deny;
	/* 1: the guard protects its own objects, mounts and processes, and the hard rule holds. 0 only in tests. */
	__u8 self_protection;
	/* The number of entries of `loaders` that count. */
	__u8 loaders;
	__u8 reload; /* enum guard_reload */
	__u8 reserved;
	__u64 patience_ns;
	/* Commands (bit per number) that are only counted while they are allowed. */
	__u64 count_only;
	/* Only a policy with a higher one takes this one's place. */
	__u64 revision;
};

/* Who may put another policy in the place of this one: nobody; root; whoever has one that is signed by a key of the built-in
 * keyring, of that or the secondary one, of the platform's. */
enum guard_reload { GUARD_RELOAD_NEVER, GUARD_RELOAD_ROOT, GUARD_RELOAD_BUILTIN, GUARD_RELOAD_SECONDARY, GUARD_RELOAD_PLATFORM };
enum guard_userns { GUARD_USERNS_ANY, GUARD_USERNS_INITIAL, GUARD_USERNS_NOT_INITIAL };
enum guard_action { GUARD_USE_PROFILE, GUARD_ALLOW, GUARD_DENY };
enum guard_mode { GUARD_MODE_OF_POLICY, GUARD_MODE_AUDIT, GUARD_MODE_ENFORCE };
/* The signature that a program must have: none; one by a key of any keyring; of the built-in one; of that or the secondary
 * one; of the platform's. */
enum guard_signed { GUARD_SIGNED_NO, GUARD_SIGNED_ANY, GUARD_SIGNED_BUILTIN, GUARD_SIGNED_SECONDARY, GUARD_SIGNED_PLATFORM };

/* `rules` of the policy: in order; the first that takes a call decides. A rule of the file may be several entries here. */
struct guard_rule {
	/* Commands that it takes, bit per number. */
	__u64 cmds;
	/* Inclusive ranges; 0 and 0xffffffff take all. */
	__u32 uid_min;
	__u32 uid_max;
	__u32 loginuid_min;
	__u32 loginuid_max;
	/* Its number in the file, from 1. */
	__u16 number;
	/* Index into `profiles`, if its action is GUARD_USE_PROFILE. */
	__u16 profile;
	/* 0: any; otherwise 1 + index into `cgroups`. */
	__u16 cgroup;
	__u8 userns; /* enum guard_userns */
	__u8 action; /* enum guard_action */
	__u8 mode;   /* enum guard_mode */
	/* 0: whatever program calls; GUARD_ANY_LOADER: any known loader; otherwise 1 + index into `loaders`. */
	__u8 loader;
	__u8 reserved[6];
};

#define GUARD_ANY_LOADER 255

/* What a file is known by: its device and inode, its hash by IMA, or its digest by fs-verity. */
enum guard_identity { GUARD_IDENTITY_INODE, GUARD_IDENTITY_IMA, GUARD_IDENTITY_FS_VERITY };

/* `loaders` of the policy: only files of these names are hashed when they are executed. */
struct guard_loader {
	__u32 identity; /* enum guard_identity */
	/* The length of the name in bytes, without the terminating zero. */
	__u32 length;
	/* The last name of its path, zero-padded. */
	char name[GUARD_FILE_NAME];
};

/* `cgroups` of the policy: a path below the root of the unified hierarchy; a task in it or anywhere below is in it. */
struct guard_cgroup {
	/* The number of names, at least 1. */
	__u32 depth;
	/* Their lengths in bytes, without the terminating zero. */
	__u32 length[GUARD_CGROUP_DEPTH];
	__u32 reserved;
	/* Zero-padded. */
	char name[GUARD_CGROUP_DEPTH][GUARD_CGROUP_NAME];
};

/* `profiles` of the policy. */
struct guard_profile {
	/* Bit per number. */
	__u64 cmds;
	__u64 progs;
	__u64 maps;
	/* Limits of a map: entries, and entries times key and value, each rounded up to 8 bytes. */
	__u64 max_entries;
	__u64 max_bytes;
	/* Capabilities (bit per number of capabilities(7)) that a token may stand for. */
	__u64 token_caps;
	/* Helpers by id. */
	__u64 helpers[GUARD_HELPERS / 64];
	/* Limit of instructions, inclusive. */
	__u32 max_insns;
	/* 1: programs and maps must come with a token. */
	__u8 token_required;
	/* 1: any kfunc of the kernel; 0: those in `kfuncs`. */
	__u8 any_kfunc;
	/* 1: any target with BTF; 0: those in `targets`. */
	__u8 any_target;
	/* 1: kfuncs and targets of modules too. */
	__u8 modules;
	/* 1: programs may use only maps that the same user made. */
	__u8 own_maps;
	__u8 signature; /* enum guard_signed */
	/* 1: only programs whose tags are in `tags`. */
	__u8 only_tags;
	__u8 reserved[5];
	/* Attach types that a program type may ask for at load, by program type (0 to 63): bit per number. */
	__u64 attach[64][GUARD_ATTACH_TYPES / 64];
};

/* Map `policies`: a policy, but for `sets`. */
struct guard_policy {
	struct guard_settings settings;
	struct guard_rule rules[GUARD_MOST_RULES];
	struct guard_cgroup cgroups[GUARD_MOST_CGROUPS];
	struct guard_profile profiles[GUARD_MOST_PROFILES];
	struct guard_loader loaders[GUARD_MOST_LOADERS];
};

/* What a key of map `sets` is: an identity, with the kinds of enum guard_identity; or a function of the kernel, a target or a
 * tag that a profile allows. */
enum guard_set { GUARD_SET_INODE, GUARD_SET_IMA, GUARD_SET_FS_VERITY, GUARD_SET_KFUNC, GUARD_SET_TARGET, GUARD_SET_TAG };

/* Map `sets`: a key that is there is allowed. The value of an identity, a __u8: 1 + index into `loaders`; otherwise 1. */
struct guard_set_key {
	/* The entry of `policies` that it belongs to. */
	__u8 slot;
	__u8 set; /* enum guard_set */
	/* Index into `profiles`; of an identity, 0. */
	__u16 profile;
	/* Then zeros: an id of vmlinux' BTF, 4 bytes; a tag, 8; device (as the kernel has it) and inode, 8 each; SHA-256, 32. */
	__u8 value[32];
};

struct guard_set_entry {
	struct guard_set_key key;
	__u8 value;
	__u8 reserved[3];
};

/* A policy that may take the place of the one in force. This is what is signed. */
struct guard_image {
	__u32 magic; /* GUARD_MAGIC */
	/* The number of entries of `sets` that count. */
	__u32 entries;
	/* The kernel's own (NT_GNU_BUILD_ID of /sys/kernel/notes): ids of BTF are those of one kernel. Zeros for one that has none. */
	__u8 build_id[GUARD_BUILD_ID];
	__u32 reserved;
	struct guard_policy policy;
	struct guard_set_entry sets[GUARD_MOST_SETS];
};

#define GUARD_MAGIC 0x67667062 /* "bpfg" */

/* Map `incoming`: one value, mapped into the memory of whoever asks for a reload. Whoever asks for the map's descriptor while
 * it is ready has it judged: EPERM if it is refused. */
struct guard_incoming {
	__u32 ready;
	/* In bytes. PKCS #7, DER, detached. */
	__u32 signature_size;
	/* The answer: GUARD_NO_REASON, or why it is refused, and `what` of that record. */
	__u32 reason; /* enum guard_reason */
	__u32 reserved;
	__u64 what;
	__u8 signature[GUARD_SIGNATURE];
	struct guard_image image;
};

/* Map `guarded`: BTF ids of functions that no tracing program may be attached to. Value: __u8, unused. */

enum guard_hook {
	GUARD_HOOK_BPF,
	GUARD_HOOK_PROG_LOAD,
	GUARD_HOOK_PROG,
	GUARD_HOOK_MAP_CREATE,
	GUARD_HOOK_MAP,
	GUARD_HOOK_TOKEN_CREATE,
	GUARD_HOOK_TOKEN_CMD,
	GUARD_HOOK_TOKEN_CAPABLE,
	GUARD_HOOK_INODE_UNLINK,
	GUARD_HOOK_INODE_RENAME,
	GUARD_HOOK_INODE_RMDIR,
	GUARD_HOOK_SB_UMOUNT,
	GUARD_HOOK_MOVE_MOUNT,
	GUARD_HOOK_PTRACE,
	GUARD_HOOK_TASK_KILL,
	GUARD_HOOK_TASK_SETRLIMIT,
	GUARD_HOOK_RELOAD,
	GUARD_HOOKS,
};

enum guard_verdict {
	GUARD_ALLOWED,
	/* The policy refuses it, and its mode is audit. */
	GUARD_WOULD_DENY,
	GUARD_DENIED,
	GUARD_VERDICTS,
};

/* Why a call is refused; `what` of the record says which. */
enum guard_reason {
	GUARD_NO_REASON,
	/* Of the policy. */
	GUARD_NO_RULE,          /* no rule takes the call */
	GUARD_RULE,             /* a rule denies it */
	GUARD_CMD,              /* what: the command */
	GUARD_PROG_TYPE,        /* what: the type */
	GUARD_ATTACH_TYPE,      /* what: the attach type */
	GUARD_TARGET,           /* what: BTF id */
	GUARD_TARGET_OF_MODULE, /* what: BTF id */
	GUARD_INSNS,            /* what: their number */
	GUARD_HELPER,           /* what: the helper's id */
	GUARD_KFUNC,            /* what: BTF id */
	GUARD_KFUNC_OF_MODULE,  /* what: BTF id */
	GUARD_MAP_TYPE,         /* what: the type */
	GUARD_MAP_ENTRIES,      /* what: their number */
	GUARD_MAP_BYTES,        /* what: their number */
	GUARD_TOKEN_MISSING,
	GUARD_TOKEN_CAP,        /* what: the capability */
	GUARD_MAP_OF_OTHER,     /* what: the map's id */
	GUARD_NOT_RECORDED,     /* the ring is full */
	GUARD_NO_READER,        /* what: ns since the rings were read */
	GUARD_UNSIGNED,
	GUARD_KEYRING,          /* what: the kind of the keyring */
	GUARD_TAG,              /* the program's tag */
	/* Hard: in force whatever the policy and its mode say. */
	GUARD_HARD = 64,
	GUARD_GUARDED_FUNCTION = GUARD_HARD, /* what: BTF id */
	GUARD_REPLACES_LSM,     /* freplace of a program of type lsm; what: that program's id */
	GUARD_OWN_MAP,          /* what: id */
	GUARD_OWN_PROG,         /* what: id */
	GUARD_OWN_LINK,         /* what: id */
	GUARD_OWN_BPFFS,        /* what: inode */
	GUARD_OWN_PROCESS,      /* what: process id */
	GUARD_KNOWN_LOADER,     /* what: id of the process that runs it */
	/* A reload. */
	GUARD_IMAGE_SIGNATURE,  /* what: the error of the kernel's check, positive */
	GUARD_IMAGE_REVISION,   /* what: its revision, not higher than that in force */
	GUARD_IMAGE_KERNEL,     /* it is for another kernel */
	GUARD_IMAGE_FORMAT,     /* it is no image, or of another version of the guard; what: its version */
	GUARD_IMAGE_FIXED,      /* it changes what a reload cannot change: who may reload, self-protection */
};

/* Bits of `flags` of a record. */
#define GUARD_HAS_TOKEN 1  /* the program, map or call came with a token */
#define GUARD_OF_KERNEL 2  /* the call was made by a BPF program (bpf_sys_bpf) */
#define GUARD_OF_GUARD 4   /* the call was made by the guard itself, for its own work */

#define GUARD_LISTED 8

/* Keyrings, as the kernel numbers them since 7.2. */
enum guard_keyring { GUARD_KEYRING_NONE, GUARD_KEYRING_BUILTIN, GUARD_KEYRING_SECONDARY, GUARD_KEYRING_PLATFORM, GUARD_KEYRING_USER };

/* What is known of a program. */
struct guard_prog {
	__u32 type;
	__u32 attach_type;
	/* BTF id of the target, 0 for none; and the BTF object that it is in, 0 for vmlinux': a module's, or another program's. */
	__u32 target;
	__u32 target_btf;
	__u32 insns;
	__u32 id;
	/* How many calls of kfuncs, and how many maps. */
	__u32 kfuncs;
	__u32 maps;
	__u64 helpers[GUARD_HELPERS / 64];
	char name[16];
	__u8 tag[8];
	/* The kernel's verdict on a signature: 0 none, 1 verified; and what the keyring is, enum guard_keyring. Linux 6.18 has
	 * signatures, and says this at hook prog_load only. */
	__u8 sig;
	__u8 keyring_type;
	__u8 reserved[2];
	__u32 keyring;
	/* Hook prog_load: BTF ids of the first kfuncs. Hook prog: ids of the first maps. */
	__u32 list[GUARD_LISTED];
};

/* What is known of a map. */
struct guard_map {
	__u32 type;
	__u32 key_size;
	__u32 value_size;
	__u32 max_entries;
	__u64 bytes;
	__u32 flags;
	__u32 id;
	char name[16];
	__u8 reserved[80];
};

/* A record in the ring buffers `denials` (verdict GUARD_DENIED) and `calls` (all others). */
struct guard_record {
	/* From 0, one counter for both rings: a number that is missing was lost. */
	__u64 seq;
	/* CLOCK_BOOTTIME. */
	__u64 boot_ns;
	__u16 size;
	__u8 hook;    /* enum guard_hook */
	__u8 verdict; /* enum guard_verdict */
	__u16 reason; /* enum guard_reason */
	__u16 rule;   /* number of the rule that took the call; 0 for none */
	__u64 what;
	/* The number of the bpf(2) call, from 1: what several hooks say about one call has one number. 0 outside of calls. */
	__u64 call;
	/* The cgroup's id in the unified hierarchy. */
	__u64 cgroup;
	/* Of the executable: device as the kernel has it (major << 20 | minor), and inode. */
	__u64 exe_ino;
	/* Of the process, with its id unique within a boot: CLOCK_BOOTTIME at which it started. */
	__u64 start_ns;
	__u32 exe_dev;
	__u32 cpu;
	__u32 cmd;
	/* In the initial namespaces: thread and process (thread group). */
	__u32 pid;
	__u32 tgid;
	__u32 uid;
	__u32 loginuid;
	__u32 session; /* of audit */
	/* Inode numbers of the namespaces. */
	__u32 userns;
	__u32 pidns;
	/* Records of this ring that were lost before this one. */
	__u32 lost;
	__u16 profile; /* index + 1; 0 for none */
	__u8 flags;
	__u8 loader; /* index + 1; 0 for none */
	char comm[16];
	union {
		struct guard_prog prog; /* hooks prog_load, prog */
		struct guard_map map;   /* hooks map_create, map */
		__u8 none[128];
	};
};

/* Map `counters`: per CPU, indexed by hook * GUARD_VERDICTS + verdict. */
struct guard_counter {
	/* Calls that were only counted. */
	__u64 counted;
	/* Calls for which a record was due, lost ones included. */
	__u64 recorded;
};

/* Map `heartbeat`: one value, mapped into the daemon's memory. CLOCK_BOOTTIME of its last round. */

/* Map `.bss`: what the programs keep. Mapped into the memory of the process that loads the guard; the reader may look only. */
struct guard_state {
	/* The number of the next record. */
	__u64 seq;
	/* Calls of bpf(2) so far. */
	__u64 calls;
	/* Records lost: of `denials`, of `calls`. */
	__u64 lost[2];
	/* When the two processes below started, CLOCK_BOOTTIME: an id is used again, a start is not. */
	__u64 guard_start;
	__u64 reader_start;
	/* The process that loads the guard, whose calls no policy judges; 0 once it is done. */
	__u32 guard_tgid;
	/* The process that reads the rings, if it is another: it may open them, and what it does besides is judged. */
	__u32 reader_tgid;
	/* 1 once everything is attached. Before, hooks let everything pass. */
	__u32 armed;
	/* For `bpf-guard try` only: 1 lets everything pass; a process whose calls pass unrecorded, 0 for none. */
	__u32 off;
	__u32 exempt_tgid;
	/* How many policies were in force before the one that is. Its lowest bit is the entry of `policies`. */
	__u32 generation;
	/* 1 while an image is judged. */
	__u32 reloading;
	__u32 reserved;
};

/* Map `.rodata`: set before the programs are loaded. */
struct guard_constants {
	__u32 vmlinux_btf_id;
	/* The device of the guard's bpffs as the kernel has it (major << 20 | minor); 0 for none. */
	__u32 own_bpffs_dev;
	/* 1: `off` and `exempt_tgid` are heeded. */
	__u8 is_trial;
	/* 1: hooks say whether a call comes from a BPF program (6.16 does, 6.12 does not). */
	__u8 has_kernel_argument;
	/* 1: rules ask for cgroups. */
	__u8 has_cgroups;
	/* 1: loaders are known by IMA, by fs-verity, at all. */
	__u8 has_ima;
	__u8 has_fs_verity;
	__u8 has_loaders;
	__u8 reserved[2];
	/* The running kernel's. */
	__u8 build_id[GUARD_BUILD_ID];
	__u32 reserved2;
	struct guard_settings settings;
};

/* Map `own`: the guard's own objects. The value, a __u8, says who may open a map: nobody, the reader, the reader for reading,
 * root. */
enum guard_own { GUARD_OWN_SECRET, GUARD_OWN_FOR_READER, GUARD_OWN_TO_LOOK_AT, GUARD_OWN_FOR_ROOT };

enum guard_object { GUARD_OBJECT_MAP, GUARD_OBJECT_PROG, GUARD_OBJECT_LINK };
struct guard_own_key {
	__u32 object; /* enum guard_object */
	__u32 id;
};

#endif
