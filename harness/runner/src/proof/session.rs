//! Where questions are asked: in VMs, as many kernels side by side as a run of scenarios has, and in the store first.

use std::{cell::RefCell, collections::BTreeMap};

use harness_builder::digest::Sha256;
use harness_protocol::{
    name::ScenarioName,
    outcome::ScenarioOutcome,
    plan::{GlobalEffect, ObjectLoad, Scenario},
};
use harness_scenario::expanded::Expanded;
use harness_verdict::judgement::Fault;

use super::{
    ProofError,
    object::Object,
    proved::{Asked, Criterion, NoProof, Why},
};
use crate::{fleet::RunRequest, scenario_runner, session::MachineKind, testbed::Testbed};

/// What one kernel is asked.
pub(super) struct ProofSession<'a> {
    testbed: &'a Testbed<'a>,
    /// By name, so that what is asked twice is asked once.
    asked: RefCell<BTreeMap<ScenarioName, Expanded>>,
    answers: RefCell<BTreeMap<ScenarioName, ScenarioOutcome>>,
    /// Why the kernel's VMs answered nothing more, if so.
    failed: RefCell<Option<String>>,
}

impl<'a> ProofSession<'a> {
    pub(super) fn new(testbed: &'a Testbed<'a>) -> Self {
        Self { testbed, asked: RefCell::default(), answers: RefCell::default(), failed: RefCell::default() }
    }

    pub(super) fn testbed(&self) -> &'a Testbed<'a> {
        self.testbed
    }

    /// How an object is loaded.
    pub(super) fn load_of(&self, object: &Object, criterion: Criterion) -> ObjectLoad {
        let file = self.testbed.identity.objects.hold("object", object.bytes());
        ObjectLoad { file, attach: criterion == Criterion::Attached, ..ObjectLoad::default() }
    }

    /// Puts a question, which `make` makes with its name.
    pub(super) fn put(&self, make: impl Fn(ScenarioName) -> Expanded) -> ScenarioName {
        let asked = named(make);
        let name = asked.plan.name.clone();
        self.asked.borrow_mut().insert(name.clone(), asked);
        name
    }

    /// What became of a question that was put and asked; `what` it is about.
    pub(super) fn read<T>(
        &self,
        what: Asked,
        name: &ScenarioName,
        read: impl FnOnce(&Expanded, &ScenarioOutcome) -> Result<T, Fault>,
    ) -> Result<T, NoProof> {
        let (asked, answers) = (self.asked.borrow(), self.answers.borrow());
        let known = || {
            let asked = asked.get(name).ok_or(Why::NotAsked)?;
            if let Some(reach) = self.reach(&asked.plan) {
                return Err(Why::Reaches(reach));
            }
            let answer = answers.get(name).ok_or_else(|| Why::NotRun(self.failed.borrow().clone()))?;
            read(asked, answer).map_err(|fault| Why::Fault(Box::new(fault)))
        };
        known().map_err(|why| self.no_proof(what, why))
    }

    /// That something is not known of this kernel.
    pub(super) fn no_proof(&self, asked: Asked, why: Why) -> NoProof {
        NoProof { asked, kernel: self.testbed.kernel_name().clone(), why }
    }

    /// How something would reach others, which is why it is not asked where some live.
    fn reach(&self, plan: &Scenario) -> Option<GlobalEffect> {
        plan.reach().filter(|_| self.testbed.identity.machine_kind != MachineKind::Own)
    }
}

/// Has all kernels answer what was put and is not known yet.
///
/// # Errors
/// [`ProofError::Launch`] if no VM can be had. A kernel that cannot be used fails alone, when it is read.
pub(super) fn ask(desks: &[ProofSession<'_>]) -> Result<(), ProofError> {
    let Some(resources) = desks.first().map(|session| session.testbed.resources) else { return Ok(()) };
    let asked: Vec<_> = desks.iter().map(|session| (session.asked.borrow(), session.answers.borrow())).collect();
    let orders: Vec<RunRequest<'_, _>> =
        desks.iter().zip(&asked).map(|(session, (asked, answers))| order(session, asked, answers)).collect();
    let fulfilled = resources.fleet.fulfil(resources, &orders)?;
    drop(orders);
    drop(asked);
    for (session, fulfilled) in desks.iter().zip(fulfilled) {
        session.answers.borrow_mut().extend(fulfilled.read);
        if let Some(error) = fulfilled.error {
            session.failed.replace(Some(scenario_runner::chain(&error)));
        }
    }
    Ok(())
}

fn order<'a>(
    session: &ProofSession<'a>,
    asked: &'a BTreeMap<ScenarioName, Expanded>,
    answers: &BTreeMap<ScenarioName, ScenarioOutcome>,
) -> RunRequest<'a, ScenarioOutcome> {
    let is_open = |asked: &&Expanded| !answers.contains_key(&asked.plan.name) && session.reach(&asked.plan).is_none();
    let wanted = asked.values().filter(is_open).collect();
    RunRequest { testbed: session.testbed, wanted, read: Box::new(|_, outcome| (outcome.clone(), false)) }
}

/// A question by the name that its contents give it.
fn named(make: impl Fn(ScenarioName) -> Expanded) -> Expanded {
    let name = |text: &str| text.parse().expect("it is a name");
    let contents = serde_json::to_vec(&make(name("proof/unnamed")).plan).expect("a plan is JSON");
    make(name(&format!("proof/{}", Sha256::of_parts([contents.as_slice()]).short())))
}

#[cfg(test)]
mod tests {
    use harness_proof::question;

    use super::*;

    #[test]
    fn the_same_question_has_the_same_name_and_another_one_another() {
        let mount = |value: &str| {
            let options =
                [harness_protocol::mount_option::MountOption { key: "delegate_cmds".into(), value: value.into() }];
            named(|name| question::mount(name, &options)).plan.name
        };
        assert_eq!(mount("any"), mount("any"));
        assert_ne!(mount("any"), mount("0x1"));
    }
}
