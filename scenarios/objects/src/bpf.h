/* What the objects here need of BPF's dialect of C, so that they compile with clang alone. */
#pragma once

typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))

/* libbpf reads a map from the type of a variable: a number N is a pointer to an array of N elements. */
#define NUMBER(name, n) int (*name)[n]

/* enum bpf_map_type */
#define QUEUE 22

/* A program's argument, by which the kernel knows what it is for. */
struct xdp_md {
	u32 data;
};

/* Helpers by their numbers (include/uapi/linux/bpf.h). */
static u64 (*const get_current_task)(void) = (void *)35;
static u64 (*const jiffies64)(void) = (void *)118;

char gpl[] SEC("license") = "GPL";
