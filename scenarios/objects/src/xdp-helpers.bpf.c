/* A program that requires CAP_NET_ADMIN for its type, CAP_BPF for jiffies64 and CAP_PERFMON for get_current_task. */
#include "bpf.h"

SEC("xdp")
int look_around(struct xdp_md *packet)
{
	return jiffies64() == get_current_task();
}
