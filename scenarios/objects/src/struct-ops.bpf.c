/*
 * The operations of the kernel's dummy structure for tests (net/bpf/bpf_dummy_struct_ops.c), and a
 * global variable: programs, a struct_ops map and an array map that require BTF.
 */
#include "bpf.h"

struct bpf_dummy_ops_state {
	int val;
} __attribute__((preserve_access_index));

struct bpf_dummy_ops {
	int (*test_1)(struct bpf_dummy_ops_state *state);
	int (*test_2)(struct bpf_dummy_ops_state *state, int a1, unsigned short a2, char a3, unsigned long a4);
	int (*test_sleepable)(struct bpf_dummy_ops_state *state);
};

u64 last_seen;

SEC("struct_ops/test_1")
int answer(u64 *arguments)
{
	return 0;
}

SEC("struct_ops/test_2")
int remember(u64 *arguments)
{
	last_seen = arguments[1];
	return 0;
}

SEC("struct_ops.s/test_sleepable")
int sleep(u64 *arguments)
{
	return 0;
}

SEC(".struct_ops")
struct bpf_dummy_ops dummy = {
	.test_1 = (void *)answer,
	.test_2 = (void *)remember,
	.test_sleepable = (void *)sleep,
};
