//! The kernel settings of a scenario.

use std::collections::BTreeMap;

use harness_diagnostics::node::KeyPath;
use harness_scenario::{
    attempt::{Attempt, SysctlWrite},
    choice::Setting,
    spec::{Isolation, Spec},
};

use crate::expand::{objects::is_plain_name, problems::Problems};

/// Settings a scenario may change begin with one of these.
const ALLOWED: [&str; 5] = ["kernel", "net", "user", "vm", "fs"];

/// A setting that stays until the next boot once it is 1 (`Documentation/admin-guide/sysctl/kernel.rst`).
const ONE_WAY: (&str, &str) = ("kernel.unprivileged_bpf_disabled", "1");

/// All settings by dotted name.
pub(crate) fn settings(spec: &Spec, problems: &mut Problems<'_>) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    let key_path = KeyPath::default().key("vm").key("sysctl");
    for (key, setting) in &spec.vm.sysctl {
        flatten(key, setting, &key_path.key(key), &mut flat, problems);
    }
    let one_way = flat.get(ONE_WAY.0).is_some_and(|value| value.trim() == ONE_WAY.1);
    if one_way && spec.isolation == Isolation::Shared {
        let message = format!("`{}` stays {} until the next boot", ONE_WAY.0, ONE_WAY.1);
        problems.advise(&key_path, message, "add `isolation = \"vm\"`");
    }
    if spec.vm.lockdown.is_some() && spec.isolation == Isolation::Shared {
        let key_path = KeyPath::default().key("vm").key("lockdown");
        problems.advise(&key_path, "a kernel stays locked down until the next boot", "add `isolation = \"vm\"`");
    }
    flat
}

fn flatten(
    name: &str,
    setting: &Setting,
    key_path: &KeyPath,
    flat: &mut BTreeMap<String, String>,
    problems: &mut Problems<'_>,
) {
    match setting {
        Setting::Group(members) => {
            for (key, member) in members {
                flatten(&format!("{name}.{key}"), member, &key_path.key(key), flat, problems);
            }
        }
        Setting::Value(value) => {
            is_setting(name, key_path, problems);
            check_value(value, key_path, problems);
            if flat.insert(name.to_owned(), value.clone()).is_some() {
                problems.problem(key_path, format!("`{name}` is set twice"));
            }
        }
    }
}

/// Other values than its own are written to a setting only where it is put back afterwards, or ends with the machine.
pub(crate) fn check_writes(spec: &Spec, settings: &BTreeMap<String, String>, problems: &mut Problems<'_>) {
    let attempts = KeyPath::default().key("attempt");
    for (index, attempt) in spec.attempt.iter().enumerate() {
        let Attempt::SysctlWrite(SysctlWrite { name, value: Some(value), .. }) = attempt else { continue };
        let key_path = attempts.index(index);
        if !settings.contains_key(name) {
            let advice = format!("write `\"{name}\"` in `[vm] sysctl`, or leave `value` out");
            problems.advise(&key_path.key("name"), format!("nobody would put `{name}` back"), advice);
        }
        if (name.as_str(), value.to_string().as_str()) == ONE_WAY && spec.isolation == Isolation::Shared {
            let message = format!("`{}` stays {} until the next boot", ONE_WAY.0, ONE_WAY.1);
            problems.advise(&key_path.key("value"), message, "add `isolation = \"vm\"`");
        }
    }
}

/// Whether a name is that of a setting that a scenario may change; tells if it is not.
pub(crate) fn is_setting(name: &str, key_path: &KeyPath, problems: &mut Problems<'_>) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() < 2 || !parts.iter().all(|part| is_plain_name(part)) {
        let message = format!("`{}` is no kernel setting", name.escape_debug());
        problems.advise(key_path, message, "write its dotted name, such as `kernel.unprivileged_bpf_disabled`");
        return false;
    }
    let allowed = ALLOWED.contains(&parts[0]);
    if !allowed {
        let prefixes = ALLOWED.map(|prefix| format!("`{prefix}.`")).join(", ");
        problems.advise(
            key_path,
            format!("a scenario may not change `{name}`"),
            format!("only settings below {prefixes}"),
        );
    }
    allowed
}

fn check_value(value: &str, key_path: &KeyPath, problems: &mut Problems<'_>) {
    if value.is_empty() || value.len() > 100 || value.chars().any(char::is_control) {
        problems.problem(key_path, "a setting is one line of 1 to 100 bytes");
    }
}
