//! Actors that systemd started: the process of a unit.

use std::{os::fd::AsFd, rc::Rc};

use harness_protocol::{
    name::ContainerName,
    outcome::{Answer, UnitFact},
    plan::{self, Case, Container, Namespace},
};
use rustix::process::Pid;

use super::{
    ActorSite, Made, Needs, RunningActor, UnitState,
    error::ActorError,
    masks,
    remote::{RemoteExecutor, unexpected},
};
use crate::{
    channel::{Channel, ChannelError},
    context::{CaseIndex, GuestContext},
    error::{During, SysError},
    executor,
    message::{NoToken, Reply, Request, UnitLocation},
    systemd::{Ended, Service, SystemdError},
};

/// Why attempts are not made.
const DID_NOT_RUN: &str = "the unit did not run";
const ENDED_EARLY: &str = "the unit's process ended before the attempt";
const KILLED: &str = "the attempt ended the unit's process";
const GONE: &str = "the unit's process is gone";

impl RunningActor {
    /// Starts a systemd unit whose process is an executor. If systemd does not run it, it is still an actor, and its
    /// attempts are not made.
    pub(crate) fn unit(
        context: &GuestContext,
        label: &str,
        (plan, unit): (&Container, &plan::Unit),
        (case_index, case): (CaseIndex, &Case),
        needs: Needs,
    ) -> Result<Made, ActorError> {
        let cgroup = context.hierarchy.make(label.to_owned())?;
        // No name is the beginning of another one: systemd's warnings are told apart by the name that they contain.
        let name = format!("guest-{}-{}-{label}-unit", case_index.scenario, case_index.case);
        let (service, started) = Service::start(unit, &name).map_err(refused)?;
        let executor = match started {
            None => None,
            Some(socket) => match start_executor(Channel::from(socket), case_index, case) {
                Err(ActorError::Died(_) | ActorError::Channel(ChannelError::Closed)) => None,
                executor => Some(executor?),
            },
        };
        let ran = executor.is_some();
        let state = UnitState {
            service: Some(service),
            ran,
            namespaces: Vec::new(),
            gone: (!ran).then_some(DID_NOT_RUN),
            no_token: None,
            is_filtered: false,
            mount: None,
        };
        let executor = executor.map_or_else(RemoteExecutor::absent, Ok)?;
        let mut actor = Self::of(executor, context, cgroup, Some(plan.clone()));
        actor.unit = Some(state);
        actor.look(needs)
    }

    /// Asks the executor how systemd set it up.
    fn look(mut self, needs: Needs) -> Result<Made, ActorError> {
        let Some(pid) = self.executor.pid else {
            return Ok(Made { actor: self, mounted: Vec::new(), token: None, no_token: None });
        };
        let own = namespaces_of(pid)?;
        self.site = site_of(&own);
        if let Some(unit) = &mut self.unit {
            unit.namespaces = own.into_iter().map(str::to_owned).collect();
        }
        let (reply, fds) = match self.ask(&Request::Look { tmpfs: needs.tmpfs }, &[]) {
            // Its first `bpf(2)` call is the one that makes the token.
            Err(ActorError::Died(_)) => {
                if let Some(unit) = &mut self.unit {
                    unit.gone = Some(ENDED_EARLY);
                }
                return Ok(Made { actor: self, mounted: Vec::new(), token: None, no_token: None });
            }
            answered => answered?,
        };
        let Reply::Found { mounted, mount, caps, filtered, no_token } = reply else { return Err(unexpected(&reply)) };
        let token = fds.into_iter().next();
        let held = token.as_ref().map(|token| masks(token.as_fd())).transpose()?;
        self.token = token.map(Rc::new);
        if let Some(plan) = &mut self.plan {
            (plan.caps, plan.options) = (caps, mounted.clone());
        }
        let errno = no_token.as_ref().map(|no_token| no_token.errno);
        if let Some(unit) = &mut self.unit {
            (unit.no_token, unit.is_filtered, unit.mount) = (no_token, filtered, mount);
        }
        Ok(Made { actor: self, mounted, token: held, no_token: errno })
    }

