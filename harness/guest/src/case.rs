//! One case of a scenario: its controls, then the case itself.

use harness_model::{
    name::ContainerName,
    outcome::{Control, Event},
    plan::{Actor, Attempt, BpffsFd, Call, Case, Container, LinkTarget, Namespace, Token},
};
use thiserror::Error;

use crate::{
    bpffs,
    cgroup::Hierarchy,
    party::{Needs, Party, PartyError},
    pass::{self, AttemptError, Cast, Objects, Pass, Tokens},
    record::{RecordError, Writer},
    sabotage,
};

/// Why a case was not carried out to its end.
#[derive(Debug, Error)]
pub(crate) enum CaseError {
    /// A container does not stand.
    #[error("container `{container}`: {source}")]
    Container {
        /// Which.
        container: ContainerName,
        /// Why.
        source: PartyError,
    },
    /// The host's agent does not stand.
    #[error("the host's agent: {0}")]
    Host(PartyError),
    /// A container is to be made in one that was not made before it.
    #[error("container `{container}` is to be made in `{parent}`, which does not stand before it in the plan")]
    Parent {
        /// Which.
        container: ContainerName,
        /// Where.
        parent: ContainerName,
    },
    /// An attempt could not be made.
    #[error("attempt {index} ({op}): {source}")]
    Attempt {
        /// Which.
        index: usize,
        /// Of which kind.
        op: &'static str,
        /// Why.
        source: AttemptError,
    },
    /// A pin would leave its bpffs.
    #[error("attempt {index} ({op}): `{path}` is no plain file name below a bpffs")]
    Path {
        /// Which.
        index: usize,
        /// Of which kind.
        op: &'static str,
        /// The name.
        path: String,
    },
    /// Nothing can be told to the host any more.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// What a case is run with.
pub(crate) struct Stage<'a> {
    /// Where cgroups are made.
    pub(crate) hierarchy: &'a Hierarchy,
    /// Where outcomes go.
    pub(crate) record: &'a mut Writer,
}

/// Runs a case: a container control, a root control, and the case for real.
pub(crate) fn run(stage: &mut Stage<'_>, number: u32, case: &Case) -> Result<(), CaseError> {
    check_paths(&case.attempts)?;
    let needs = needs_of(case);
    let hierarchy = stage.hierarchy;
    let label = |who: &str| format!("case{number}-{who}");
    let made = control_container(hierarchy, &label("control"), case, needs);
    let mut container_pass = made.map(|party| pass_of(hierarchy, party, Tokens::AsAsked));
    let container = controls(&mut container_pass, &case.attempts)?;
    let made = Party::host(hierarchy, &label("root"), needs);
    let lender = container_pass.as_ref().ok();
    let mut root_pass = made.map(|party| pass_of(hierarchy, party, Tokens::Borrowed(lender)));
    let root = controls(&mut root_pass, &case.attempts)?;
    let objects = root_pass.map(|pass| pass.objects).unwrap_or_default();
    drop(container_pass);
    run_for_real(stage, number, case, &objects, root.into_iter().zip(container))
}

fn pass_of<'a, 'h>(hierarchy: &'h Hierarchy, party: Party<'h>, tokens: Tokens<'a, 'h>) -> Pass<'a, 'h> {
    Pass { hierarchy, cast: Cast::Single(party), objects: Objects::new(), tokens, fallback: None }
}

/// Answers to every attempt in a control; if its party could not be made, that is why none was.
fn controls(pass: &mut Result<Pass<'_, '_>, PartyError>, attempts: &[Attempt]) -> Result<Vec<Control>, CaseError> {
    let pass = match pass {
        Ok(pass) => pass,
        Err(error) => return Ok(vec![Control::NotMade(error.to_string()); attempts.len()]),
    };
    attempts.iter().enumerate().map(|(index, attempt)| control(pass, index, attempt)).collect()
}

fn control(pass: &mut Pass<'_, '_>, index: usize, attempt: &Attempt) -> Result<Control, CaseError> {
    if matches!(attempt.call, Call::Sabotage(_)) {
        return Ok(Control::NotMade("sabotage has no control".to_owned()));
    }
    match pass.attempt(index, attempt) {
        Ok(answer) => Ok(Control::Made(answer)),
        Err(source) if source.is_fatal() => Err(CaseError::Attempt { index, op: pass::op(&attempt.call), source }),
        Err(error) => Ok(Control::NotMade(error.to_string())),
    }
}

