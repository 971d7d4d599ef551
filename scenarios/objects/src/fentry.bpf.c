/* A program at the entry of a kernel function and one at a tracepoint; libbpf attaches both with bpf(2) alone. */
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