    /// Returns whether it is a unit.
    pub(crate) fn is_unit(&self) -> bool {
        self.unit.is_some()
    }

    /// Returns whether it is a unit behind a system call filter.
    pub(crate) fn is_filtered_unit(&self) -> bool {
        self.unit.as_ref().is_some_and(|unit| unit.is_filtered)
    }

    /// Returns why a unit's process got no token of its bpffs, if it got none.
    pub(crate) fn no_token(&self) -> Option<&NoToken> {
        self.unit.as_ref()?.no_token.as_ref().filter(|_| !self.is_before_tokens())
    }

    /// Returns the answer of an attempt that cannot be made: there is no process, or the token it needs was refused.
    pub(crate) fn answer_unasked(&self, needs_token: bool) -> Option<Answer> {
        let unit = self.unit.as_ref()?;
        if let Some(why) = unit.gone {
            return Some(Answer::NotMade { why: why.to_owned() });
        }
        let NoToken { step, errno } = self.no_token().filter(|_| needs_token)?.clone();
        Some(Answer::Err { errno, step: Some(step) })
    }

    /// Returns the answer of the attempt that ended its process, and notes the end; `None` if it is not a unit.
    pub(crate) fn lose(&mut self) -> Option<Answer> {
        self.unit.as_mut()?.gone = Some(GONE);
        Some(Answer::NotMade { why: KILLED.to_owned() })
    }

    /// Stops a unit and returns what systemd says of it; `None` if it is not a unit or was stopped before.
    pub(crate) fn end_unit(&mut self, case: u32, container: &ContainerName) -> Result<Option<UnitFact>, ActorError> {
        let Some(unit) = &mut self.unit else { return Ok(None) };
        let Some(service) = unit.service.take() else { return Ok(None) };
        let (ran, namespaces, mount) = (unit.ran, std::mem::take(&mut unit.namespaces), unit.mount.take());
        [&mut self.privileged, &mut self.filtered]
            .into_iter()
            .filter_map(Option::take)
            .for_each(RemoteExecutor::retire);
        self.executor.hang_up()?;
        let Ended { result, status, warnings } = service.finish().map_err(refused)?;
        Ok(Some(UnitFact { case, container: container.clone(), ran, namespaces, result, status, mount, warnings }))
    }
}

fn refused(error: SystemdError) -> ActorError {
    ActorError::Refused(error.to_string())
}

/// Sends the unit's executor its case and returns a handle on it.
fn start_executor(channel: Channel, case_index: CaseIndex, case: &Case) -> Result<RemoteExecutor, ActorError> {
    let pid = channel.sender(|| executor::unit::send_input(&channel, case_index, case)).map_err(ActorError::Channel)?;
    RemoteExecutor::executed(channel, pid)
}

/// Returns which namespaces of a process differ from those of the first process, by their names in `/proc/PID/ns`
/// (namespaces(7)).
fn namespaces_of(pid: Pid) -> Result<Vec<&'static str>, SysError> {
    const ALL: [&str; 7] = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];
    let mut own = Vec::new();
    for kind in ALL {
        let of = |who: &str| {
            let path = format!("/proc/{who}/ns/{kind}");
            rustix::fs::readlink(&path, Vec::new()).during(|| format!("readlink /proc/PID/ns/{kind}"))
        };
        if of(&pid.as_raw_nonzero().to_string())? != of("1")? {
            own.push(kind);
        }
    }
    Ok(own)
}

fn site_of(own: &[&str]) -> ActorSite {
    const BESIDES: [(&str, Namespace); 4] =
        [("net", Namespace::Net), ("ipc", Namespace::Ipc), ("uts", Namespace::Uts), ("cgroup", Namespace::Cgroup)];
    let namespaces = BESIDES.into_iter().filter(|(kind, _)| own.contains(kind)).map(|(_, namespace)| namespace);
    let location = UnitLocation { user: own.contains(&"user"), pids: own.contains(&"pid") };
    ActorSite::Unit { location, namespaces: namespaces.collect() }
}
