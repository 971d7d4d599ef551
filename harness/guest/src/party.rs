//! The guest's side of an agent: how a container comes to stand, and how it goes.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    rc::Rc,
};

use harness_model::{
    delegation::MountOption,
    plan::{BpffsFd, Container},
};
use rustix::process::Pid;
use thiserror::Error;

use crate::{
    agent, bpffs,
    cgroup::{Cgroup, Hierarchy},
    channel::{Channel, ChannelError},
    error::SysError,
    identity::IdMap,
    process::{self, Fork},
    protocol::{Reply, Request},
};

/// Why a party could not be made or asked.
#[derive(Debug, Error)]
pub(crate) enum PartyError {
    /// A system call of the privileged side failed.
    #[error(transparent)]
    Sys(#[from] SysError),
    /// The channel failed while the agent lives on.
    #[error(transparent)]
    Channel(ChannelError),
    /// The agent could not do it, and says which system call failed.
    #[error("{0}")]
    Refused(String),
    /// The agent is no more.
    #[error("its agent {0}")]
    Died(String),
    /// The agent answered something else than it was asked.
    #[error("its agent answered {0} out of turn")]
    OutOfTurn(String),
}

/// An agent with what belongs to it. Dropping it ends the agent and everything in its container.
#[derive(Debug)]
pub(crate) struct Party {
    channel: Channel,
    /// The agent; unknown until it has said so.
    pid: Option<Pid>,
    /// The process forked by the guest itself; `None` for one that another agent forked.
    child: Option<Pid>,
    cgroup: Cgroup,
    /// The users and groups of its own user namespace; `None` in the initial one.
    ids: Option<[IdMap; 2]>,
    token: Option<Rc<OwnedFd>>,
}

/// What the attempts of a case ask of every party.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Network interfaces, which the initial namespaces cannot be trusted to have.
    pub(crate) interfaces: bool,
    /// A tmpfs to ask a token from.
    pub(crate) tmpfs: bool,
}

impl Party {
    /// Full root in the initial namespaces.
    pub(crate) fn host(hierarchy: &Rc<Hierarchy>, label: &str, needs: Needs) -> Result<Self, PartyError> {
        let mut party = Self::fork(hierarchy, label)?;
        let Needs { interfaces, tmpfs } = needs;
        party.ask(&Request::Stay { interfaces, tmpfs }, &[])?;
        Ok(party)
    }

    /// A container with every capability still, and the delegation its bpffs shows. [`Self::confine`] finishes it.
    pub(crate) fn container(
        hierarchy: &Rc<Hierarchy>,
        label: &str,
        plan: &Container,
        mut parent: Option<&mut Party>,
        needs: Needs,
    ) -> Result<(Self, Vec<MountOption>), PartyError> {
        let mut party = match parent.as_deref_mut() {
            None => Self::fork(hierarchy, label)?,
            Some(parent) => parent.spawn(hierarchy, label)?,
        };
        let (pid, context) = party.isolate(plan)?;
        party.ids = map_ids(pid, plan, parent)?;
        bpffs::configure(context.as_fd(), &plan.options)?;
        bpffs::create(context.as_fd()).map_err(|source| explained(&source))?;
        let shown = match party.ask(&Request::Settle { tmpfs: needs.tmpfs }, &[])? {
            (Reply::Mounted(shown), _) => shown,
            (other, _) => return Err(out_of_turn(&other)),
        };
        if plan.token {
            party.token = Some(Rc::new(party.ask_for_fd(&Request::MakeToken)?));
        }
        Ok((party, shown))
    }

    fn fork(hierarchy: &Rc<Hierarchy>, label: &str) -> Result<Self, PartyError> {
        let cgroup = hierarchy.make(label.to_owned())?;
        let (ours, theirs) = Channel::pair().map_err(PartyError::Channel)?;
        match process::fork_into(cgroup.as_fd())? {
            Fork::Child => agent::serve(theirs),
            Fork::Parent(pid) => {
                drop(theirs);
                Self { channel: ours, pid: None, child: Some(pid), cgroup, ids: None, token: None }.greeted()
            }
        }
    }

    fn spawn(&mut self, hierarchy: &Rc<Hierarchy>, label: &str) -> Result<Self, PartyError> {
        let cgroup = hierarchy.make(label.to_owned())?;
        let (ours, theirs) = Channel::pair().map_err(PartyError::Channel)?;
        self.ask(&Request::Spawn, &[theirs.as_fd()])?;
        drop(theirs);
        let party = Self { channel: ours, pid: None, child: None, cgroup, ids: None, token: None }.greeted()?;
        party.pid.map_or(Ok(()), |pid| party.cgroup.admit(pid))?;
        Ok(party)
    }

