/* A classifier of packets, in a section that tc finds by itself. */
#include "bpf.h"

SEC("classifier")
int pass(void *packet)
{
	return 0;
}
