//! The guest's end of an agent: a process that serves a channel.

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

/// An agent. Dropping it ends the agent and everything in its container.
#[derive(Debug)]
pub(crate) struct RemoteExecutor {
    channel: Channel,
    /// The agent; unknown until it has said so.
    pub(crate) pid: Option<Pid>,
    /// The process forked by the guest itself; `None` for one that another agent forked.
    pub(crate) child: Option<Pid>,
}

impl RemoteExecutor {
    /// Forks an agent that is born in a cgroup.
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

    /// An agent that somebody else executed. It may see other numbers of processes than `pid`, its own out here.
    pub(crate) fn executed(channel: Channel, pid: Pid) -> Result<Self, ActorError> {
        let mut remote = Self { channel, pid: None, child: None }.greeted()?;
        remote.pid = Some(pid);
        Ok(remote)
    }

    /// One that nobody answers for.
    pub(crate) fn absent() -> Result<Self, ActorError> {
        let (channel, _) = Channel::pair().map_err(ActorError::Channel)?;
        Ok(Self { channel, pid: None, child: None })
    }

    /// Has this agent fork another one, in its own namespaces.
    pub(crate) fn spawn(&mut self) -> Result<Self, ActorError> {
        let (ours, theirs) = Channel::pair().map_err(ActorError::Channel)?;
        self.ask(&Request::Spawn, &[theirs.as_fd()])?;
        drop(theirs);
        Self { channel: ours, pid: None, child: None }.greeted()
    }

    /// Reads the number that an agent sends before it is asked anything.
    fn greeted(mut self) -> Result<Self, ActorError> {
        let (reply, _) = self.answer()?;
        self.pid = Some(pid_of(&reply)?);
        Ok(self)
    }

    /// Asks for something that is answered by one descriptor.
    pub(crate) fn ask_for_fd(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<OwnedFd, ActorError> {
        let (reply, fds) = self.ask(request, fds)?;
        fds.into_iter().next().ok_or_else(|| out_of_turn(&reply))
    }

    /// Has attempts made with these descriptors; as many as the agent answered at once, each with what it made.
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
            other => Err(out_of_turn(&other)),
        }
    }

    /// Asks the agent and waits for its answer; a refusal is an error.
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
    /// Closes the channel, which ends an agent that is waiting to be asked, and waits until it is gone: it is to end by
    /// itself, not to be killed.
    pub(crate) fn hang_up(&mut self) -> Result<(), ActorError> {
        let pid = self.pid.take();
        *self = Self::absent()?;
        pid.map_or(Ok(()), |pid| process::await_end(pid, PATIENCE)).map_err(ActorError::from)
    }

    /// Ends an agent that is waiting to be asked, by hanging up, and waits until it and those it left its work to are gone.
    /// One that is killed in another pid namespace would be for us to bury, and the namespace would wait for that.
    pub(crate) fn retire(mut self) {
        self.pid = None;
        let _ = rustix::net::shutdown(self.channel.as_fd(), Shutdown::Both);
        if let Some(child) = self.child.take() {
            process::reap(child);
        }
    }

    /// Ends the agent and waits until it is gone. Nothing can be asked of it any more.
    pub(crate) fn end(&mut self) {
        self.pid.take().into_iter().for_each(process::kill);
        // The other end of the channel closes with the process, which another agent may have to bury.
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

/// How long an agent may take to end when nobody asks it any more; whoever executed it ends it then.
const PATIENCE: Duration = Duration::from_secs(1);

/// The process number an agent tells.
pub(crate) fn pid_of(reply: &Reply) -> Result<Pid, ActorError> {
    match reply {
        Reply::Pid(pid) if *pid > 0 => Pid::from_raw(*pid).ok_or_else(|| out_of_turn(reply)),
        other => Err(out_of_turn(other)),
    }
}

/// An answer to another question.
pub(crate) fn out_of_turn(reply: &Reply) -> ActorError {
    ActorError::OutOfTurn(format!("{reply:?}"))
}
