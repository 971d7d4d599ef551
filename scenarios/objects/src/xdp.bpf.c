/* A single program without global data, of a type that requires CAP_NET_ADMIN. */
#include "bpf.h"

SEC("xdp")
int drop(struct xdp_md *packet)
{
	return 1;
}
