// What programs call: helpers, their own functions, kernel functions, callbacks and other programs.
#include "object.h"

struct __sk_buff {
	u32 head[19];
	u32 data;
	u32 data_end;
};

struct {
	NUMBER(type, 3);
	NUMBER(max_entries, 2);
	NUMBER(key_size, 4);
	NUMBER(value_size, 4);
} jumps SEC(".maps");

struct bpf_spin_lock {
	u32 val;
};

struct value {
	struct bpf_spin_lock lock;
	u32 count;
};

struct {
	NUMBER(type, 2);
	NUMBER(max_entries, 1);
	TYPE(key, u32);
	TYPE(value, struct value);
} guarded SEC(".maps");

struct {
	NUMBER(type, 33);
	NUMBER(map_flags, 1024);
	NUMBER(max_entries, 1);
} pages SEC(".maps");

static void *(*map_lookup_elem)(void *, const void *) = (void *)1;
static long (*trace_printk)(const char *, u32, ...) = (void *)6;
static long (*tail_call)(void *, void *, u32) = (void *)12;
static long (*spin_lock)(struct bpf_spin_lock *) = (void *)93;
static long (*spin_unlock)(struct bpf_spin_lock *) = (void *)94;
static long (*loop)(u32, void *, void *, u64) = (void *)181;
static long (*probe_read_kernel)(void *, u32, const void *) = (void *)113;

extern void bpf_rcu_read_lock(void) OUTSIDE(".ksyms");
extern void bpf_rcu_read_unlock(void) OUTSIDE(".ksyms") __attribute__((weak));
extern void crash_kexec(void *registers) OUTSIDE(".ksyms");
extern void *bpf_obj_new_impl(u64 type, void *meta) OUTSIDE(".ksyms");

__attribute__((noinline)) int leaps(void *context)
{
	tail_call(context, &jumps, 1);
	return 1;
}

__attribute__((noinline)) int through(void *context) { return leaps(context) + 1; }

static int each(u32 index, void *context) { return 0; }

SEC("tc") int plain(void *context) { return 0; }

SEC("tc") int jumping(void *context)
{
	tail_call(context, &jumps, 0);
	return 0;
}

SEC("tc") int deep(void *context) { return through(context); }

SEC("tc") int repeating(void *context) { return loop(3, each, 0, 0); }

SEC("tc") int locking(void *context)
{
	u32 key = 0;
	struct value *value = map_lookup_elem(&guarded, &key);

	if (!value)
		return 0;
	spin_lock(&value->lock);
	value->count++;
	spin_unlock(&value->lock);
	return 0;
}

SEC("tc") int looking(void *context)
{
	u32 key = 0;

	return map_lookup_elem(&guarded, &key) != 0;
}

SEC("tc") int saying(void *context)
{
	char text[] = "x";

	return trace_printk(text, sizeof(text));
}

SEC("xdp") int peeking(void *context)
{
	u64 value = 0;

	return probe_read_kernel(&value, sizeof(value), context);
}

SEC("cgroup_skb/egress") int reading(struct __sk_buff *packet)
{
	return (u8 *)(u64)packet->data_end - (u8 *)(u64)packet->data > 20;
}

SEC("cgroup_skb/egress") int ignoring(struct __sk_buff *packet) { return packet->head[0] != 0; }

SEC("syscall") int crashing(void *context)
{
	bpf_rcu_read_lock();
	bpf_rcu_read_unlock();
	crash_kexec(context);
	return 0;
}

SEC("syscall") int making(void *context) { return bpf_obj_new_impl(1, 0) != 0; }

SEC("syscall") int paging(void **context)
{
	*context = &pages;
	return 0;
}

SEC("?tc") int spare(void *context) { return trace_printk(0, 0); }

SEC("filter") int of_others(void *context) { return 0; }

SEC("freplace/plain") int instead(void *context) { return 0; }

LICENSE("GPL")
