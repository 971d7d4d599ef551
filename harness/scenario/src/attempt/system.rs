//! The keys of operations that are not commands of `bpf(2)`, or deliberately incorrect ones.

use harness_protocol::plan::{self, SocketDuty, TokenCommand};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::attempt::{Common, operation};

operation! {
    /// The keys of `sysctl_write`.
    SysctlWrite {
        /// The dotted name of the setting, such as `"kernel.unprivileged_bpf_disabled"`. To write `value`, list the
        /// setting in `[vm] sysctl`, so that it is restored.
        pub name: String,
        /// The number to write; by default the current value.
        #[serde(default)]
        pub value: Option<u32>,
    }
}

operation! {
    /// The keys of `unflagged`.
    Unflagged, token {
        /// The command: `map_create` for a hash map, `prog_load` for a socket filter, `btf_load`, or `btf_get_fd_by_id`
        /// for the kernel's own BTF.
        pub command: TokenCommand,
    }
}

operation! {
    /// The keys of `perf_query`.
    PerfQuery {
        /// The saved perf event; by default one of the actor's own that counts its time.
        #[serde(default)]
        pub event: Option<String>,
    }
}

operation! {
    /// The keys of `perf_event_open`.
    PerfEventOpen, save {
        /// What the event counts: `clock` for the actor's time on a processor, `tracepoint:SYSTEM/NAME` such as
        /// `tracepoint:syscalls/sys_enter_bpf`, `kprobe:FUNCTION` for calls of a kernel function, or `uprobe` for calls
        /// of a function of the guest program.
        pub event: String,
        /// Whether it also counts in the kernel; by default it does not (`exclude_kernel`).
        #[serde(default)]
        pub kernel: bool,
    }
}

operation! {
    /// The keys of `socket_bind`.
    SocketBind {
        /// The port, such as `80`.
        #[schemars(range(min = 1))]
        pub port: u16,
    }
}

operation! {
    /// The keys of `socket_attach`.
    SocketAttach {
        /// The saved program.
        pub prog: String,
        /// What the program does there.
        #[serde(default)]
        pub duty: SocketDuty,
        /// Whether the filter of the socket is locked beforehand (`SO_LOCK_FILTER`).
        #[serde(default)]
        pub locked: bool,
    }
}

operation! {
    /// The keys of `reload`.
    Reload {
        /// The text of the other policy. It cannot name kfuncs or targets, whose ids are those of one kernel.
        pub policy: String,
        /// Whose signature it has; by default it has none.
        #[serde(default)]
        pub signature: Option<plan::SigningKey>,
    }
}

operation! {
    /// The keys of `attack`.
    Attack {
        /// How.
        pub way: plan::Attack,
        /// The copy of the guest program, of those in `[vm] guard`, that a process executes to be attacked; by default the guard
        /// itself is attacked. Its control attacks a process that executes nothing.
        #[serde(default)]
        pub copy: Option<String>,
    }
}