fn run_for_real(
    stage: &mut Stage<'_>,
    number: u32,
    case: &Case,
    fallback: &Objects,
    controls: impl Iterator<Item = (Control, Control)>,
) -> Result<(), CaseError> {
    let cast = assemble(stage, number, case)?;
    let hierarchy = stage.hierarchy;
    let mut pass = Pass { hierarchy, cast, objects: Objects::new(), tokens: Tokens::AsAsked, fallback: Some(fallback) };
    for ((index, attempt), (root, container)) in case.attempts.iter().enumerate().zip(controls) {
        if let Call::Sabotage(how) = attempt.call {
            sabotage::commit(how);
        }
        let answer = pass.attempt(index, attempt);
        let answer = answer.map_err(|source| CaseError::Attempt { index, op: pass::op(&attempt.call), source })?;
        stage.record.add(Event::Attempt { case: number, attempt: index as u32, answer, root, container })?;
    }
    Ok(())
}

/// Makes the containers of a case, and the host's agent if it has a part.
fn assemble<'h>(stage: &mut Stage<'h>, number: u32, case: &Case) -> Result<Cast<'h>, CaseError> {
    let needs = needs_of(case);
    let host = case.attempts.iter().any(has_host_part);
    let label = |who: &str| format!("case{number}-{who}");
    let host =
        host.then(|| Party::host(stage.hierarchy, &label("host"), needs)).transpose().map_err(CaseError::Host)?;
    let mut made: Vec<(ContainerName, Party<'h>)> = Vec::new();
    for (place, plan) in case.containers.iter().enumerate() {
        let parent = parent_of(plan, &mut made)?;
        let party = Party::container(stage.hierarchy, &label(&place.to_string()), plan, parent, needs);
        let (party, mounted) = party.map_err(|source| failed(plan, source))?;
        made.push((plan.name.clone(), party));
        stage.record.add(Event::Container { case: number, container: plan.name.clone(), mounted })?;
    }
    // Only now, because a container can make another only as long as it has the capabilities for it.
    for ((_, party), plan) in made.iter_mut().zip(&case.containers) {
        party.confine(&plan.caps).map_err(|source| failed(plan, source))?;
    }
    Ok(Cast::Each { host, containers: made })
}

fn failed(plan: &Container, source: PartyError) -> CaseError {
    CaseError::Container { container: plan.name.clone(), source }
}

fn parent_of<'a, 'h>(
    plan: &Container,
    made: &'a mut [(ContainerName, Party<'h>)],
) -> Result<Option<&'a mut Party<'h>>, CaseError> {
    let Some(parent) = &plan.parent else { return Ok(None) };
    let found = made.iter_mut().find(|(name, _)| name == parent).map(|(_, party)| party);
    let missing = || CaseError::Parent { container: plan.name.clone(), parent: parent.clone() };
    found.map(Some).ok_or_else(missing)
}

fn control_container<'h>(
    hierarchy: &'h Hierarchy,
    label: &str,
    case: &Case,
    needs: Needs,
) -> Result<Party<'h>, PartyError> {
    let plan = control_plan(case);
    let (mut party, _) = Party::container(hierarchy, label, &plan, None, needs)?;
    party.confine(&plan.caps)?;
    Ok(party)
}

/// The container with everything delegated, every capability, and all namespaces that any container of the case has.
fn control_plan(case: &Case) -> Container {
    let first = case.containers.first();
    let mut namespaces: Vec<Namespace> = case.containers.iter().flat_map(|plan| plan.namespaces.clone()).collect();
    namespaces.sort();
    namespaces.dedup();
    Container {
        name: "control".parse().expect("the word is a name"),
        parent: None,
        uid: first.map_or(USER, |plan| plan.uid),
        gid: first.map_or(USER, |plan| plan.gid),
        namespaces,
        caps: (0..u64::BITS).collect(),
        options: bpffs::delegate_any(),
        token: case.attempts.iter().any(|attempt| attempt.token == Token::Own),
    }
}

/// Whom the control container belongs to in a case without containers.
const USER: u32 = 1000;

fn has_host_part(attempt: &Attempt) -> bool {
    attempt.actor == Actor::Host || matches!(attempt.call, Call::TokenCreate { from: Actor::Host, .. })
}

fn needs_of(case: &Case) -> Needs {
    let any = |wants: fn(&Call) -> bool| case.attempts.iter().any(|attempt| wants(&attempt.call));
    Needs {
        interfaces: any(|call| {
            let Call::LinkCreate { target, .. } = call else { return false };
            matches!(target, LinkTarget::Interface(_) | LinkTarget::Netfilter { .. })
        }),
        tmpfs: any(|call| matches!(call, Call::TokenCreate { fd: BpffsFd::Tmpfs, .. })),
    }
}

/// Refuses pins that would lead out of the bpffs they are for.
fn check_paths(attempts: &[Attempt]) -> Result<(), CaseError> {
    let leaves =
        |path: &str| path.contains('\0') || path.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    for (index, attempt) in attempts.iter().enumerate() {
        if let Call::ObjPin { path, .. } | Call::ObjGet { path } = &attempt.call
            && leaves(path)
        {
            return Err(CaseError::Path { index, op: pass::op(&attempt.call), path: path.clone() });
        }
    }
    Ok(())
}
