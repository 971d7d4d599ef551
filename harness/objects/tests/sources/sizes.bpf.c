// Maps without sizes, and maps whose sizes are not for the program to set.
#include "object.h"

#define UNSIZED(name, number)                                                                                          \
	struct {                                                                                                       \
		NUMBER(type, number);                                                                                  \
		NUMBER(key_size, 4);                                                                                   \
		NUMBER(value_size, 4);                                                                                 \
	} name SEC(".maps");

UNSIZED(counts, 1)
UNSIZED(samples, 4)
UNSIZED(events, 27)
UNSIZED(to_kernel, 31)
UNSIZED(by_socket, 24)
UNSIZED(by_cgroup, 19)
UNSIZED(memory, 33)

struct queue {
	NUMBER(type, 22);
	NUMBER(value_size, 4);
};

struct {
	NUMBER(type, 12);
	NUMBER(max_entries, 2);
	NUMBER(key_size, 4);
	struct queue *values[];
} queues SEC(".maps");

u32 packets;

LICENSE("GPL")
