/* A program at a kernel function, which libbpf attaches to an event from perf_event_open(2). */
#include "bpf.h"

SEC("kprobe/bpf_fentry_test1")
int probe(void *registers)
{
	return 0;
}
