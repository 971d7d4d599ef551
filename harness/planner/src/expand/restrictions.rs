//! Expands the restrictions of a container other than missing capabilities.

use harness_diagnostics::{
    node::KeyPath,
    suggest::{did_you_mean, one_of},
};
use harness_protocol::plan::{Filter, Refused, Restrictions, SystemCall};
use harness_scenario::spec::{ContainerSpec, Seccomp};
use harness_uapi::{resolver::NameResolver, vocabulary::Kind};

use crate::expand::problems::Problems;

/// Returns the restrictions of a container.
pub(crate) fn of(
    spec: &ContainerSpec,
    key_path: &KeyPath,
    resolver: &NameResolver<'_>,
    problems: &mut Problems<'_>,
) -> Restrictions {
    let filter = spec.seccomp.as_ref().map(|seccomp| filter(seccomp, &key_path.key("seccomp"), resolver, problems));
    Restrictions { no_new_privs: spec.no_new_privs, filter }
}

fn filter(seccomp: &Seccomp, key_path: &KeyPath, resolver: &NameResolver<'_>, problems: &mut Problems<'_>) -> Filter {
    let key_path = key_path.key("refuse");
    let rules = seccomp.refuse.iter().enumerate();
    let refused = rules.filter_map(|(index, text)| refused(text, &key_path.index(index), resolver, problems)).collect();
    Filter { refused, answer: seccomp.errno }
}

fn refused(
    text: &str,
    key_path: &KeyPath,
    resolver: &NameResolver<'_>,
    problems: &mut Problems<'_>,
) -> Option<Refused> {
    let (name, command) = match text.split_once(':') {
        Some((name, command)) => (name, Some(command)),
        None => (text, None),
    };
    let Some((call, _)) = SystemCall::ALL.into_iter().find(|(_, known)| *known == name) else {
        let names = || SystemCall::ALL.into_iter().map(|(_, name)| name);
        let advice = did_you_mean(name, names()).unwrap_or_else(|| one_of(names()));
        problems.advise(key_path, format!("a filter cannot refuse `{}`", name.escape_debug()), advice);
        return None;
    };
    match command {
        None => Some(Refused { call, command: None }),
        Some(command) if call == SystemCall::Bpf => match resolver.find(Kind::Cmd, command) {
            Ok(found) => Some(Refused { call, command: Some(found.number) }),
            Err(unknown) => {
                problems.problem(key_path, unknown.to_string());
                None
            }
        },
        Some(_) => {
            problems.advise(
                key_path,
                format!("`{name}` has no commands"),
                "only `bpf` has commands, for example `bpf:map_create`",
            );
            None
        }
    }
}
