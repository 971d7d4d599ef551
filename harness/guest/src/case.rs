//! One case of a scenario: its controls, then the case itself.

mod control;
mod stage;

use std::collections::BTreeSet;

use harness_protocol::{
    name::ContainerName,
    outcome::{self, Cause, Change, Control, Event, LONGEST_LINE},
    plan::{Actor, Attempt, Call, Case, Container, LinkTarget},
};

use crate::{
    actor::{ActorError, Made, RunningActor},
    cause,
    context::CaseIndex,
    lsm::LsmDenyHooks,
    pass::{Actors, Kind, Objects, Pass},
    record::Writer,
};
pub(crate) use stage::{CaseError, Stage};
use stage::{failed_attempt, needs_of};

/// Runs a case: the container control, the root control, the case for real, and the search for causes.
pub(crate) fn run(stage: &mut Stage<'_>, case_index: CaseIndex, case: &Case) -> Result<(), CaseError> {
    check_paths(&case.attempts)?;
    control::check(&case.attempts)?;
    let made = control::all(stage, case_index, case);
    // Controls are used again unless the case may have changed them: pins outlive the case, and a dead actor is
    // useless.
    if made.is_err() || case.attempts.iter().any(|attempt| attempt.call.leaves_something()) {
        stage.controls.clear();
    }
    let (answers, objects) = made?;
    run_for_real(stage, case_index, case, &objects, answers)
}

fn run_for_real(
    stage: &mut Stage<'_>,
    case_index: CaseIndex,
    case: &Case,
    fallback: &Objects,
    controls: Vec<(Control, Control)>,
) -> Result<(), CaseError> {
    let actors = assemble(stage, case_index, case)?;
    let root_cgroup = stage.context.hierarchy.root();
    let (objects, guard) = (Objects::new(), stage.guard.as_deref_mut());
    let (is_guarded, is_pinned) = (guard.is_some(), guard.as_ref().is_some_and(|guard| guard.is_pinned()));
    let mut pass = Pass { root_cgroup, actors, objects, kind: Kind::Real, fallback: Some(fallback), guard };
    let (mut denied, mut denied_by_guard) = (Vec::new(), BTreeSet::new());
    let mut controls = controls.into_iter();
    stage.deny_hooks.set_in_force(true);
    let made: Result<(), CaseError> = pass.run(case_index, case, |index, result, witnessed| {
        let answer = result.map_err(|source| failed_attempt(case, index, source))?;
        let (root, container) = controls.next().expect("the pass and the controls report each attempt once");
        let by_container = matches!(case.attempts[index].actor, Actor::Container(_));
        let unexplained = case.attempts[index].call.is_unexplained();
        if (by_container || is_guarded) && !unexplained && outcome::is_denial(&answer, &root, &container) {
            denied.push(index);
        }
        if witnessed.denied {
            denied_by_guard.insert(index);
        }
        let (case, attempt) = (case_index.case, index as u32);
        stage.record.add(Event::Attempt { case, attempt, answer, root, container })?;
        for records in chunks(witnessed.records) {
            stage.record.add(Event::Guard { case, attempt, records })?;
        }
        Ok(())
    });
    stage.deny_hooks.set_in_force(false);
    made?;
    let mut found = Vec::new();
    let (attacks, others): (Vec<_>, Vec<_>) =
        denied.into_iter().partition(|index| is_pinned || matches!(case.attempts[*index].call, Call::Attack { .. }));
    denied = others;
    // Nothing makes the kernel show what it does without the guard, and no attack is made again: the record counts.
    let (refused, refused_by_kernel): (Vec<_>, Vec<_>) =
        attacks.into_iter().partition(|index| denied_by_guard.contains(index));
    if is_guarded && !denied.is_empty() {
        (found, denied) = by_guard(stage.deny_hooks, &mut pass, case_index, case, denied);
        if let Some((index, _)) = found.iter().find(|(index, _)| !denied_by_guard.contains(index)) {
            return Err(CaseError::Unrecorded { index: *index, op: case.attempts[*index].call.op() });
        }
    }
    found.extend(without_guard(refused));
    denied.extend(refused_by_kernel);
    denied.retain(|index| case.attempts[*index].actor != Actor::Host);
    found.extend(causes(stage.deny_hooks, &mut pass, case_index, case, denied));
    for (index, cause) in found {
        stage.record.add(Event::Cause { case: case_index.case, attempt: index as u32, cause })?;
    }
    end_units(stage.record, case_index.case, &mut pass.actors)
}

