/* A program that replaces the one in xdp.bpf.c. */
#include "bpf.h"

SEC("freplace/drop")
int let_pass(struct xdp_md *packet)
{
	return 2;
}
