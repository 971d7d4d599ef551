//! What the guest asks of an agent and what it is answered, over a [`crate::channel::Channel`].

use harness_protocol::{
    errno::Errno,
    mount_option::MountOption,
    outcome::Answer,
    plan::{BpffsFd, Namespace, Restrictions},
};
use serde::{Deserialize, Serialize};

use crate::context::AttemptIndex;

/// Asked of an agent, one at a time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Stay in the initial namespaces as root, and make a bpffs of them that delegates everything.
    Stay {
        /// Whether to have a network namespace with interfaces nevertheless.
        interfaces: bool,
        /// Whether to have a pair of netkit interfaces there too.
        netkit: bool,
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
    /// Become an unprivileged user without leaving any namespace, with every capability it has still. The descriptors
    /// sent along are the mount and the root of the bpffs to pin in; without them it is the one made by
    /// [`Request::Stay`].
    Join {
        /// User to become.
        uid: u32,
        /// Group to become.
        gid: u32,
    },
    /// Return the mount and the root of one's own bpffs.
    ShareBpffs,
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
        /// Whether to make a pair of netkit interfaces.
        netkit: bool,
        /// Whether to mount a tmpfs too.
        tmpfs: bool,
    },
    /// Make a token of one's own bpffs; returned as the only descriptor.
    MakeToken,
    /// Put up with these from now on.
    Restrict(Restrictions),
    /// Keep these capabilities only.
    Confine {
        /// As numbers.
        caps: Vec<u32>,
    },
    /// Fork an agent that serves the descriptor sent along.
    Spawn,
    /// Return a descriptor of one's own bpffs.
    Bpffs(BpffsFd),
    /// Enter the namespaces of a process, as root of its user namespace with every capability.
    Enter {
        /// The process, as the initial pid namespace numbers it.
        pid: i32,
        /// Which namespaces of its own it has besides user and mount.
        namespaces: Vec<Namespace>,
        /// What else there is to know of one that systemd made.
        unit: Option<UnitLocation>,
    },
    /// From now on remove the pins one makes: the same attempt may come again.
    Unpin,
    /// Open another bpffs: [`Reply::Done`] with the descriptor of `fsopen(2)`.
    OpenBpffs,
    /// Mount the bpffs that was just opened, now that it is created, attached nowhere: [`Reply::Done`] with its root.
    MountBpffs,
    /// Make a token of the bpffs whose root is sent along: [`Reply::Done`] with the token.
    MakeTokenOf,
    /// Say how one was set up by somebody else, and make a token of the bpffs that is attached: [`Reply::Found`].
    Look {
        /// Whether to mount a tmpfs too.
        tmpfs: bool,
    },
    /// Make attempts, one after the other.
    Attempts(Vec<Job>),
}

/// One attempt to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Which attempt of the plan.
    pub(crate) place: AttemptIndex,
    /// The capabilities in effect during the call, as a mask of those the agent has; all of them if `None`.
    pub(crate) caps: Option<u64>,
    /// What it needs of the descriptors sent along.
    pub(crate) handles: Vec<Handle>,
    /// Whether a resulting descriptor is returned; it is closed otherwise.
    pub(crate) keep: bool,
    /// How much of an attempt that is many calls is made.
    pub(crate) extent: Extent,
}

/// How much of an attempt that is many calls is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// Only what tells whether it can be made: enough to judge another one by.
    Brief,
    /// Only the token it takes: asked of the bpffs sent along.
    Token,
}

/// A descriptor of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handle(
    /// What it is to the attempt.
    pub(crate) FdRole,
    /// Its index among those sent along.
    pub(crate) u32,
);

/// What became of a [`Job`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The kernel's answer, or why the attempt could not be made.
    pub(crate) answer: Result<Answer, String>,
    /// Whether the next of the descriptors sent along is what it made.
    pub(crate) kept: bool,
}

/// What a descriptor sent along with an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FdRole {
    /// The token to hand over.
    Token,
    /// The bpffs a token is asked from.
    Bpffs,
    /// One of the saved objects the call is about, in the order of `Call::objects`.
    Object,
    /// The cgroup attached to.
    Cgroup,
    /// The device attached to.
    Device,
    /// The network namespace of another party.
    Netns,
}

/// Where the process of a unit of systemd is. Its mounts may belong to another user namespace than its own, so that
/// nothing can be mounted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnitLocation {
    /// Whether it is in a user namespace of its own.
    pub(crate) user: bool,
    /// Whether it is in a pid namespace of its own.
    pub(crate) pids: bool,
}

/// Why an agent has no token of its own bpffs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NoToken {
    /// Which call failed.
    pub(crate) step: String,
    /// How.
    pub(crate) errno: Errno,
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
    /// How an agent was set up by somebody else.
    Found {
        /// The options its bpffs shows.
        mounted: Vec<MountOption>,
        /// The mount it sees there, in one line.
        mount: Option<String>,
        /// The capabilities it has, as numbers of `capabilities(7)`.
        caps: Vec<u32>,
        /// Whether a filter of system calls stands before it.
        filtered: bool,
        /// Why there is no token of its bpffs, if none is sent along.
        no_token: Option<NoToken>,
    },
    /// Attempts were made, as many as fit a message and at least one, in the order asked for.
    Answers(Vec<Done>),
    /// It could not be done, and why: the system call and its errno.
    Failed(String),
}
