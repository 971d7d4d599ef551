/* Programs that libbpf cannot attach by itself, since it does not know their targets. */
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
