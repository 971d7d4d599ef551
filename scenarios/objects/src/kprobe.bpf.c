/* A program at a function of the kernel, which libbpf attaches by an event of perf_event_open(2). */
#include "bpf.h"

SEC("kprobe/bpf_fentry_test1")
int probe(void *registers)
{
	return 0;
}
