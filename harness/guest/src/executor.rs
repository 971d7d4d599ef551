//! The executor: the process in a container, or next to it as root, that carries out requests.
//!
//! It is forked, not executed, so it needs nothing from the file system it sees; [`executed`] and [`mod@unit`] are the exceptions.
//! It serves one request after the other until the guest closes the channel.

pub(crate) mod executed;
pub(crate) mod unit;

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic::AssertUnwindSafe,
};

use harness_protocol::{
    mount_option::delegate_any,
    outcome::Answer,
    plan::{BpffsFd, Call, Namespace, PinLocation},
};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags};
use thiserror::Error;

use crate::{
    bpf,
    bpffs::{self, Mounted},
    channel::{self, Channel, ChannelError},
    context::{AttemptIndex, Loader, Script},
    error::{During, SysError},
    exec,
    identity::{self, Effective, IdentityError},
    interfaces,
    message::{Done, Extent, FdRole, Job, NoToken, Reply, Request, UnitLocation},
    object,
    operation::{self, Handles},
    process::{self, Fork},
    pseudofile, seccomp,
};

/// Why an executor could not carry out a request.
#[derive(Debug, Error)]
enum ExecutorError {
    #[error(transparent)]
    Sys(#[from] SysError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("the request needs {0}, which does not exist yet")]
    NotYet(&'static str),
    #[error("BPF_TOKEN_CREATE: {0}")]
    Token(harness_protocol::errno::Errno),
    #[error("the plan has no attempt at {0:?}")]
    NoAttempt(AttemptIndex),
    #[error("/proc/self does not name a process: {0}")]
    NoPid(String),
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("the copy of the guest program that makes the attempt {0}")]
    Executed(String),
}

type Answered = Result<(Reply, Vec<OwnedFd>), ExecutorError>;

/// The reply to a request that returns nothing.
const DONE: Answered = Ok((Reply::Done, Vec::new()));

fn done_with(fd: OwnedFd) -> Answered {
    Ok((Reply::Done, vec![fd]))
}

/// Serves a channel, then ends the process. To be called in a fresh child.
pub(crate) fn serve(channel: Channel, script: &Script) -> ! {
    // A panic must not unwind into the parent's code: that would end the parent's other executors.
    let served = std::panic::catch_unwind(AssertUnwindSafe(|| serve_requests(channel, script)));
    process::leave(if served.is_ok() { 0 } else { PANICKED })
}

/// The exit code of an executor that panicked, as for other Rust programs.
const PANICKED: i32 = 101;

fn serve_requests(channel: Channel, script: &Script) {
    let mut executor =
        Executor { channel, script, loader: Loader::Host, context: None, bpffs: None, tmpfs: None, unpins: false };
    let ready = process::keep_only(executor.channel.as_fd()).and_then(|()| process::die_with_parent());
    let greeted = ready.map_err(ExecutorError::from).and_then(|()| Ok((Reply::Pid(own_pid()?), vec![])));
    if executor.reply(greeted).is_ok() {
        while let Ok((request, fds)) = executor.channel.receive::<Request>() {
            let answered = executor.answer(request, fds);
            if executor.reply(answered).is_err() {
                break;
            }
        }
    }
}

struct Executor<'s> {
    channel: Channel,
    script: &'s Script,
    /// Who it is when it loads an object.
    loader: Loader,
    /// The file system context from `fsopen(2)`, until it is mounted.
    context: Option<OwnedFd>,
    bpffs: Option<Mounted>,
    tmpfs: Option<Mounted>,
    /// Whether it removes pins as soon as it has made them.
    unpins: bool,
}

