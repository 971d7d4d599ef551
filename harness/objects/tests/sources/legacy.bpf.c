// Maps as they were defined before BTF.
#include "object.h"

struct bpf_map_def {
	u32 type, key_size, value_size, max_entries, map_flags;
};

SEC("maps") struct bpf_map_def counts = { .type = 6, .key_size = 4, .value_size = 8, .max_entries = 256 };
u32 VERSION SEC("version") = 0x060c00;

static void *(*map_lookup_elem)(void *, const void *) = (void *)1;

SEC("socket") int filter(void *context)
{
	u32 key = 0;

	return map_lookup_elem(&counts, &key) != 0;
}

LICENSE("GPL")
