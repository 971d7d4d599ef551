//! What a program is attached to.

use serde::{Deserialize, Serialize};

use crate::plan::{Actor, types::KernelType};

/// What a program is attached to, as the actor finds it in its own namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkTarget {
    /// Only what the program was loaded for: tracing, LSM, iterators without parameters, replacements.
    Nothing,
    /// A network interface by name.
    Interface(String),
    /// The cgroup of the actor's container.
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
        /// The priority; programs with smaller ones run earlier.
        priority: i32,
    },
    /// A perf event that counts the actor's own user space time, opened by the actor (`perf_event_open(2)`).
    PerfEvent,
    /// A saved perf event.
    Event(String),
    /// The entries of kernel functions, by name (`kprobe_multi`).
    Kprobes(Vec<String>),
    /// A function of the guest program that is never called (`uprobe_multi`).
    Uprobe,
    /// Kernel functions by their BTF (`tracing_multi`, Linux 7.2).
    Functions(Vec<KernelType>),
    /// A saved map of sockets.
    Map(String),
    /// The elements of a saved map that an iterator visits.
    Elements(String),
    /// What the `struct_ops` map, given in place of a program, describes.
    StructOps,
    /// Another actor's interface, cgroup or network namespace.
    Of {
        /// The owner.
        whose: Actor,
        /// The target, as the owner finds it.
        what: Box<LinkTarget>,
    },
    /// The infrared receiver `/dev/lirc0`, opened by the guest program.
    Lirc,
}

impl LinkTarget {
    /// Returns the target without its owner.
    pub fn bare(&self) -> &Self {
        if let Self::Of { what, .. } = self { what.bare() } else { self }
    }
}
