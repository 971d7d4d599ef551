/* A single map, of a type that requires CAP_BPF. */
#include "bpf.h"

struct {
	NUMBER(type, QUEUE);
	NUMBER(max_entries, 1);
	u32 *value;
} waiting SEC(".maps");