impl Executor<'_> {
    fn reply(&self, answered: Answered) -> Result<(), ChannelError> {
        match answered {
            Ok((reply, fds)) => self.channel.send(&reply, &fds.iter().map(AsFd::as_fd).collect::<Vec<_>>()),
            Err(error) => self.channel.send(&Reply::Failed(error.to_string()), &[]),
        }
    }

    fn answer(&mut self, request: Request, fds: Vec<OwnedFd>) -> Answered {
        match request {
            Request::Stay { interfaces, netkit, tmpfs } => self.stay(interfaces, netkit, tmpfs),
            Request::LogIn { uid } => identity::log_in(uid).map_err(Into::into).and(DONE),
            Request::Isolate { uid, gid, namespaces } => self.isolate(uid, gid, &namespaces),
            Request::Join { uid, gid } => self.join(uid, gid, fds),
            Request::ShareBpffs => Ok((Reply::Done, self.own_bpffs()?.copies()?.into())),
            Request::MapIds { pid, uids, gids } => map_ids(pid, &uids, &gids),
            Request::Prepare { netkit, tmpfs } => self.prepare(netkit, tmpfs, fds),
            Request::MakeToken => self.make_token(),
            Request::Restrict(restrictions) => seccomp::restrict(&restrictions).map_err(Into::into).and(DONE),
            Request::Confine { caps } => identity::confine(&caps).map_err(Into::into).and(DONE),
            Request::Spawn => spawn(fds, self.script),
            Request::Bpffs(which) => self.bpffs_fd(which),
            Request::Enter { pid, namespaces, unit } => self.enter(pid, &namespaces, unit),
            Request::Unpin => {
                self.unpins = true;
                DONE
            }
            Request::OpenBpffs => done_with(bpffs::duplicate(self.context.insert(bpffs::open("bpf")?).as_fd())?),
            Request::MountBpffs => done_with(bpffs::duplicate(Mounted::new(self.opened()?.as_fd())?.root())?),
            Request::MakeTokenOf => make_token(only(&fds)?.as_fd()),
            Request::Look { tmpfs } => self.look(tmpfs),
            Request::Continue { loader, unpins } => self.go_on(loader, unpins, fds),
            Request::Attempts(jobs) => self.attempts(&jobs, &fds),
        }
    }

    fn stay(&mut self, interfaces: bool, netkit: bool, tmpfs: bool) -> Answered {
        if interfaces {
            process::unshare(UnshareFlags::NEWNET)?;
            interfaces::prepare()?;
        }
        if netkit {
            interfaces::add_netkit()?;
        }
        self.bpffs = Some(Mounted::of("bpf", &delegate_any())?);
        self.mount_tmpfs(tmpfs)?;
        DONE
    }

    fn isolate(&mut self, uid: u32, gid: u32, namespaces: &[Namespace]) -> Answered {
        identity::become_unprivileged(uid, gid)?;
        process::unshare(flags_of(namespaces))?;
        if namespaces.contains(&Namespace::Pid) {
            process::continue_in_child()?;
        }
        process::die_with_parent()?;
        self.loader = Loader::Container;
        let context = self.context.insert(bpffs::open("bpf")?);
        let copy = bpffs::duplicate(context.as_fd())?;
        if namespaces.contains(&Namespace::Net) {
            interfaces::prepare()?;
        }
        Ok((Reply::Pid(own_pid()?), vec![copy]))
    }

    fn join(&mut self, uid: u32, gid: u32, fds: Vec<OwnedFd>) -> Answered {
        if let Ok([mount, root]) = <[OwnedFd; 2]>::try_from(fds) {
            self.bpffs = Some(Mounted::received(mount, root));
        }
        identity::become_user(uid, gid)?;
        process::die_with_parent()?;
        DONE
    }

    fn go_on(&mut self, loader: Loader, unpins: bool, fds: Vec<OwnedFd>) -> Answered {
        let mut fds = fds.into_iter();
        let mut next = || Some(Mounted::received(fds.next()?, fds.next()?));
        (self.bpffs, self.tmpfs) = (next(), next());
        (self.loader, self.unpins) = (loader, unpins);
        DONE
    }

    /// Mounts the file system that it opened, or the one that it was sent.
    fn prepare(&mut self, netkit: bool, tmpfs: bool, fds: Vec<OwnedFd>) -> Answered {
        if netkit {
            interfaces::add_netkit()?;
        }
        let opened = self.opened()?;
        let context = fds.into_iter().next().unwrap_or(opened);
        let bpffs = self.bpffs.insert(Mounted::new(context.as_fd())?);
        let shown = bpffs.attach()?;
        self.mount_tmpfs(tmpfs)?;
        Ok((Reply::Mounted(shown), vec![]))
    }

    fn opened(&mut self) -> Result<OwnedFd, ExecutorError> {
        self.context.take().ok_or(ExecutorError::NotYet("an opened bpffs"))
    }

    fn enter(&mut self, pid: i32, namespaces: &[Namespace], unit: Option<UnitLocation>) -> Answered {
        let mut types = types_of(namespaces);
        types.set(ThreadNameSpaceType::USER, unit.is_none_or(|unit| unit.user));
        types.set(ThreadNameSpaceType::PROCESS_ID, unit.is_some_and(|unit| unit.pids));
        process::enter(pid, types)?;
        let bpffs = match unit {
            None => {
                identity::become_root_of_namespace()?;
                Mounted::attached()?
            }
            Some(UnitLocation { pids, .. }) => {
                process::unshare(UnshareFlags::NEWNS)?;
                if pids {
                    process::continue_in_child()?;
                }
                identity::become_root_if_there_is_one()?;
                Mounted::found()?.0
            }
        };
        process::die_with_parent()?;
        self.bpffs = Some(bpffs);
        self.loader = Loader::Container;
        DONE
    }

    fn mount_tmpfs(&mut self, wanted: bool) -> Result<(), SysError> {
        if wanted {
            self.tmpfs = Some(Mounted::of("tmpfs", &[])?);
        }
        Ok(())
    }

    fn own_bpffs(&self) -> Result<&Mounted, ExecutorError> {
        self.bpffs.as_ref().ok_or(ExecutorError::NotYet("a bpffs"))
    }

    fn own_tmpfs(&self) -> Result<&Mounted, ExecutorError> {
        self.tmpfs.as_ref().ok_or(ExecutorError::NotYet("a tmpfs"))
    }

    fn look(&mut self, tmpfs: bool) -> Answered {
        self.loader = Loader::Unit;
        let (bpffs, closed) = Mounted::found()?;
        let (mounted, mount) = bpffs::seen()?;
        self.bpffs = Some(bpffs);
        self.mount_tmpfs(tmpfs)?;
        let (caps, has_filter) = identity::of_self()?;
        let filtered = has_filter && !bpf::is_reached();
        let (no_token, token) = match (closed, bpf::token_create(self.own_bpffs()?.root(), 0)) {
            (Some(SysError { call, errno }), _) => (Some(NoToken { step: call, errno }), None),
            (None, Err(errno)) => (Some(NoToken { step: "BPF_TOKEN_CREATE".to_owned(), errno }), None),
            (None, Ok(token)) => (None, Some(token)),
        };
        Ok((Reply::Found { mounted, mount, caps, filtered, no_token }, token.into_iter().collect()))
    }

    fn make_token(&self) -> Answered {
        make_token(self.own_bpffs()?.root())
    }

    fn bpffs_fd(&self, which: BpffsFd) -> Answered {
        let fd = match self.own_bpffs()?.fd(which)? {
            Some(fd) => fd,
            None => bpffs::duplicate(self.own_tmpfs()?.root())?,
        };
        done_with(fd)
    }

    fn attempts(&self, jobs: &[Job], fds: &[OwnedFd]) -> Answered {
        let mut effective = Effective::of_self()?;
        let (mut all, mut made) = (Vec::with_capacity(jobs.len()), Vec::new());
        let mut length = 0;
        for job in jobs {
            effective.set(job.caps)?;
            let (done, fd) = match job.steps.is_empty() {
                true => self.attempt(job, fds)?,
                false => executed::attempt(self, job, fds)?,
            };
            length += length_of(&done);
            all.push(done);
            made.extend(fd);
            if length > SHORT_MESSAGE {
                break;
            }
        }
        effective.set(None)?;
        Ok((Reply::Answers(all), made))
    }

    fn attempt(&self, job: &Job, fds: &[OwnedFd]) -> Result<(Done, Option<OwnedFd>), ExecutorError> {
        let attempt = self.script.attempt(job.index).ok_or(ExecutorError::NoAttempt(job.index))?;
        let handles = Handles { handles: &job.handles, fds };
        let own = match &attempt.call {
            Call::ObjPin { place: PinLocation::Tmpfs, .. } => self.own_tmpfs()?,
            _ => self.own_bpffs()?,
        };
        let made = match &attempt.call {
            Call::Object(load) if job.extent != Extent::Token => {
                object::attempt(load, self.loader, own, handles.get(FdRole::Bpffs)).map_err(|error| error.to_string())
            }
            Call::Exec(exec) if job.extent != Extent::Token => {
                exec::attempt(exec, self.loader, own).map_err(|error| error.to_string())
            }
            Call::Attack { way, copy } => {
                operation::attack::make(*way, copy.as_deref(), job.target.as_deref()).map_err(|error| error.to_string())
            }
            Call::Reload(reload) => {
                operation::reload::make(reload, job.target.is_none()).map_err(|error| error.to_string())
            }
            call => operation::attempt(call, handles, own, job.extent).map_err(|error| error.to_string()),
        };
        Ok(match made {
            Ok(outcome) => {
                if let (true, Call::ObjPin { path, .. }, Answer::Ok { .. }) =
                    (self.unpins, &attempt.call, &outcome.answer)
                {
                    own.unlink(path)?;
                }
                let fd = outcome.fd.filter(|_| job.keep);
                (Done { answer: Ok(outcome.answer), kept: fd.is_some() }, fd)
            }
            Err(why) => (Done { answer: Err(why), kept: false }, None),
        })
    }
}

