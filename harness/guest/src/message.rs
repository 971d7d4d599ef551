//! The requests to an executor and its replies, over a [`crate::channel::Channel`].

use harness_protocol::{
    errno::Errno,
    mount_option::MountOption,
    outcome::Answer,
    plan::{BpffsFd, Namespace, Restrictions, Step},
};
use serde::{Deserialize, Serialize};

use crate::{
    context::{AttemptIndex, Loader},
    target::Target,
};

/// A request to an executor; one at a time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Stay in the initial namespaces as root, and make a bpffs there that delegates everything.
    Stay {
        /// Whether to make a network namespace with interfaces all the same.
        interfaces: bool,
        /// Whether to make a pair of netkit interfaces in it.
        netkit: bool,
        /// Whether to mount a tmpfs.
        tmpfs: bool,
    },
    /// Belong to the login of this user from now on.
    LogIn {
        /// The user.
        uid: u32,
    },
    /// Become an unprivileged user, enter new namespaces and open a bpffs there: [`Reply::Pid`] with the descriptor
    /// from `fsopen(2)`.
    Isolate {
        /// The user to become.
        uid: u32,
        /// The group to become.
        gid: u32,
        /// The namespaces in addition to user and mount.
        namespaces: Vec<Namespace>,
    },
    /// Become an unprivileged user without leaving any namespace, and keep every capability. The descriptors sent along
    /// are the mount and the root of the bpffs to pin in; without them it is the one made for [`Request::Stay`].
    Join {
        /// The user to become.
        uid: u32,
        /// The group to become.
        gid: u32,
    },
    /// Return the mount and the root of the executor's bpffs.
    ShareBpffs,
    /// Write the id maps of a process whose user namespace is a child of the executor's.
    MapIds {
        /// The process, as numbered in the initial pid namespace.
        pid: i32,
        /// The text for its `uid_map`.
        uids: String,
        /// The text for its `gid_map`.
        gids: String,
    },
    /// Mount the bpffs, which is now configured and created, and prepare the rest of the container.
    Prepare {
        /// Whether to make a pair of netkit interfaces.
        netkit: bool,
        /// Whether to mount a tmpfs.
        tmpfs: bool,
    },
    /// Make a token of the executor's bpffs; returned as the only descriptor.
    MakeToken,
    /// Apply these restrictions.
    Restrict(Restrictions),
    /// Keep these capabilities only.
    Confine {
        /// As numbers of `capabilities(7)`.
        caps: Vec<u32>,
    },
    /// Fork an executor that serves the descriptor sent along.
    Spawn,
    /// Return a descriptor of the executor's bpffs.
    Bpffs(BpffsFd),
    /// Enter the namespaces of a process, as root of its user namespace with every capability.
    Enter {
        /// The process, as numbered in the initial pid namespace.
        pid: i32,
        /// The namespaces it has of its own, in addition to user and mount.
        namespaces: Vec<Namespace>,
        /// Set for a process that systemd started.
        unit: Option<UnitLocation>,
    },
    /// From now on, remove pins right after making them: the same attempt may come again.
    Unpin,
    /// Open another bpffs: [`Reply::Done`] with the descriptor from `fsopen(2)`.
    OpenBpffs,
    /// Mount the bpffs that was just opened, now that it is created, without attaching it: [`Reply::Done`] with its
    /// root.
    MountBpffs,
    /// Make a token of the bpffs whose root is sent along: [`Reply::Done`] with the token.
    MakeTokenOf,
    /// Describe how somebody else set up the executor, and make a token of the attached bpffs: [`Reply::Found`].
    Look {
        /// Whether to mount a tmpfs.
        tmpfs: bool,
    },
    /// Go on in place of the executor that executed this one. The descriptors sent along are the mount and the root of its bpffs,
    /// and those of its tmpfs if it has one.
    Continue {
        /// Who loads objects.
        loader: Loader,
        /// Whether pins are removed right after they are made.
        unpins: bool,
    },
    /// Make attempts, one after the other.
    Attempts(Vec<Job>),
}

/// One attempt to make.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The attempt's index in the plan.
    pub(crate) index: AttemptIndex,
    /// The capabilities in effect during the call, as a mask; all that the executor has if `None`.
    pub(crate) caps: Option<u64>,
    /// What it uses of the descriptors sent along.
    pub(crate) handles: Vec<Handle>,
    /// Whether a resulting descriptor is returned; it is closed otherwise.
    pub(crate) keep: bool,
    /// How much of the attempt is made.
    pub(crate) extent: Extent,
    /// What a child of the executor does first; then it makes the attempt.
    pub(crate) steps: Vec<Step>,
    /// What an attack is aimed at; `None` for what stands in for the guard.
    pub(crate) target: Option<Box<Target>>,
}

/// How much of an attempt is made, where that is many calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// Only as much as shows whether it can be made: enough to judge another one by.
    Brief,
    /// Only the token that it needs, made from the bpffs sent along.
    Token,
}

/// A descriptor that an attempt uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handle(
    /// Its role in the attempt.
    pub(crate) FdRole,
    /// Its index among those sent along.
    pub(crate) u32,
);

/// The result of a [`Job`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The kernel's answer, or why the attempt could not be made.
    pub(crate) answer: Result<Answer, String>,
    /// Whether the next of the descriptors sent along is its result.
    pub(crate) kept: bool,
}

/// The role of a descriptor in an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FdRole {
    /// The token to hand over.
    Token,
    /// The bpffs that a token is made from.
    Bpffs,
    /// One of the saved objects the call uses, in the order of `Call::objects`.
    Object,
    /// The cgroup to attach to.
    Cgroup,
    /// The device to attach to.
    Device,
    /// The network namespace of another actor.
    Netns,
}

/// Which namespaces the process of a systemd unit is in. Its mounts may belong to another user namespace than its own,
/// in which case it can mount nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnitLocation {
    /// Whether it has a user namespace of its own.
    pub(crate) user: bool,
    /// Whether it has a pid namespace of its own.
    pub(crate) pids: bool,
}

/// Why an executor has no token of its bpffs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NoToken {
    /// The call that failed.
    pub(crate) step: String,
    /// Its errno.
    pub(crate) errno: Errno,
}

/// A reply of an executor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// The executor's pid in the initial pid namespace.
    Pid(i32),
    /// The request was carried out.
    Done,
    /// The container's bpffs is mounted and shows these options.
    Mounted(Vec<MountOption>),
    /// How somebody else set up the executor.
    Found {
        /// The options that its bpffs shows.
        mounted: Vec<MountOption>,
        /// The mount it sees there, in one line.
        mount: Option<String>,
        /// Its capabilities, as numbers of `capabilities(7)`.
        caps: Vec<u32>,
        /// Whether it has a system call filter.
        filtered: bool,
        /// Why there is no token of its bpffs, if none is sent along.
        no_token: Option<NoToken>,
    },
    /// The attempts were made, in order: as many as fit a message, and at least one.
    Answers(Vec<Done>),
    /// The request failed: the system call and its errno.
    Failed(String),
}
