/* Maps whose program would set their sizes before it loads the object: without that the kernel makes none of them. */
#include "bpf.h"

struct {
	NUMBER(type, HASH);
	u32 *key;
	u64 *value;
} counts SEC(".maps");

struct {
	NUMBER(type, RINGBUF);
} events SEC(".maps");

/* libbpf puts in the number of possible processors. */
struct {
	NUMBER(type, PERF_EVENT_ARRAY);
	NUMBER(key_size, 4);
	NUMBER(value_size, 4);
} samples SEC(".maps");

struct {
	NUMBER(type, QUEUE);
	u32 *value;
} waiting SEC(".maps");
