/* Programs that libbpf does not attach by itself: it does not know to what. */
#include "bpf.h"

SEC("xdp")
int pass(struct xdp_md *packet)
{
	return 2;
}

SEC("kprobe")
int anywhere(void *registers)
{
	return 0;
}
