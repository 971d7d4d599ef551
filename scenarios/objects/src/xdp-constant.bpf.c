/* A program and a constant that it does not use. */
#include "bpf.h"

const volatile u64 threshold = 7;

SEC("xdp")
int pass(struct xdp_md *packet)
{
	return 2;
}
