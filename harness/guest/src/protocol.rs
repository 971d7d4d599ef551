//! What the guest asks of an agent and what it is answered, over a [`crate::channel::Channel`].

use harness_model::{
    delegation::MountOption,
    outcome::Answer,
    plan::{BpffsFd, Call, Namespace},
};
use serde::{Deserialize, Serialize};

/// Asked of an agent, one at a time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Stay in the initial namespaces as root, and make a bpffs of them that delegates everything.
    Stay {
        /// Whether to have a network namespace with interfaces nevertheless.
        interfaces: bool,
        /// Whether to mount a tmpfs too.
        tmpfs: bool,
    },
    /// Become an unprivileged user, enter new namespaces and open a bpffs there: [`Reply::Pid`] with the descriptor of
    /// `fsopen(2)`.
    Isolate {
        /// User to become.
        uid: u32,
        /// Group to become.
        gid: u32,
        /// Besides user and mount.
        namespaces: Vec<Namespace>,
    },
    /// Map the ids of a process whose user namespace is a child of one's own.
    MapIds {
        /// The process, as the initial pid namespace numbers it.
        pid: i32,
        /// For its `uid_map`.
        uids: String,
        /// For its `gid_map`.
        gids: String,
    },
    /// Now that bpffs is configured and created: mount it and prepare what the container has besides.
    Settle {
        /// Whether to mount a tmpfs too.
        tmpfs: bool,
    },
    /// Make a token of one's own bpffs; returned as the only descriptor.
    MakeToken,
    /// Keep these capabilities only.
    Confine {
        /// As numbers.
        caps: Vec<u32>,
    },
    /// Fork an agent that serves the descriptor sent along.
    Spawn,
    /// Return a descriptor of one's own bpffs.
    Bpffs(BpffsFd),
    /// Make an attempt.
    Attempt {
        /// What is attempted.
        call: Call,
        /// What the descriptors sent along are, in their order.
        roles: Vec<Role>,
        /// Whether a resulting descriptor is returned; it is closed otherwise.
        keep: bool,
    },
}

/// What a descriptor sent along with an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// The token to hand over.
    Token,
    /// The bpffs a token is asked from.
    Bpffs,
    /// The map, program or other object the call is about.
    Object,
    /// The cgroup attached to.
    Cgroup,
}

/// Answered by an agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The number of the agent's process in the initial pid namespace.
    Pid(i32),
    /// It was done.
    Done,
    /// The container's bpffs is mounted and shows these options.
    Mounted(Vec<MountOption>),
    /// The attempt was made.
    Answer(Answer),
    /// It could not be done, and why: the system call and its errno.
    Failed(String),
}
