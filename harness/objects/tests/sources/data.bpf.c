// Global data, Kconfig values, kernel symbols, and fields of kernel structures.
#include "object.h"

struct task_struct {
	int pid;
	int tgid;
} __attribute__((preserve_access_index));

u64 counted;
u64 begun = 1;
const volatile u32 wanted = 3;
static u32 hidden SEC(".data.hidden");

extern int CONFIG_HZ OUTSIDE(".kconfig");
extern u32 LINUX_KERNEL_VERSION OUTSIDE(".kconfig");
extern _Bool LINUX_HAS_BPF_COOKIE OUTSIDE(".kconfig") __attribute__((weak));
extern const int bpf_prog_active OUTSIDE(".ksyms");
extern const void bpf_link_fops OUTSIDE(".ksyms") __attribute__((weak));

static long (*probe_read_kernel)(void *, u32, const void *) = (void *)113;

SEC("fentry/do_exit") int leaves(struct task_struct **arguments)
{
	int pid = 0;

	probe_read_kernel(&pid, sizeof(pid), &arguments[0]->pid);
	counted += begun;
	hidden = pid;
	return pid == wanted && CONFIG_HZ > 100 && LINUX_KERNEL_VERSION && LINUX_HAS_BPF_COOKIE &&
	       bpf_prog_active + (u64)&bpf_link_fops;
}

LICENSE("Dual BSD/GPL")
