/* As small as the program of xdp.bpf.c, but for a call of a helper. */
#include "bpf.h"

SEC("xdp")
int drop(struct xdp_md *packet)
{
	return jiffies64();
}