    /// Reads the number that an agent sends before it is asked anything.
    fn greeted(mut self) -> Result<Self, PartyError> {
        let (reply, _) = self.answer()?;
        self.pid = Some(pid_of(&reply)?);
        Ok(self)
    }

    fn isolate(&mut self, plan: &Container) -> Result<(Pid, OwnedFd), PartyError> {
        let request = Request::Isolate { uid: plan.uid, gid: plan.gid, namespaces: plan.namespaces.clone() };
        let (reply, fds) = self.ask(&request, &[])?;
        let pid = pid_of(&reply)?;
        self.pid = Some(pid);
        let context = fds.into_iter().next().ok_or_else(|| out_of_turn(&reply))?;
        Ok((pid, context))
    }

    /// Takes every capability but these from the agent.
    pub(crate) fn confine(&mut self, caps: &[u32]) -> Result<(), PartyError> {
        self.ask(&Request::Confine { caps: caps.to_vec() }, &[]).map(|_| ())
    }

    /// The processes and the cgroup that are there as long as it is.
    pub(crate) fn belongings(&self) -> (impl Iterator<Item = Pid>, &str) {
        (self.pid.into_iter().chain(self.child), self.cgroup.name())
    }

    /// The token made while the container was set up.
    pub(crate) fn token(&self) -> Option<Rc<OwnedFd>> {
        self.token.clone()
    }

    /// Its cgroup's directory, opened for reading.
    pub(crate) fn cgroup(&self) -> BorrowedFd<'_> {
        self.cgroup.as_fd()
    }

    /// A descriptor of its bpffs.
    pub(crate) fn bpffs(&mut self, which: BpffsFd) -> Result<OwnedFd, PartyError> {
        self.ask_for_fd(&Request::Bpffs(which))
    }

    fn ask_for_fd(&mut self, request: &Request) -> Result<OwnedFd, PartyError> {
        let (reply, fds) = self.ask(request, &[])?;
        fds.into_iter().next().ok_or_else(|| out_of_turn(&reply))
    }

    /// Asks the agent and waits for its answer; a refusal is an error.
    pub(crate) fn ask(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Reply, Vec<OwnedFd>), PartyError> {
        match self.channel.send(request, fds) {
            Ok(()) => self.answer(),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn answer(&mut self) -> Result<(Reply, Vec<OwnedFd>), PartyError> {
        match self.channel.receive() {
            Ok((Reply::Failed(why), _)) => Err(PartyError::Refused(why)),
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn broken(&mut self, error: ChannelError) -> PartyError {
        match (error, self.child.take()) {
            (ChannelError::Closed, Some(child)) => PartyError::Died(process::reap(child)),
            (ChannelError::Closed, None) => PartyError::Died("ended".to_owned()),
            (error, child) => {
                self.child = child;
                PartyError::Channel(error)
            }
        }
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.pid.into_iter().for_each(process::kill);
        if let Some(child) = self.child.take() {
            process::kill(child);
            process::reap(child);
        }
    }
}

/// Kernels before 6.9 refuse to create a bpffs that belongs to a user namespace (commit 35f96de04127).
fn explained(error: &SysError) -> PartyError {
    PartyError::Refused(format!("{error} (a bpffs of a user namespace, and with it tokens, needs Linux 6.9)"))
}

/// Maps the ids of a container, by the party in whose user namespace it is made; which ids those are.
fn map_ids(pid: Pid, plan: &Container, parent: Option<&mut Party>) -> Result<Option<[IdMap; 2]>, PartyError> {
    let pid = pid.as_raw_nonzero().get();
    let around = parent.as_ref().and_then(|parent| parent.ids.as_ref());
    let of = |which: usize, id| around.map_or_else(|| IdMap::from_initial(id), |ids| ids[which].within(id));
    let [uids, gids] = [of(0, plan.uid), of(1, plan.gid)];
    match parent {
        None => agent::write_id_maps(pid, uids.text(), gids.text())?,
        Some(parent) => {
            let request = Request::MapIds { pid, uids: uids.text().to_owned(), gids: gids.text().to_owned() };
            parent.ask(&request, &[])?;
        }
    }
    Ok(Some([uids, gids]))
}

fn pid_of(reply: &Reply) -> Result<Pid, PartyError> {
    match reply {
        Reply::Pid(pid) if *pid > 0 => Pid::from_raw(*pid).ok_or_else(|| out_of_turn(reply)),
        other => Err(out_of_turn(other)),
    }
}

fn out_of_turn(reply: &Reply) -> PartyError {
    PartyError::OutOfTurn(format!("{reply:?}"))
}
