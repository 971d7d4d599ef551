/* An LSM program with a function that another program could replace. */
#include "bpf.h"

/* Global and weak, so that compiler and verifier treat it as a separate function. */
__attribute__((weak)) int verdict(int number)
{
	return -(number & 1);
}

SEC("lsm/file_open")
int check(unsigned long long *arguments)
{
	return verdict(2) < 0 ? -1 : 0;
}
