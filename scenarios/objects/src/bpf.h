/* The BPF-specific declarations that the objects here need, so that they compile with clang alone. */
#pragma once

typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))

/* libbpf reads a map definition from a variable's type: the number N is a pointer to an array of N elements. */
#define NUMBER(name, n) int (*name)[n]

/* enum bpf_map_type */
#define HASH 1
#define PERF_EVENT_ARRAY 4
#define QUEUE 22
#define RINGBUF 27

/* The context argument, which identifies the kind of program. */
struct xdp_md {
	u32 data;
};

/* Helpers by number (include/uapi/linux/bpf.h). */
static u64 (*const get_current_task)(void) = (void *)35;
static u64 (*const jiffies64)(void) = (void *)118;

char gpl[] SEC("license") = "GPL";
