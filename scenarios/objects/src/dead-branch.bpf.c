/* A branch that no kernel takes, with an access that libbpf cannot relocate: in its place it puts a call of a number that no
 * helper has, which the verifier never reaches. */
#include "bpf.h"

struct task_struct___elsewhere {
	int member_of_no_kernel;
} __attribute__((preserve_access_index));

SEC("raw_tp/task_newtask")
int forked(u64 *arguments)
{
	struct task_struct___elsewhere *task = (void *)arguments[0];

	/* BPF_FIELD_EXISTS */
	if (__builtin_preserve_field_info(task->member_of_no_kernel, 2))
		return task->member_of_no_kernel;
	return 0;
}