/// Once a reply exceeds this many bytes it is sent as it is, and the guest asks for the rest. It is far below the limit
/// of a message because JSON may need six bytes for one.
const SHORT_MESSAGE: usize = channel::LONGEST_MESSAGE / 8;

/// Estimates the bytes of text in a result.
fn length_of(done: &Done) -> usize {
    const FRAME: usize = 64;
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    FRAME
        + match &done.answer {
            Ok(Answer::Ok { detail }) => text(detail),
            Ok(Answer::Err { step, .. }) => text(step),
            Ok(Answer::Object(object)) => FRAME * (object.steps.len() + object.features.len()),
            Ok(Answer::Exec(exec)) => FRAME * exec.calls.steps.len() + exec.output.len(),
            Ok(Answer::Helpers(ids)) => ids.len() * 4,
            Ok(Answer::NotMade { why }) | Err(why) => why.len(),
        }
}

fn make_token(root: BorrowedFd<'_>) -> Answered {
    done_with(bpf::token_create(root, 0).map_err(ExecutorError::Token)?)
}

fn only(fds: &[OwnedFd]) -> Result<&OwnedFd, ExecutorError> {
    fds.first().ok_or(ExecutorError::NotYet("a descriptor"))
}

/// Returns the namespaces to enter in order to join a process. A pid namespace is left out: entering it affects only
/// children.
fn types_of(namespaces: &[Namespace]) -> ThreadNameSpaceType {
    let always = ThreadNameSpaceType::USER | ThreadNameSpaceType::MOUNT;
    namespaces.iter().fold(always, |types, namespace| {
        types
            | match namespace {
                Namespace::Net => ThreadNameSpaceType::NETWORK,
                Namespace::Pid => ThreadNameSpaceType::empty(),
                Namespace::Ipc => ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION,
                Namespace::Uts => ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME,
                Namespace::Cgroup => ThreadNameSpaceType::CONTROL_GROUP,
            }
    })
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

/// Forks an executor for the channel whose end was sent along; it reports its pid as that channel's first reply.
fn spawn(fds: Vec<OwnedFd>, script: &Script) -> Answered {
    let socket = fds.into_iter().next().ok_or(ExecutorError::NotYet("a socket"))?;
    match process::fork()? {
        Fork::Child => serve(Channel::from(socket), script),
        Fork::Parent(_) => DONE,
    }
}

/// Writes a process's id maps. The writer needs `CAP_SETUID` and `CAP_SETGID` in the parent of the process's user
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
    DONE
}

/// Returns the caller's pid in the pid namespace of the mounted `/proc`: the initial one.
fn own_pid() -> Result<i32, ExecutorError> {
    let link = rustix::fs::readlink("/proc/self", Vec::new()).during(|| "readlink /proc/self")?;
    let link = link.to_string_lossy();
    link.parse().map_err(|_| ExecutorError::NoPid(link.into_owned()))
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