/// Stops the units of a case and records what systemd says of each.
fn end_units(record: &mut Writer, case: u32, actors: &mut Actors<'_>) -> Result<(), CaseError> {
    let Actors::Each { containers, .. } = actors else { return Ok(()) };
    for (name, actor) in containers {
        let ended = actor.end_unit(case, name);
        let ended = ended.map_err(|source| CaseError::Container { container: name.clone(), source })?;
        ended.map_or(Ok(()), |unit| record.add(Event::Unit(unit)))?;
    }
    Ok(())
}

/// Parts denied attempts into those that the kernel allows without the guard, with that cause, and the others. It is
/// off now.
fn by_guard(
    deny_hooks: &LsmDenyHooks,
    pass: &mut Pass<'_>,
    case_index: CaseIndex,
    case: &Case,
    denied: Vec<usize>,
) -> (Vec<(usize, Cause)>, Vec<usize>) {
    deny_hooks.set_in_force(true);
    let (refused, others): (Vec<usize>, Vec<usize>) =
        denied.into_iter().partition(|index| cause::is_done_now(pass, case_index, case, *index));
    deny_hooks.set_in_force(false);
    (without_guard(refused), others)
}

fn without_guard(refused: Vec<usize>) -> Vec<(usize, Cause)> {
    refused.into_iter().map(|index| (index, Cause::Missing(vec![Change::NoGuard]))).collect()
}

/// Parts records so that each part fits an event, which has them as strings of JSON.
fn chunks(records: Vec<String>) -> Vec<Vec<String>> {
    const MOST_BYTES: usize = LONGEST_LINE / 4;
    let mut all: Vec<Vec<String>> = Vec::new();
    let mut room = 0;
    for record in records {
        match all.last_mut().filter(|_| record.len() <= room) {
            Some(last) => {
                room -= record.len();
                last.push(record);
            }
            None => {
                room = MOST_BYTES.saturating_sub(record.len());
                all.push(vec![record]);
            }
        }
    }
    all
}

/// Finds why attempts were denied. If the kernel allows one without our LSM programs, they are the cause; otherwise the
/// search runs with them in force.
fn causes(
    deny_hooks: &LsmDenyHooks,
    pass: &mut Pass<'_>,
    case_index: CaseIndex,
    case: &Case,
    denied: Vec<usize>,
) -> Vec<(usize, Cause)> {
    let (vetoed, others): (Vec<usize>, Vec<usize>) =
        denied.into_iter().partition(|index| deny_hooks.any() && cause::is_done_now(pass, case_index, case, *index));
    deny_hooks.set_in_force(true);
    let mut found = cause::find(pass, case_index, case, &others);
    deny_hooks.set_in_force(false);
    found.extend(vetoed.into_iter().map(|index| (index, Cause::Missing(vec![Change::NoLsm]))));
    found
}

/// Sets up the containers of a case, and the host's actor if the case needs it.
fn assemble(stage: &mut Stage<'_>, at: CaseIndex, case: &Case) -> Result<Actors<'static>, CaseError> {
    let number = at.case;
    let needs = needs_of(case);
    let host = case.attempts.iter().any(needs_host);
    let label = |who: &str| format!("case{number}-{who}");
    let host =
        host.then(|| RunningActor::host(stage.context, &label("host"), needs)).transpose().map_err(CaseError::Host)?;
    let mut made: Vec<(ContainerName, RunningActor)> = Vec::new();
    for (position, plan) in case.containers.iter().enumerate() {
        let parent = parent_of(plan, &mut made)?;
        let label = label(&position.to_string());
        let actor = match &plan.unit {
            Some(unit) => RunningActor::unit(stage.context, &label, (plan, unit), (at, case), needs),
            None => RunningActor::container(stage.context, &label, plan, parent, needs),
        };
        let Made { actor, mounted, token, no_token } = actor.map_err(|source| failed(plan, source))?;
        made.push((plan.name.clone(), actor));
        stage.record.add(Event::Container { case: number, container: plan.name.clone(), mounted, token, no_token })?;
    }
    // Only now: a container can make another one only while it has the capabilities for it.
    let of_ours = made.iter_mut().zip(&case.containers).filter(|(_, plan)| plan.unit.is_none());
    for ((_, actor), plan) in of_ours {
        actor.confine(plan).map_err(|source| failed(plan, source))?;
    }
    Ok(Actors::Each { host: host.map(Box::new), containers: made })
}

fn failed(plan: &Container, source: ActorError) -> CaseError {
    CaseError::Container { container: plan.name.clone(), source }
}

fn parent_of<'a>(
    plan: &Container,
    made: &'a mut [(ContainerName, RunningActor)],
) -> Result<Option<&'a mut RunningActor>, CaseError> {
    let Some(parent) = &plan.parent else { return Ok(None) };
    let found = made.iter_mut().find(|(name, _)| name == parent).map(|(_, actor)| actor);
    let missing = || CaseError::Parent { container: plan.name.clone(), parent: parent.clone() };
    found.map(Some).ok_or_else(missing)
}

