//! Copies of the guest program that attempts execute, and what they are to the guard.

use harness_diagnostics::{
    node::KeyPath,
    suggest::{did_you_mean, one_of},
};
use harness_protocol::plan::{Actor, Step};
use harness_scenario::spec::Spec;

use crate::expand::{
    context::{AttemptContext, ExpandContext, describe},
    problems::Problems,
};

/// The most copies of a guard, each of some megabytes of the VM's memory.
const MOST: usize = 8;

/// Checks the names of a guard's copies.
pub(crate) fn check(spec: &Spec, problems: &mut Problems<'_>) {
    let Some(guard) = &spec.vm.guard else { return };
    let key_path = KeyPath::default().key("vm").key("guard").key("copies");
    if guard.early && !guard.copies.is_empty() {
        let advice = "write `pinned = true` in place of `early = true`";
        problems.advise(&key_path, "an early guard is in force before there are copies", advice);
    }
    if guard.copies.len() > MOST {
        problems.problem(&key_path, format!("these are {} copies; the limit is {MOST}", guard.copies.len()));
    }
    for name in guard.copies.keys().filter(|name| !is_path(name) || Step::OTHERS.contains(&name.as_str())) {
        let advice = "write a path of letters, digits and `-` such as `agent` or `folder/agent`";
        problems.advise(&key_path.key(name), format!("`{}` is no name of a copy", name.escape_debug()), advice);
    }
}

fn is_path(name: &str) -> bool {
    let is_plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= 64 && name.split('/').count() <= 2 && name.split('/').all(is_plain)
}

impl ExpandContext<'_, '_> {
    /// Returns the steps of an attempt.
    pub(super) fn steps(&mut self, names: &[String], actor: &Actor, current: &AttemptContext) -> Option<Vec<Step>> {
        let key_path = current.key_path.key("exec");
        if names.is_empty() {
            return Some(Vec::new());
        }
        if !self.containers.can_execute(actor) {
            let message = format!("{} cannot execute a copy and keep its capabilities", describe(actor));
            let advice = "let a container with namespaces of its own make the attempt, or `host`";
            self.problems.advise(&key_path, message, advice);
            return None;
        }
        let steps: Vec<Step> = names.iter().map(|name| Step::named(name)).collect();
        if let [first, ..] = &steps[..]
            && !matches!(first, Step::Exec(_))
        {
            self.problems.problem(&key_path.index(0), "the first step must execute a copy");
            return None;
        }
        for (index, step) in steps.iter().enumerate() {
            if let Step::Exec(name) = step {
                self.copy(name, &key_path.index(index))?;
            }
        }
        Some(steps)
    }

    /// Returns the name of a copy that the guard has.
    pub(super) fn copy(&mut self, name: &str, key_path: &KeyPath) -> Option<String> {
        if self.copies.contains_key(name) || !self.problems.is_whole(&KeyPath::default().key("vm")) {
            return Some(name.to_owned());
        }
        let known = || self.copies.keys().map(String::as_str);
        let advice = match known().next() {
            None => "add `copies` to `[vm] guard`".to_owned(),
            Some(_) => did_you_mean(name, known()).unwrap_or_else(|| one_of(known())),
        };
        self.problems.advise(key_path, format!("there is no copy `{}`", name.escape_debug()), advice);
        None
    }
}
