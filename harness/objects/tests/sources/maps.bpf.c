// Maps of every type, maps of maps, and values with fields that the kernel manages.
#include "object.h"

#define MAP(name, number)                                                                                              \
	struct {                                                                                                       \
		NUMBER(type, number);                                                                                  \
		NUMBER(max_entries, 4);                                                                                \
		TYPE(key, u32);                                                                                        \
		TYPE(value, u64);                                                                                      \
	} name SEC(".maps");

MAP(a_hash, 1)
MAP(a_array, 2)
MAP(a_prog_array, 3)
MAP(a_perf_event_array, 4)
MAP(a_percpu_hash, 5)
MAP(a_percpu_array, 6)
MAP(a_stack_trace, 7)
MAP(a_cgroup_array, 8)
MAP(a_lru_hash, 9)
MAP(a_lru_percpu_hash, 10)
MAP(a_lpm_trie, 11)
MAP(a_devmap, 14)
MAP(a_sockmap, 15)
MAP(a_cpumap, 16)
MAP(a_xskmap, 17)
MAP(a_sockhash, 18)
MAP(a_cgroup_storage, 19)
MAP(a_reuseport_sockarray, 20)
MAP(a_percpu_cgroup_storage, 21)
MAP(a_queue, 22)
MAP(a_stack, 23)
MAP(a_sk_storage, 24)
MAP(a_devmap_hash, 25)
MAP(a_ringbuf, 27)
MAP(a_inode_storage, 28)
MAP(a_task_storage, 29)
MAP(a_bloom_filter, 30)
MAP(a_user_ringbuf, 31)
MAP(a_cgrp_storage, 32)
MAP(a_arena, 33)
MAP(a_insn_array, 34)
MAP(a_rhash, 35)

struct inner {
	NUMBER(type, 1);
	NUMBER(max_entries, 8);
	NUMBER(map_flags, 1);
	NUMBER(key_size, 12);
	NUMBER(value_size, 20);
};

struct {
	NUMBER(type, 12);
	NUMBER(max_entries, 2);
	TYPE(key, u32);
	struct inner *values[];
} array_of_hashes SEC(".maps");

struct {
	NUMBER(type, 13);
	NUMBER(key_size, 4);
	NUMBER(value_size, 4);
	NUMBER(pinning, 1);
} filled_in_later SEC(".maps");

struct bpf_spin_lock {
	u32 val;
};

struct bpf_timer {
	u64 opaque[2];
};

struct task_struct;

struct guarded {
	struct bpf_spin_lock lock;
	struct {
		struct bpf_timer timers[1];
	} within;
	struct task_struct __attribute__((btf_type_tag("kptr"))) * task;
};

struct {
	NUMBER(type, 2);
	NUMBER(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, struct guarded);
} guarded SEC(".maps");

// BPF_F_ZERO_SEED.
struct {
	NUMBER(type, 1);
	NUMBER(max_entries, 1);
	NUMBER(map_flags, 64);
	TYPE(key, u32);
	TYPE(value, u32);
} seeded SEC(".maps");

LICENSE("GPL")
