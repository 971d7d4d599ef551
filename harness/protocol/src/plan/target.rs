//! What a program is attached to.

use serde::{Deserialize, Serialize};

use crate::plan::{Actor, types::KernelType};

/// What a program is attached to, found by the actor in its own namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkTarget {
    /// Nothing but what the program was loaded for: tracing, LSM, iterators without parameters, replacements.
    Nothing,
    /// A network interface by name.
    Interface(String),
    /// The cgroup made for the actor's container.
    Cgroup,
    /// The root cgroup.
    RootCgroup,
    /// The actor's network namespace.
    Netns,
    /// A netfilter hook.
    Netfilter {
        /// `NFPROTO_*`.
        pf: u32,
        /// `NF_INET_*`.
        hooknum: u32,
        /// Smaller runs earlier.
        priority: i32,
    },
    /// A perf event that counts the actor's own time in user space, opened by the actor (`perf_event_open(2)`).
    PerfEvent,
    /// The entries of kernel functions, by name (`kprobe_multi`).
    Kprobes(Vec<String>),
    /// A function of the guest program that is never called (`uprobe_multi`).
    Uprobe,
    /// Functions of the kernel by their BTF (`tracing_multi`, Linux 7.2).
    Functions(Vec<KernelType>),
    /// A saved map of sockets.
    Map(String),
    /// The elements of a saved map, which an iterator walks through.
    Elements(String),
    /// What the map in the program's place describes: a link of a `struct_ops` map.
    StructOps,
    /// What somebody else has: an interface, a cgroup or a network namespace.
    Of {
        /// Whose.
        whose: Actor,
        /// What it is there.
        what: Box<LinkTarget>,
    },
    /// The infrared receiver `/dev/lirc0`, opened by the privileged side.
    Lirc,
}

impl LinkTarget {
    /// What it is, whoever has it.
    pub fn bare(&self) -> &Self {
        if let Self::Of { what, .. } = self { what.bare() } else { self }
    }
}
