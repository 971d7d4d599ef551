// struct_ops maps, one that is created and one that is not.
#include "object.h"

struct tcp_congestion_ops___mine {
	u64 (*ssthresh)(void *sk);
	void (*cong_avoid)(void *sk, u32 ack, u32 acked);
	void (*release)(void *sk);
	u32 flags;
};

SEC("struct_ops/ssthresh") u64 threshold(u64 *arguments) { return 2; }
SEC("struct_ops") void release(u64 *arguments) {}
SEC("struct_ops.s/cong_avoid") void avoid(u64 *arguments) {}
SEC("struct_ops/nobody") void unused(u64 *arguments) {}

SEC(".struct_ops.link") struct tcp_congestion_ops___mine mine = {
	.ssthresh = (void *)threshold,
	.release = (void *)release,
};

SEC("?.struct_ops") struct tcp_congestion_ops___mine spare = {
	.ssthresh = (void *)threshold,
	.cong_avoid = (void *)avoid,
};

LICENSE("GPL")
