//! A party that systemd made: the process of a unit.

use std::{os::fd::AsFd, rc::Rc};

use harness_model::{
    outcome::Answer,
    plan::{self, Case, Container, Namespace},
};
use rustix::process::Pid;

use super::{Made, Needs, Party, PartyError, StandsIn, masks};
use crate::{
    agent,
    channel::{Channel, ChannelError},
    error::{During, SysError},
    ground::{CasePlace, Ground},
    protocol::{NoToken, Reply, Request},
    remote::{Remote, out_of_turn},
    systemd::{Ended, Service, Started},
};

/// What is known of a unit whose party this is.
#[derive(Debug)]
pub(super) struct Standing {
    /// Until it is stopped.
    service: Option<Service>,
    /// Why nobody can be asked for an attempt any more.
    gone: Option<&'static str>,
    no_token: Option<NoToken>,
    is_filtered: bool,
    /// What is mounted where its bpffs should be.
    mount: Option<String>,
}

/// Why attempts are not made, in words.
const DID_NOT_RUN: &str = "the unit did not run";
const ENDED_EARLY: &str = "the unit's process ended before it";
const KILLED: &str = "the unit's process ended over it";
const GONE: &str = "the unit's process is gone";

impl Party {
    /// A unit of systemd, started, with an agent as its process. One that systemd does not run is a party as well, of
    /// which nothing can be asked.
    pub(crate) fn unit(
        ground: &Ground,
        label: &str,
        (plan, unit): (&Container, &plan::Unit),
        (place, case): (CasePlace, &Case),
        needs: Needs,
    ) -> Result<Made, PartyError> {
        let cgroup = ground.hierarchy.make(label.to_owned())?;
        let name = format!("guest-{}-{}-{label}", place.scenario, place.case);
        let (service, started) = Service::start(unit, &name).map_err(|error| PartyError::Refused(error.to_string()))?;
        let (agent, gone) = match started {
            None => (Remote::absent()?, Some(DID_NOT_RUN)),
            Some(Started { socket, pid }) => match briefed(Channel::from(socket), pid, place, case) {
                Err(PartyError::Died(_) | PartyError::Channel(ChannelError::Closed)) => {
                    (Remote::absent()?, Some(ENDED_EARLY))
                }
                agent => (agent?, None),
            },
        };
        let standing = Standing { service: Some(service), gone, no_token: None, is_filtered: false, mount: None };
        let mut party = Self::of(agent, ground, cgroup, Some(plan.clone()));
        party.unit = Some(standing);
        party.look(needs)
    }

    /// Asks the agent what systemd made of it.
    fn look(mut self, needs: Needs) -> Result<Made, PartyError> {
        let Some(pid) = self.agent.pid else {
            return Ok(Made { party: self, mounted: Vec::new(), token: None, no_token: None });
        };
        self.stands_in = place_of(pid)?;
        let (reply, fds) = match self.ask(&Request::Look { tmpfs: needs.tmpfs }, &[]) {
            // Its first call of bpf(2) is the one that makes the token.
            Err(PartyError::Died(_)) => {
                if let Some(unit) = &mut self.unit {
                    unit.gone = Some(ENDED_EARLY);
                }
                return Ok(Made { party: self, mounted: Vec::new(), token: None, no_token: None });
            }
            answered => answered?,
        };
        let Reply::Found { mounted, mount, caps, filtered, no_token } = reply else { return Err(out_of_turn(&reply)) };
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
        Ok(Made { party: self, mounted, token: held, no_token: errno })
    }

    /// Whether it is a unit.
    pub(crate) fn is_unit(&self) -> bool {
        self.unit.is_some()
    }

    /// The mount its process sees where its bpffs should be, in one line.
    pub(crate) fn mount_of_unit(&self) -> Option<String> {
        self.unit.as_ref()?.mount.clone()
    }

    /// Whether it is a unit behind a filter of system calls.
    pub(crate) fn is_filtered_unit(&self) -> bool {
        self.unit.as_ref().is_some_and(|unit| unit.is_filtered)
    }

    /// What becomes of an attempt before it is made: nothing without a process, and what asking for the token gave
    /// without a token that it needs.
    pub(crate) fn foregone(&self, needs_token: bool) -> Option<Answer> {
        let unit = self.unit.as_ref()?;
        if let Some(why) = unit.gone {
            return Some(Answer::NotMade { why: why.to_owned() });
        }
        if self.is_before_tokens() {
            return None;
        }
        let NoToken { step, errno } = unit.no_token.clone().filter(|_| needs_token)?;
        Some(Answer::Err { errno, step: Some(step) })
    }

    /// What becomes of the attempt over which its process ended, and notes that it did; `None` for one that is no unit.
    pub(crate) fn lose(&mut self) -> Option<Answer> {
        self.unit.as_mut()?.gone = Some(GONE);
        Some(Answer::NotMade { why: KILLED.to_owned() })
    }

    /// Ends a unit; what systemd says of it. `None` for one that is none.
    pub(crate) fn end_unit(&mut self) -> Result<Option<Ended>, PartyError> {
        let Some(service) = self.unit.as_mut().and_then(|unit| unit.service.take()) else { return Ok(None) };
        [&mut self.keeper, &mut self.filtered].into_iter().for_each(|agent| drop(agent.take()));
        self.agent.hang_up()?;
        service.finish().map(Some).map_err(|error| PartyError::Refused(error.to_string()))
    }
}

/// The agent in a unit's process, told what it follows.
fn briefed(channel: Channel, pid: Pid, place: CasePlace, case: &Case) -> Result<Remote, PartyError> {
    agent::unit::brief(&channel, place, case).map_err(PartyError::Channel)?;
    Remote::executed(channel, pid)
}

/// The namespaces of a process that are not our own.
fn place_of(pid: Pid) -> Result<StandsIn, SysError> {
    const OTHERS: [(&str, Namespace); 4] =
        [("net", Namespace::Net), ("ipc", Namespace::Ipc), ("uts", Namespace::Uts), ("cgroup", Namespace::Cgroup)];
    let differs = |kind: &str| -> Result<bool, SysError> {
        let of = |who: &str| {
            let path = format!("/proc/{who}/ns/{kind}");
            rustix::fs::readlink(&path, Vec::new()).during(|| format!("readlink /proc/PID/ns/{kind}"))
        };
        Ok(of(&pid.as_raw_nonzero().to_string())? != of("self")?)
    };
    let mut namespaces = Vec::new();
    for (kind, namespace) in OTHERS {
        if differs(kind)? {
            namespaces.push(namespace);
        }
    }
    Ok(StandsIn::Unit { user: differs("user")?, namespaces })
}
