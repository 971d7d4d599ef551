/* A program that takes CAP_NET_ADMIN by its type, CAP_BPF for jiffies64 and CAP_PERFMON for get_current_task. */
#include "bpf.h"

SEC("xdp")
int look_around(struct xdp_md *packet)
{
	return jiffies64() == get_current_task();
}
