//! What all parties stand on: the plan they follow and the hierarchy their cgroups are made in.

use std::rc::Rc;

use harness_protocol::plan::{Attempt, Case, Plan};
use serde::{Deserialize, Serialize};

use crate::cgroup::Hierarchy;

/// Shared by the guest and, since they are forked from it, by every agent: so an attempt is asked for by its place in
/// the plan instead of being sent.
#[derive(Clone, Debug)]
pub(crate) struct GuestContext {
    /// Where cgroups are made.
    pub(crate) hierarchy: Rc<Hierarchy>,
    /// What is done.
    pub(crate) plan: Rc<Plan>,
}

/// Where a case stands in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CaseIndex {
    /// Index of its scenario in the plan.
    pub(crate) scenario: u32,
    /// Index in the scenario.
    pub(crate) case: u32,
}

/// Where an attempt stands in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttemptIndex {
    /// Its case.
    pub(crate) case: CaseIndex,
    /// Index in the case.
    pub(crate) attempt: u32,
}

impl CaseIndex {
    /// Of an attempt of this case.
    pub(crate) fn attempt(self, index: usize) -> AttemptIndex {
        AttemptIndex { case: self, attempt: u32::try_from(index).unwrap_or(u32::MAX) }
    }
}

impl GuestContext {
    /// What agents forked here follow.
    pub(crate) fn script(&self) -> Script {
        Script::Plan(Rc::clone(&self.plan))
    }
}

/// Where an agent finds the attempts it is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// In the plan, which a forked agent has in memory.
    Plan(Rc<Plan>),
    /// In the one case that it was sent, because it was executed instead.
    Case(CaseIndex, Rc<Case>),
}

impl Script {
    /// The attempt at a place; `None` if there is no such place.
    pub(crate) fn attempt(&self, place: AttemptIndex) -> Option<&Attempt> {
        let case = match self {
            Self::Plan(plan) => {
                plan.scenarios.get(place.case.scenario as usize)?.cases.get(place.case.case as usize)?
            }
            Self::Case(own, case) => (*own == place.case).then_some(&**case)?,
        };
        case.attempts.get(place.attempt as usize)
    }
}
