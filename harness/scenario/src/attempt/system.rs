//! The keys of operations that are no command of `bpf(2)`, or one that is not made as it should be.

use harness_protocol::plan::{SocketDuty, TokenCommand};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::attempt::{Common, operation};

operation! {
    /// The keys of `sysctl_write`.
    SysctlWrite {
        /// The setting's dotted name; a value other than its own needs it in `[vm] sysctl`, by which it is put back.
        pub name: String,
        /// What is written; by default what it is already.
        #[serde(default)]
        pub value: Option<u32>,
    }
}

operation! {
    /// The keys of `unflagged`.
    Unflagged, token {
        /// The command: `map_create` of a hash map, `prog_load` of a socket filter, `btf_load`, or `btf_get_fd_by_id` of
        /// the kernel's own.
        pub command: TokenCommand,
    }
}

operation! {
    /// The keys of `perf_query`.
    PerfQuery {}
}

operation! {
    /// The keys of `socket_attach`.
    SocketAttach {
        /// The program, by the name it was saved under.
        pub prog: String,
        /// What it does there.
        #[serde(default)]
        pub duty: SocketDuty,
        /// Whether the socket's filter was locked before (`SO_LOCK_FILTER`).
        #[serde(default)]
        pub locked: bool,
    }
}
