/* A single program, of a type that takes CAP_NET_ADMIN, without data of its own. */
#include "bpf.h"

SEC("xdp")
int drop(struct xdp_md *packet)
{
	return 1;
}
