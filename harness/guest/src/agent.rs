//! The process that stands in a container, or beside it as root, and does what it is asked.
//!
//! It is forked, never executed, so it needs nothing from the file system it sees. It serves one request after the
//! other until the guest closes the channel.

use std::{
    os::fd::{AsFd, OwnedFd},
    panic::AssertUnwindSafe,
};

use harness_model::plan::{BpffsFd, Call, Namespace};
use rustix::thread::UnshareFlags;
use thiserror::Error;

use crate::{
    bpf,
    bpffs::{self, Mounted},
    channel::{Channel, ChannelError},
    error::{During, SysError},
    identity::{self, IdentityError},
    interfaces,
    operation::{self, Handles, OperationError},
    process::{self, Fork},
    protocol::{Reply, Request, Role},
    pseudofile,
};

/// Why an agent could not do what it was asked.
#[derive(Debug, Error)]
enum AgentError {
    #[error(transparent)]
    Sys(#[from] SysError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Operation(#[from] OperationError),
    #[error("{0} before it has a bpffs")]
    TooEarly(&'static str),
    #[error("BPF_TOKEN_CREATE: {0}")]
    Token(harness_model::errno::Errno),
    #[error("/proc/self does not lead to a process: {0}")]
    Nameless(String),
}

type Answered = Result<(Reply, Option<OwnedFd>), AgentError>;

/// Serves a channel in the process it was called in, which ends with it. Called in a fresh child.
pub(crate) fn serve(channel: Channel) -> ! {
    // A panic must not unwind into what the parent was doing: that would end the parent's other agents.
    let served = std::panic::catch_unwind(AssertUnwindSafe(|| serve_requests(channel)));
    process::leave(if served.is_ok() { 0 } else { PANICKED })
}

/// The exit code of an agent that panicked, as Rust programs have it.
const PANICKED: i32 = 101;

fn serve_requests(channel: Channel) {
    let mut agent = Agent { channel, context: None, bpffs: None, tmpfs: None };
    let ready = process::keep_only(agent.channel.as_fd()).and_then(|()| process::die_with_parent());
    let greeted = ready.map_err(AgentError::from).and_then(|()| Ok((Reply::Pid(own_pid()?), None)));
    if agent.reply(greeted).is_ok() {
        while let Ok((request, fds)) = agent.channel.receive::<Request>() {
            let answered = agent.answer(request, fds);
            if agent.reply(answered).is_err() {
                break;
            }
        }
    }
}

struct Agent {
    channel: Channel,
    /// The file system context of `fsopen(2)`, until it is mounted.
    context: Option<OwnedFd>,
    bpffs: Option<Mounted>,
    tmpfs: Option<Mounted>,
}

impl Agent {
    fn reply(&self, answered: Answered) -> Result<(), ChannelError> {
        match answered {
            Ok((reply, fd)) => self.channel.send(&reply, fd.as_ref().map(AsFd::as_fd).as_slice()),
            Err(error) => self.channel.send(&Reply::Failed(error.to_string()), &[]),
        }
    }

    fn answer(&mut self, request: Request, fds: Vec<OwnedFd>) -> Answered {
        match request {
            Request::Stay { interfaces, tmpfs } => self.stay(interfaces, tmpfs),
            Request::Isolate { uid, gid, namespaces } => self.isolate(uid, gid, &namespaces),
            Request::MapIds { pid, uids, gids } => map_ids(pid, &uids, &gids),
            Request::Settle { tmpfs } => self.settle(tmpfs),
            Request::MakeToken => self.make_token(),
            Request::Confine { caps } => identity::confine(&caps).map(|()| (Reply::Done, None)).map_err(Into::into),
            Request::Spawn => spawn(fds),
            Request::Bpffs(which) => self.bpffs_fd(which),
            Request::Attempt { call, roles, keep } => self.attempt(&call, &roles, &fds, keep),
        }
    }

    fn stay(&mut self, interfaces: bool, tmpfs: bool) -> Answered {
        if interfaces {
            process::unshare(UnshareFlags::NEWNET)?;
            interfaces::prepare()?;
        }
        self.bpffs = Some(Mounted::of("bpf", &bpffs::delegate_any())?);
        self.mount_tmpfs(tmpfs)?;
        Ok((Reply::Done, None))
    }

    fn isolate(&mut self, uid: u32, gid: u32, namespaces: &[Namespace]) -> Answered {
        identity::become_unprivileged(uid, gid)?;
        process::unshare(flags_of(namespaces))?;
        if namespaces.contains(&Namespace::Pid) {
            process::go_on_in_child()?;
        }
        process::die_with_parent()?;
        let context = self.context.insert(bpffs::open("bpf")?);
        let copy = bpffs::duplicate(context.as_fd())?;
        if namespaces.contains(&Namespace::Net) {
            interfaces::prepare()?;
        }
        Ok((Reply::Pid(own_pid()?), Some(copy)))
    }

    fn settle(&mut self, tmpfs: bool) -> Answered {
        let context = self.context.take().ok_or(AgentError::TooEarly("asked to mount"))?;
        let bpffs = self.bpffs.insert(Mounted::new(context.as_fd())?);
        let shown = bpffs.attach()?;
        self.mount_tmpfs(tmpfs)?;
        Ok((Reply::Mounted(shown), None))
    }

    fn mount_tmpfs(&mut self, wanted: bool) -> Result<(), SysError> {
        if wanted {
            self.tmpfs = Some(Mounted::of("tmpfs", &[])?);
        }
        Ok(())
    }

    fn own_bpffs(&self) -> Result<&Mounted, AgentError> {
        self.bpffs.as_ref().ok_or(AgentError::TooEarly("asked for its bpffs"))
    }

    fn make_token(&self) -> Answered {
        let token = bpf::token_create(self.own_bpffs()?.root()).map_err(AgentError::Token)?;
        Ok((Reply::Done, Some(token)))
    }

    fn bpffs_fd(&self, which: BpffsFd) -> Answered {
        let fd = match self.own_bpffs()?.fd(which)? {
            Some(fd) => fd,
            None => bpffs::duplicate(self.tmpfs.as_ref().ok_or(AgentError::TooEarly("asked for a tmpfs"))?.root())?,
        };
        Ok((Reply::Done, Some(fd)))
    }

    fn attempt(&self, call: &Call, roles: &[Role], fds: &[OwnedFd], keep: bool) -> Answered {
        let outcome = operation::attempt(call, Handles { roles, fds }, self.own_bpffs()?)?;
        Ok((Reply::Answer(outcome.answer), outcome.fd.filter(|_| keep)))
    }
}

fn flags_of(namespaces: &[Namespace]) -> UnshareFlags {
    namespaces.iter().fold(UnshareFlags::NEWUSER | UnshareFlags::NEWNS, |flags, namespace| {
        flags
            | match namespace {
                Namespace::Net => UnshareFlags::NEWNET,
                Namespace::Pid => UnshareFlags::NEWPID,
                Namespace::Ipc => UnshareFlags::NEWIPC,
                Namespace::Uts => UnshareFlags::NEWUTS,
                Namespace::Cgroup => UnshareFlags::NEWCGROUP,
            }
    })
}

/// Forks an agent for the channel whose end came along; its number arrives as that channel's first reply.
fn spawn(fds: Vec<OwnedFd>) -> Answered {
    let socket = fds.into_iter().next().ok_or(AgentError::TooEarly("asked to fork"))?;
    match process::fork()? {
        Fork::Child => serve(Channel::from(socket)),
        Fork::Parent(_) => Ok((Reply::Done, None)),
    }
}

/// Writes the id maps of a process; the writer needs `CAP_SETUID` and `CAP_SETGID` in the parent of the process's user
/// namespace (`user_namespaces(7)`).
pub(crate) fn write_id_maps(pid: i32, uids: &str, gids: &str) -> Result<(), SysError> {
    pseudofile::write(&format!("/proc/{pid}/uid_map"), uids).map_err(|error| without_pid(error, "uid_map"))?;
    pseudofile::write(&format!("/proc/{pid}/gid_map"), gids).map_err(|error| without_pid(error, "gid_map"))
}

fn without_pid(error: SysError, file: &str) -> SysError {
    SysError { call: format!("write /proc/PID/{file}"), ..error }
}

fn map_ids(pid: i32, uids: &str, gids: &str) -> Answered {
    write_id_maps(pid, uids, gids)?;
    Ok((Reply::Done, None))
}

/// The caller's number in the pid namespace that `/proc` was mounted in: the initial one.
fn own_pid() -> Result<i32, AgentError> {
    let link = rustix::fs::readlink("/proc/self", Vec::new()).during(|| "readlink /proc/self")?;
    let link = link.to_string_lossy();
    link.parse().map_err(|_| AgentError::Nameless(link.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_mount_namespaces_are_always_new() {
        assert_eq!(flags_of(&[]), UnshareFlags::NEWUSER | UnshareFlags::NEWNS);
        assert!(
            flags_of(&[Namespace::Pid, Namespace::Cgroup]).contains(UnshareFlags::NEWPID | UnshareFlags::NEWCGROUP)
        );
    }

    #[test]
    fn finds_its_own_number() {
        assert_eq!(own_pid().unwrap(), std::process::id() as i32);
    }
}
