//! Asks questions in VMs, several kernels side by side as in a run of scenarios; the store is looked up first.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use harness_builder::{digest::Sha256, error_chain::chain};
use harness_protocol::{
    name::ScenarioName,
    outcome::ScenarioOutcome,
    plan::{Exec, GlobalEffect, ObjectLoad, PlacedContent, PlacedFile, Scenario, TokenCommand},
};
use harness_scenario::expanded::Expanded;
use harness_snapshot::allowed_splats::AllowedSplats;
use harness_verdict::judgement::Fault;

use super::{
    ProofError,
    object::Object,
    program::{Program, ProgramContent, ProgramFile},
    proved::{Asked, Criterion, NoProof, Reason},
};
use crate::{fleet::RunRequest, session::MachineKind, testbed::Testbed};

/// The questions to one kernel, and its answers.
pub(super) struct ProofSession<'a> {
    testbed: &'a Testbed<'a>,
    /// By name, so that equal questions are asked once.
    asked: RefCell<BTreeMap<ScenarioName, Expanded>>,
    answers: RefCell<BTreeMap<ScenarioName, ScenarioOutcome>>,
    /// Why the kernel's VMs stopped answering, if they did.
    failed: RefCell<Option<String>>,
}

impl<'a> ProofSession<'a> {
    pub(super) fn new(testbed: &'a Testbed<'a>) -> Self {
        Self { testbed, asked: RefCell::default(), answers: RefCell::default(), failed: RefCell::default() }
    }

    pub(super) fn testbed(&self) -> &'a Testbed<'a> {
        self.testbed
    }

    /// Returns how an object is loaded.
    pub(super) fn load_of(&self, object: &Object, criterion: Criterion) -> ObjectLoad {
        let file = self.testbed.identity.objects.hold("object", object.bytes());
        let (attach, sizes) = (criterion == Criterion::Attached, object.sizes().to_vec());
        ObjectLoad { file, attach, sizes, ..ObjectLoad::default() }
    }

    /// Returns how a program is run on this kernel.
    pub(super) fn exec_of(&self, program: &Program) -> Exec {
        let vocabulary = self.testbed.vocabulary();
        let takes = |command: &TokenCommand| vocabulary.has_attr_member(command.member());
        let placed = |file: &ProgramFile| PlacedFile {
            path: file.path.clone(),
            content: match &file.content {
                ProgramContent::Folder => PlacedContent::Folder,
                ProgramContent::Link(to) => PlacedContent::Link { to: to.clone() },
                ProgramContent::File { bytes, executable } => PlacedContent::File {
                    name: self.testbed.identity.objects.hold_placed(Arc::clone(bytes)),
                    executable: *executable,
                },
            },
        };
        Exec {
            files: program.files.iter().map(placed).collect(),
            commands: TokenCommand::ALL.iter().copied().filter(takes).collect(),
            // A search for the cause of each denial would run it again and again; the reduction is such a search.
            unexplained: true,
            ..program.exec.clone()
        }
    }

    /// Adds a question, which `make` creates with its name.
    pub(super) fn put(&self, make: impl Fn(ScenarioName) -> Expanded) -> ScenarioName {
        let asked = named(make);
        let name = asked.plan.name.clone();
        self.asked.borrow_mut().insert(name.clone(), asked);
        name
    }

    /// Reads the answer to a question; `what` describes it.
    pub(super) fn read<T>(
        &self,
        what: Asked,
        name: &ScenarioName,
        read: impl FnOnce(&Expanded, &ScenarioOutcome) -> Result<T, Fault>,
    ) -> Result<T, NoProof> {
        let (asked, answers) = (self.asked.borrow(), self.answers.borrow());
        let known = || {
            let asked = asked.get(name).ok_or(Reason::NotAsked)?;
            if let Some(global_effect) = self.global_effect(&asked.plan) {
                return Err(Reason::AffectsOthers(global_effect));
            }
            let answer = answers.get(name).ok_or_else(|| Reason::NotRun(self.failed.borrow().clone()))?;
            let fault = |fault| Reason::Fault(Box::new(fault));
            match answer.splats.first() {
                Some(splat) => Err(fault(Fault::Guest(format!("the kernel printed a splat: {}", splat.text)))),
                None => read(asked, answer).map_err(fault),
            }
        };
        known().map_err(|reason| self.no_proof(what, reason))
    }

