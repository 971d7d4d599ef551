/* A program at the entry of a function of the kernel and one at a tracepoint, which libbpf attaches by bpf(2) alone. */
#include "bpf.h"

SEC("fentry/bpf_fentry_test1")
int enter(u64 *arguments)
{
	return 0;
}

SEC("raw_tp/task_newtask")
int forked(u64 *arguments)
{
	return 0;
}
