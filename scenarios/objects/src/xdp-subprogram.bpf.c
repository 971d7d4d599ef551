/* A program that calls a function of its own: two functions among the kernel's symbols. */
#include "bpf.h"

/* Global and weak, so that neither the compiler nor the verifier looks into it from outside. */
__attribute__((weak)) int token_callee(void)
{
	return 1;
}

SEC("xdp")
int token_caller(struct xdp_md *packet)
{
	return token_callee();
}
