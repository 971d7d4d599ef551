/* A program with a map and a global variable: everything that libbpf may do without on some kernel. */
#include "bpf.h"

struct {
	NUMBER(type, QUEUE);
	NUMBER(max_entries, 1);
	u32 *value;
} waiting SEC(".maps");

u64 packets;

SEC("xdp")
int count(struct xdp_md *packet)
{
	packets++;
	return 1;
}
