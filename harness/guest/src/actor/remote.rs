//! The guest's handle on an executor: the process, and the channel that it serves.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
    time::Duration,
};

use rustix::{net::Shutdown, process::Pid};

use super::error::ActorError;
use crate::{
    channel::{Channel, ChannelError},
    context::GuestContext,
    executor,
    message::{Done, Job, Reply, Request},
    process::{self, Fork},
};

/// An executor process. Dropping it ends the process and everything in its container.
#[derive(Debug)]
pub(crate) struct RemoteExecutor {
    channel: Channel,
    /// The executor's pid; unknown until it reports it.
    pub(crate) pid: Option<Pid>,
    /// The process that the guest itself forked; `None` if another executor forked it.
    pub(crate) child: Option<Pid>,
}

impl RemoteExecutor {
    /// Forks an executor that starts in `cgroup`.
    pub(crate) fn fork(context: &GuestContext, cgroup: BorrowedFd<'_>) -> Result<Self, ActorError> {
        let (ours, theirs) = Channel::pair().map_err(ActorError::Channel)?;
        match process::fork_into(cgroup)? {
            Fork::Child => executor::serve(theirs, &context.script()),
            Fork::Parent(pid) => {
                drop(theirs);
                Self { channel: ours, pid: None, child: Some(pid) }.greeted()
            }
        }
    }

    /// Takes over an executor that somebody else executed. `pid` is its number out here; inside a pid namespace it has
    /// another.
    pub(crate) fn executed(channel: Channel, pid: Pid) -> Result<Self, ActorError> {
        let mut remote = Self { channel, pid: None, child: None }.greeted()?;
        remote.pid = Some(pid);
        Ok(remote)
    }

    /// Makes a handle without an executor: every request fails.
    pub(crate) fn absent() -> Result<Self, ActorError> {
        let (channel, _) = Channel::pair().map_err(ActorError::Channel)?;
        Ok(Self { channel, pid: None, child: None })
    }

    /// Has this executor fork another one in its own namespaces.
    pub(crate) fn spawn(&mut self) -> Result<Self, ActorError> {
        let (ours, theirs) = Channel::pair().map_err(ActorError::Channel)?;
        self.ask(&Request::Spawn, &[theirs.as_fd()])?;
        drop(theirs);
        Self { channel: ours, pid: None, child: None }.greeted()
    }

    /// Reads the pid that an executor reports before its first request.
    fn greeted(mut self) -> Result<Self, ActorError> {
        let (reply, _) = self.answer()?;
        self.pid = Some(pid_of(&reply)?);
        Ok(self)
    }

    /// Sends a request whose reply is one descriptor.
    pub(crate) fn ask_for_fd(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<OwnedFd, ActorError> {
        let (reply, fds) = self.ask(request, fds)?;
        fds.into_iter().next().ok_or_else(|| unexpected(&reply))
    }

    /// Has attempts made with these descriptors. Returns as many results as the executor sent at once, each with the
    /// descriptor that it made.
    pub(crate) fn attempts(
        &mut self,
        jobs: Vec<Job>,
        fds: &[Rc<OwnedFd>],
    ) -> Result<Vec<(Done, Option<OwnedFd>)>, ActorError> {
        let most = jobs.len();
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(|fd| fd.as_fd()).collect();
        let (reply, made) = self.ask(&Request::Attempts(jobs), &fds)?;
        let mut made = made.into_iter();
        match reply {
            Reply::Answers(all) if !all.is_empty() && all.len() <= most => {
                let with_its_fd = |done: Done| if done.kept { (done, made.next()) } else { (done, None) };
                Ok(all.into_iter().map(with_its_fd).collect())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Sends a request and waits for the reply. A refusal is an error.
    pub(crate) fn ask(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Reply, Vec<OwnedFd>), ActorError> {
        match self.channel.send(request, fds) {
            Ok(()) => self.answer(),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn answer(&mut self) -> Result<(Reply, Vec<OwnedFd>), ActorError> {
        match self.channel.receive() {
            Ok((Reply::Failed(why), _)) => Err(ActorError::Refused(why)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn broken(&mut self, error: ChannelError) -> ActorError {
        match (error, self.child.take()) {
            (ChannelError::Closed, Some(child)) => ActorError::Died(process::reap(child)),
            (ChannelError::Closed, None) => ActorError::Died("ended".to_owned()),
            (error, child) => {
                self.child = child;
                ActorError::Channel(error)
            }
        }
    }
}

impl RemoteExecutor {
    /// Closes the channel, which ends an idle executor, and waits until it is gone: it must end by itself, not be
    /// killed.
    pub(crate) fn hang_up(&mut self) -> Result<(), ActorError> {
        let pid = self.pid.take();
        *self = Self::absent()?;
        pid.map_or(Ok(()), |pid| process::await_end(pid, PATIENCE)).map_err(ActorError::from)
    }

    /// Ends an idle executor by closing its channel, and waits until it and the children that took over its work are
    /// gone. If we killed it in another pid namespace we would have to reap it, and the namespace would wait for that.
    pub(crate) fn retire(mut self) {
        self.pid = None;
        let _ = rustix::net::shutdown(self.channel.as_fd(), Shutdown::Both);
        if let Some(child) = self.child.take() {
            process::reap(child);
        }
    }

    /// Kills the executor and waits until it is gone. It takes no requests afterwards.
    pub(crate) fn end(&mut self) {
        self.pid.take().into_iter().for_each(process::kill);
        // The other end of the channel closes with the process, which another executor may have to reap.
        let _ = self.channel.receive::<Reply>();
        if let Some(child) = self.child.take() {
            process::kill(child);
            process::reap(child);
        }
    }
}

impl Drop for RemoteExecutor {
    fn drop(&mut self) {
        self.pid.into_iter().for_each(process::kill);
        if let Some(child) = self.child.take() {
            process::kill(child);
            process::reap(child);
        }
    }
}

/// How long an executor may take to end once its channel is closed; after that, whoever executed it ends it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Returns the pid that an executor reported.
pub(crate) fn pid_of(reply: &Reply) -> Result<Pid, ActorError> {
    match reply {
        Reply::Pid(pid) if *pid > 0 => Pid::from_raw(*pid).ok_or_else(|| unexpected(reply)),
        other => Err(unexpected(other)),
    }
}

/// Makes the error for a reply that does not fit the request.
pub(crate) fn unexpected(reply: &Reply) -> ActorError {
    ActorError::UnexpectedReply(format!("{reply:?}"))
}
