//! The controls of a case: the answers that root and a container with every permission get.

use std::os::fd::BorrowedFd;

use harness_protocol::{
    outcome::Control,
    plan::{Attempt, Case},
};

use super::stage::{CaseError, Stage, failed_attempt, needs_of};
use crate::{
    actor::{ActorError, RunningActor},
    context::CaseIndex,
    pass::{Actors, Kind, Objects, Pass},
};

/// Both controls of each attempt, root first, and the objects that root saved.
pub(super) type Controlled = (Vec<(Control, Control)>, Objects);

/// Makes the controls of all attempts.
pub(super) fn all(stage: &mut Stage<'_>, case_index: CaseIndex, case: &Case) -> Result<Controlled, CaseError> {
    let (container, root) = stage.controls.actors(case, needs_of(case));
    let root_cgroup = stage.context.hierarchy.root();
    let mut container = container.map(|actor| pass_of(root_cgroup, actor, Kind::Container));
    let contained = answers(&mut container, case_index, case)?;
    let mut root = root.map(|actor| pass_of(root_cgroup, actor, Kind::Root(container.as_ref().ok())));
    let rooted = answers(&mut root, case_index, case)?;
    let mut objects = root.map(|pass| pass.objects).unwrap_or_default();
    share_objects(&mut objects, &case.attempts);
    Ok((rooted.into_iter().zip(contained).collect(), objects))
}

fn pass_of<'a>(root_cgroup: BorrowedFd<'a>, actor: &'a mut RunningActor, kind: Kind<'a>) -> Pass<'a> {
    Pass { root_cgroup, actors: Actors::Single(actor), objects: Objects::new(), kind, fallback: None, guard: None }
}

/// Makes every attempt as a control. If the actor could not be set up, that is the reason for each.
fn answers(
    pass: &mut Result<Pass<'_>, ActorError>,
    case_index: CaseIndex,
    case: &Case,
) -> Result<Vec<Control>, CaseError> {
    let pass = match pass {
        Ok(pass) => pass,
        Err(error) => return Ok(vec![Control::NotMade(error.to_string()); case.attempts.len()]),
    };
    let mut own = vec![None; case.attempts.len()];
    pass.run(case_index, case, |index, result, _| {
        own[index] = Some(match result {
            Ok(answer) => Control::Made(answer),
            Err(source) if source.is_fatal() => return Err(failed_attempt(case, index, source)),
            Err(error) => Control::NotMade(error.to_string()),
        });
        Ok(())
    })?;
    let answer = |index: usize| own[control_index(&case.attempts, index)].clone();
    let complete: Option<Vec<Control>> = (0..own.len()).map(answer).collect();
    Ok(complete.expect("the pass reports each attempt that has a control of its own"))
}

/// Returns the attempt control_index controls this one uses.
fn control_index(attempts: &[Attempt], index: usize) -> usize {
    attempts[index].controls_of.map_or(index, |of| of as usize)
}

/// Saves what root made once for several attempts under the names of all of them.
fn share_objects(objects: &mut Objects, attempts: &[Attempt]) {
    for (index, attempt) in attempts.iter().enumerate() {
        let shared = attempts[control_index(attempts, index)].save.as_ref().and_then(|name| objects.get(name)).cloned();
        if let (Some(name), Some(object)) = (&attempt.save, shared) {
            objects.insert(name.clone(), object);
        }
    }
}

/// Rejects a plan in which an attempt would be judged by the controls of another call.
pub(super) fn check(attempts: &[Attempt]) -> Result<(), CaseError> {
    for (index, attempt) in attempts.iter().enumerate() {
        let Some(of) = attempt.controls_of else { continue };
        let op = attempt.call.op();
        let earlier = attempts[..index].get(of as usize);
        if earlier.is_none_or(|earlier| earlier.controls_of.is_some() || earlier.call.op() != op) {
            return Err(CaseError::SharedControl { index, op, of });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use harness_protocol::plan::{Actor, Call, Token};

    use super::*;

    fn attempt(call: Call, save: Option<&str>, controls_of: Option<u32>) -> Attempt {
        let save = save.map(str::to_owned);
        Attempt { save, controls_of, ..Attempt::new(Actor::Host, Token::None, call) }
    }

    #[test]
    fn controls_are_shared_with_an_earlier_attempt_of_the_same_kind_only() {
        let with = |first, second| check(&[attempt(Call::BtfLoad, None, first), second]);
        assert!(with(None, attempt(Call::BtfLoad, None, Some(0))).is_ok());
        let refused = |result: Result<(), CaseError>| result.unwrap_err().to_string();
        let own = refused(with(None, attempt(Call::BtfLoad, None, Some(1))));
        insta::assert_snapshot!(own, @"attempt 1 (btf_load) cannot share the controls of attempt 1");
        let other_call = refused(with(None, attempt(Call::EnableStats, None, Some(0))));
        insta::assert_snapshot!(other_call, @"attempt 1 (enable_stats) cannot share the controls of attempt 0");
        let first = refused(with(Some(0), attempt(Call::BtfLoad, None, None)));
        insta::assert_snapshot!(first, @"attempt 0 (btf_load) cannot share the controls of attempt 0");
        let chain = [None, Some(0), Some(1)].map(|of| attempt(Call::BtfLoad, None, of));
        insta::assert_snapshot!(
            refused(check(&chain)),
            @"attempt 2 (btf_load) cannot share the controls of attempt 1"
        );
    }

    #[test]
    fn a_shared_object_is_saved_under_all_its_names() {
        let fd = Rc::new(rustix::pipe::pipe().unwrap().0);
        let attempts =
            [("a", None), ("b", Some(0)), ("c", None)].map(|(name, of)| attempt(Call::BtfLoad, Some(name), of));
        let mut objects = Objects::from([("a".to_owned(), Ok(Rc::clone(&fd))), ("c".to_owned(), Err("no".to_owned()))]);
        share_objects(&mut objects, &attempts);
        assert!(Rc::ptr_eq(objects["b"].as_ref().unwrap(), &fd));
        assert_eq!(objects["c"].as_ref().unwrap_err(), "no");
    }
}
