//! Checks of attacks on the guard: each has a guard that can be attacked so, and its canary.

use harness_diagnostics::node::KeyPath;
use harness_protocol::plan::AttackTarget;
use harness_scenario::{attempt::Attempt, spec::Spec};

use crate::expand::problems::Problems;

/// Checks that attacks have a guard that can be attacked so, and that a canary follows each.
pub(crate) fn check(spec: &Spec, problems: &mut Problems<'_>) {
    let key_path = KeyPath::default().key("attempt");
    let all_known = problems.is_whole(&KeyPath::default().key("vm"));
    for (index, attempt) in spec.attempt.iter().enumerate() {
        let key_path = key_path.index(index);
        if matches!(attempt, Attempt::Reload(_)) && all_known {
            check_reload(spec, &key_path, problems);
        }
        let Attempt::Attack(op) = attempt else { continue };
        let lacking = match (&spec.vm.guard, op.way.target()) {
            (None, _) => Some(("there is no guard to attack", "add `[vm] guard`")),
            (Some(guard), AttackTarget::Pins) if !guard.pinned && !guard.early => {
                Some(("this guard has no pins", "add `pinned = true` to `[vm] guard`"))
            }
            (Some(guard), AttackTarget::Objects) if guard.early => Some((
                "the ids of an early guard's objects are not known",
                "write `pinned = true` in place of `early = true`",
            )),
            _ => None,
        };
        if let Some((message, advice)) = lacking.filter(|_| all_known) {
            problems.advise(&key_path, message, advice);
        }
        let has_canary = matches!(spec.attempt.get(index + 1), Some(Attempt::MapCreate(_) | Attempt::ProgLoad(_)));
        if !has_canary && problems.is_complete(&KeyPath::default().key("attempt")) {
            let advice = "let a `map_create` or `prog_load` follow that the policy refuses";
            problems.advise(
                &key_path,
                "an attack needs a canary, which shows whether the guard is still in force",
                advice,
            );
        }
    }
}

/// A guard that is neither pinned nor early does not say which of its maps a reload is asked by.
fn check_reload(spec: &Spec, key_path: &KeyPath, problems: &mut Problems<'_>) {
    if !spec.vm.guard.as_ref().is_some_and(|guard| guard.pinned || guard.early) {
        let advice = "add `[vm] guard` with `pinned = true` or `early = true`";
        problems.advise(key_path, "there is no guard whose policy can be reloaded", advice);
    }
}
