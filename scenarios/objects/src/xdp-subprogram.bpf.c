/* A program that calls its own function: two entries in kallsyms. */
#include "bpf.h"

/* Global and weak, so that compiler and verifier treat it as a separate function. */
__attribute__((weak)) int token_callee(void)
{
	return 1;
}

SEC("xdp")
int token_caller(struct xdp_md *packet)
{
	return token_callee();
}
