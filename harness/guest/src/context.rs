//! What all actors share: the plan they carry out and the hierarchy of their cgroups.

use std::rc::Rc;

use harness_protocol::plan::{Attempt, Case, Plan};
use serde::{Deserialize, Serialize};

use crate::cgroup::Hierarchy;

/// Shared by the guest and every executor that it forks, so that an attempt is named by its index in the plan instead
/// of being sent.
#[derive(Clone, Debug)]
pub(crate) struct GuestContext {
    /// Where cgroups are made.
    pub(crate) hierarchy: Rc<Hierarchy>,
    /// The plan.
    pub(crate) plan: Rc<Plan>,
}

/// The index of a case in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CaseIndex {
    /// Index of its scenario in the plan.
    pub(crate) scenario: u32,
    /// Index in the scenario.
    pub(crate) case: u32,
}

/// The index of an attempt in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttemptIndex {
    /// Its case.
    pub(crate) case: CaseIndex,
    /// Index in the case.
    pub(crate) attempt: u32,
}

impl CaseIndex {
    /// Returns the index of an attempt of this case.
    pub(crate) fn attempt(self, index: usize) -> AttemptIndex {
        AttemptIndex { case: self, attempt: u32::try_from(index).unwrap_or(u32::MAX) }
    }
}

impl GuestContext {
    /// Returns the script of executors that are forked here.
    pub(crate) fn script(&self) -> Script {
        Script::Plan(Rc::clone(&self.plan))
    }
}

/// Who loads an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Loader {
    /// Root in the initial namespaces, which makes no token.
    Host,
    /// The executor of a container, which has its bpffs attached.
    Container,
    /// The process of a systemd unit, likewise; what the unit forbids it is an answer.
    Unit,
}

/// Where an executor looks up the attempts it is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// In the plan, which a forked executor has in memory.
    Plan(Rc<Plan>),
    /// In the one case that it was sent, for an executor that was executed instead.
    Case(CaseIndex, Rc<Case>),
}

impl Script {
    /// Returns an attempt; `None` if there is none with this index.
    pub(crate) fn attempt(&self, index: AttemptIndex) -> Option<&Attempt> {
        self.case(index.case)?.attempts.get(index.attempt as usize)
    }

    /// Returns a case; `None` if there is none with this index.
    pub(crate) fn case(&self, index: CaseIndex) -> Option<&Case> {
        match self {
            Self::Plan(plan) => plan.scenarios.get(index.scenario as usize)?.cases.get(index.case as usize),
            Self::Case(own, case) => (*own == index).then_some(&**case),
        }
    }
}