fn needs_host(attempt: &Attempt) -> bool {
    let target = attempt.call.target();
    attempt.actor == Actor::Host
        || matches!(target, Some(LinkTarget::Of { whose: Actor::Host, .. }))
        || matches!(attempt.call, Call::TokenCreate { from: Actor::Host, .. } | Call::Remount { from: Actor::Host, .. })
}

/// Rejects pins that would leave their bpffs.
fn check_paths(attempts: &[Attempt]) -> Result<(), CaseError> {
    let leaves =
        |path: &str| path.contains('\0') || path.split('/').any(|part| part.is_empty() || part == "." || part == "..");
    for (index, attempt) in attempts.iter().enumerate() {
        if let Call::ObjPin { path, .. } | Call::ObjGet { path, .. } = &attempt.call
            && leaves(path)
        {
            return Err(CaseError::Path { index, op: attempt.call.op(), path: path.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use harness_protocol::plan::{BpffsFd, PinLocation, Token};

    use super::*;

    fn attempt(call: Call) -> Attempt {
        Attempt::new(Actor::Container("main".parse().unwrap()), Token::None, call)
    }

    #[test]
    fn pins_stay_below_their_bpffs() {
        for path in ["", "/", "/x", "../x", "a/../b", "./a", "a//b", "a\0b"] {
            let checked = check_paths(&[attempt(Call::ObjGet { path: path.to_owned(), flags: 0 })]);
            assert!(matches!(checked, Err(CaseError::Path { index: 0, op: "obj_get", .. })), "{path:?}");
        }
        let error = check_paths(&[attempt(Call::ObjGet { path: "../x".to_owned(), flags: 0 })]).unwrap_err();
        insta::assert_snapshot!(error, @"attempt 0 (obj_get): `../x` is not a plain path below a bpffs");
        let pin = Call::ObjPin {
            object: "m".to_owned(),
            path: "folder/map..1".to_owned(),
            stays: true,
            place: PinLocation::Bpffs,
            mode: None,
        };
        assert!(check_paths(&[attempt(pin)]).is_ok());
    }

    #[test]
    fn records_are_parted_to_fit_their_events() {
        let record = |length: usize| "\"".repeat(length);
        let quarter = LONGEST_LINE / 4;
        let parted = chunks(vec![record(quarter - 1), record(1), record(1), record(quarter * 2), record(1)]);
        let lengths: Vec<Vec<usize>> = parted.iter().map(|part| part.iter().map(String::len).collect()).collect();
        assert_eq!(lengths, [vec![quarter - 1, 1], vec![1], vec![quarter * 2], vec![1]]);
        assert!(serde_json::to_string(&parted[0]).unwrap().len() < LONGEST_LINE, "each quote is two bytes of JSON");
        assert!(chunks(vec![]).is_empty());
    }

    #[test]
    fn the_host_is_needed_where_it_acts_or_lends_its_bpffs() {
        assert!(!needs_host(&attempt(Call::BtfLoad)));
        assert!(needs_host(&attempt(Call::TokenCreate { from: Actor::Host, fd: BpffsFd::Root, flags: 0 })));
        assert!(needs_host(&Attempt { actor: Actor::Host, ..attempt(Call::BtfLoad) }));
    }
}
