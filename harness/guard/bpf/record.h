/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The record of what was decided, and the answer that follows. */
#ifndef GUARD_RECORD_H
#define GUARD_RECORD_H

enum { EPERM = 1, EBUSY = 16 };

static __always_inline void count(__u8 hook, __u8 verdict, bool recorded)
{
	__u32 index = hook * GUARD_VERDICTS + verdict;
	struct guard_counter *counter = bpf_map_lookup_elem(&counters, &index);

	if (!counter)
		return;
	/* Per CPU, yet a sleepable program may be interrupted by another on the same CPU. */
	if (recorded)
		__sync_fetch_and_add(&counter->recorded, 1);
	else
		__sync_fetch_and_add(&counter->counted, 1);
}

static __always_inline void describe_task(struct guard_record *record)
{
	struct task_struct *task = current_task();
	const struct cred *cred = task->cred;
	struct mm_struct *mm = task->mm;
	struct file *file = mm ? mm->exe_file : NULL;
	struct inode *inode = file ? file->f_inode : NULL;

	record->pid = task->pid;
	record->tgid = task->tgid;
	record->start_ns = task->group_leader ? task->group_leader->start_boottime : 0;
	record->uid = uid_of(task);
	record->loginuid = loginuid_of(task);
	record->session = session_of(task);
	record->userns = cred && cred->user_ns ? cred->user_ns->ns.inum : 0;
	record->pidns = pidns_of(task);
	record->cgroup = bpf_get_current_cgroup_id();
	record->exe_ino = inode ? inode->i_ino : 0;
	record->exe_dev = inode && inode->i_sb ? inode->i_sb->s_dev : 0;
	bpf_get_current_comm(record->comm, sizeof(record->comm));
}

/* Writes a record into the ring of its verdict. `part` is what is known of a program or map: 128 bytes. Returns 0 if it did
 * not fit. Not static, so that the verifier looks at it once and not at each call. */
__noinline int write_record(struct event *event, const struct guard_prog *part)
{
	struct guard_record *record;
	__u32 ring;
	__u64 number;

	if (!event)
		return 0;
	ring = event->verdict == GUARD_DENIED ? 0 : 1;
	number = __sync_fetch_and_add(&state.seq, 1);
	count(event->hook, event->verdict, true);
	if (ring)
		record = bpf_ringbuf_reserve(&calls, sizeof(*record), 0);
	else
		record = bpf_ringbuf_reserve(&denials, sizeof(*record), 0);
	if (!record) {
		__sync_fetch_and_add(&state.lost[ring], 1);
		return 0;
	}
	record->seq = number;
	record->boot_ns = bpf_ktime_get_boot_ns();
	record->size = sizeof(*record);
	record->hook = event->hook;
	record->verdict = event->verdict;
	record->reason = event->reason;
	record->rule = event->rule;
	record->what = event->what;
	record->call = event->call;
	record->cpu = bpf_get_smp_processor_id();
	record->cmd = event->cmd;
	record->lost = state.lost[ring];
	record->profile = event->profile ? event->profile_number + 1 : 0;
	record->flags = event->flags;
	record->loader = loader_of(bpf_get_current_task_btf(), event->generation);
	describe_task(record);
	if (part)
		__builtin_memcpy(&record->prog, part, sizeof(record->prog));
	else
		__builtin_memset(&record->prog, 0, sizeof(record->prog));
	bpf_ringbuf_submit(record, 0);
	return 1;
}

/* How long ago the rings were last read, in nanoseconds. */
static __always_inline __u64 unread_for(void)
{
	__u32 zero = 0;
	const __u64 *beat = bpf_map_lookup_elem(&heartbeat, &zero);
	__u64 now = bpf_ktime_get_boot_ns();

	return beat && *beat < now ? now - *beat : 0;
}

static __always_inline void refuse_whatever(struct event *event, __u16 reason, __u64 what)
{
	event->verdict = GUARD_DENIED;
	event->reason = reason;
	event->what = what;
}

/* Returns what the hook returns. The verifier must see a constant here: clang turns a choice into arithmetic, of which the
 * verifier knows no bounds. */
static __always_inline int returned(const struct event *event)
{
	int refused = -EPERM;

	if (event->verdict != GUARD_DENIED)
		return 0;
	barrier_var(refused);
	return refused;
}

/* Records a decision, and returns the answer. */
static __always_inline int answer(struct event *event, const void *part)
{
	const struct guard_settings *settings = settings_of(event->generation);
	__u64 unread;

	if (settings->no_reader_deny && event->verdict != GUARD_DENIED && !(event->flags & GUARD_OF_GUARD)) {
		unread = unread_for();
		if (unread > settings->patience_ns)
			refuse_whatever(event, GUARD_NO_READER, unread);
	}
	if (event->verdict == GUARD_ALLOWED && (settings->count_only & cmd_bit(event->cmd))) {
		count(event->hook, GUARD_ALLOWED, false);
		return 0;
	}
	if (!write_record(event, part) && event->verdict != GUARD_DENIED && settings->when_full_deny) {
		refuse_whatever(event, GUARD_NOT_RECORDED, 0);
		write_record(event, part);
	}
	return returned(event);
}

static __always_inline int refuse_hard_with(struct event *event, __u16 reason, __u64 what, const void *part)
{
	event->profile = NULL;
	event->rule = 0;
	refuse_whatever(event, reason, what);
	write_record(event, part);
	return returned(event);
}

static __always_inline int refuse_hard(struct event *event, __u16 reason, __u64 what)
{
	return refuse_hard_with(event, reason, what, NULL);
}

#endif