    /// Returns that something is not known of this kernel.
    pub(super) fn no_proof(&self, asked: Asked, reason: Reason) -> NoProof {
        NoProof { asked, kernel: self.testbed.kernel_name().clone(), reason }
    }

    /// Returns the effect of a question on others, if it is not asked because others use the machine.
    fn global_effect(&self, plan: &Scenario) -> Option<GlobalEffect> {
        plan.global_effect().filter(|_| self.testbed.identity.machine_kind != MachineKind::Own)
    }
}

/// Asks all kernels their unanswered questions.
///
/// # Errors
/// [`ProofError::Launch`] if no VM can be run. A kernel that cannot be used is reported when its answers are read.
pub(super) fn ask(sessions: &[ProofSession<'_>]) -> Result<(), ProofError> {
    let Some(resources) = sessions.first().map(|session| session.testbed.resources) else { return Ok(()) };
    let asked: Vec<_> = sessions.iter().map(|session| (session.asked.borrow(), session.answers.borrow())).collect();
    let requests: Vec<RunRequest<'_, _>> =
        sessions.iter().zip(&asked).map(|(session, (asked, answers))| request(session, asked, answers)).collect();
    let fulfilled = resources.fleet.fulfil(resources, &requests)?;
    drop(requests);
    drop(asked);
    for (session, fulfilled) in sessions.iter().zip(fulfilled) {
        session.answers.borrow_mut().extend(fulfilled.read);
        if let Some(error) = fulfilled.error {
            session.failed.replace(Some(chain(&error)));
        }
    }
    Ok(())
}

fn request<'a>(
    session: &ProofSession<'a>,
    asked: &'a BTreeMap<ScenarioName, Expanded>,
    answers: &BTreeMap<ScenarioName, ScenarioOutcome>,
) -> RunRequest<'a, ScenarioOutcome> {
    let is_open =
        |asked: &&Expanded| !answers.contains_key(&asked.plan.name) && session.global_effect(&asked.plan).is_none();
    let wanted = asked.values().filter(is_open).collect();
    RunRequest {
        testbed: session.testbed,
        wanted,
        allowed_splats: AllowedSplats::none(),
        read: Box::new(|_, outcome| (outcome.clone(), false)),
        show: Box::new(|_| {}),
    }
}

/// Names a question by a digest of its contents.
fn named(make: impl Fn(ScenarioName) -> Expanded) -> Expanded {
    let name = |text: &str| text.parse().expect("it is a name");
    let contents = serde_json::to_vec(&make(name("proof/unnamed")).plan).expect("a plan is JSON");
    make(name(&format!("proof/{}", Sha256::of_parts([contents.as_slice()]).short())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use harness_proof::question;

    use super::*;

    #[test]
    fn a_question_is_named_by_its_contents() {
        let mount = |(key, value): (&str, &str)| {
            let option = harness_protocol::mount_option::MountOption { key: key.into(), value: value.into() };
            named(|name| question::mount(name, std::slice::from_ref(&option))).plan.name
        };
        let options = [("delegate_cmds", "any"), ("delegate_cmds", "0x1"), ("delegate_maps", "any")];
        let names = options.map(mount);
        assert_eq!(names, options.map(mount));
        assert_eq!(BTreeSet::from(names.each_ref()).len(), options.len(), "{names:?}");
        for name in &names {
            let digest = name.as_str().strip_prefix("proof/").unwrap_or_default();
            assert!(!digest.is_empty() && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
        }
    }
}
