//! Expands the kernel settings of a scenario.

use std::collections::BTreeMap;

use harness_diagnostics::node::KeyPath;
use harness_protocol::plan::Reader;
use harness_scenario::{
    attempt::{Attempt, SysctlWrite},
    choice::Setting,
    spec::{Isolation, Spec},
};

use crate::expand::{objects::is_plain_name, problems::Problems};

/// The first parts of the settings that a scenario may change.
const ALLOWED: [&str; 5] = ["kernel", "net", "user", "vm", "fs"];

/// A setting that cannot be changed again until the next boot once it is 1
/// (`Documentation/admin-guide/sysctl/kernel.rst`).
const ONE_WAY: (&str, &str) = ("kernel.unprivileged_bpf_disabled", "1");

/// Returns all settings by dotted name.
pub(crate) fn settings(spec: &Spec, problems: &mut Problems<'_>) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    let key_path = KeyPath::default().key("vm").key("sysctl");
    for (key, setting) in &spec.vm.sysctl {
        flatten(key, setting, &key_path.key(key), &mut flat, problems);
    }
    let one_way = flat.get(ONE_WAY.0).is_some_and(|value| value.trim() == ONE_WAY.1);
    let shares_boot = shares_boot(spec, problems);
    if one_way && shares_boot {
        let message = format!("`{}` cannot be changed back from {} until the next boot", ONE_WAY.0, ONE_WAY.1);
        problems.advise(&key_path, message, "add `isolation = \"vm\"`");
    }
    if spec.vm.lockdown.is_some() && shares_boot {
        let key_path = KeyPath::default().key("vm").key("lockdown");
        problems.advise(&key_path, "a lockdown lasts until the next boot", "add `isolation = \"vm\"`");
    }
    if spec.vm.guard.as_ref().is_some_and(|guard| guard.early) && shares_boot {
        let key_path = KeyPath::default().key("vm").key("guard").key("early");
        problems.advise(&key_path, "an early guard lasts until the next boot", "add `isolation = \"vm\"`");
    }
    guard(spec, shares_boot, problems);
    if spec.vm.memory_mib.is_some() && shares_boot {
        let key_path = KeyPath::default().key("vm").key("memory_mib");
        problems.advise(&key_path, "other scenarios of the boot have another memory", "add `isolation = \"vm\"`");
    }
    if spec.vm.guard.as_ref().is_some_and(|guard| guard.early && guard.reader != Reader::Reads) {
        let key_path = KeyPath::default().key("vm").key("guard").key("reader");
        problems.problem(&key_path, "`reader` cannot be combined with `early`: that guard lets nobody stop its reader");
    }
    flat
}

/// Checks a guard that is pinned.
fn guard(spec: &Spec, shares_boot: bool, problems: &mut Problems<'_>) {
    let Some(guard) = spec.vm.guard.as_ref().filter(|guard| guard.pinned) else { return };
    let key_path = KeyPath::default().key("vm").key("guard").key("pinned");
    if guard.early {
        problems.problem(&key_path, "an early guard is pinned anyway, where no path leads");
    } else if shares_boot {
        problems.advise(&key_path, "a pinned guard lasts until the next boot", "add `isolation = \"vm\"`");
    }
}

/// Whether other scenarios may run in the same boot, for all that is known.
fn shares_boot(spec: &Spec, problems: &Problems<'_>) -> bool {
    spec.isolation == Isolation::Shared && problems.is_complete(&KeyPath::default().key("isolation"))
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

/// Checks that each setting that an attempt changes is restored afterwards, or ends with its VM.
pub(crate) fn check_writes(spec: &Spec, settings: &BTreeMap<String, String>, problems: &mut Problems<'_>) {
    let attempts = KeyPath::default().key("attempt");
    let all_known = problems.is_whole(&KeyPath::default().key("vm"));
    for (index, attempt) in spec.attempt.iter().enumerate() {
        let Attempt::SysctlWrite(SysctlWrite { name, value: Some(value), .. }) = attempt else { continue };
        let key_path = attempts.index(index);
        if !settings.contains_key(name) && all_known {
            let advice = format!("add `\"{name}\"` to `[vm] sysctl`, or leave out `value`");
            problems.advise(&key_path.key("name"), format!("`{name}` would not be restored"), advice);
        }
        if (name.as_str(), value.to_string().as_str()) == ONE_WAY && shares_boot(spec, problems) {
            let message = format!("`{}` cannot be changed back from {} until the next boot", ONE_WAY.0, ONE_WAY.1);
            problems.advise(&key_path.key("value"), message, "add `isolation = \"vm\"`");
        }
    }
}

/// Whether a scenario may change the setting of this name; reports a problem if not.
pub(crate) fn is_setting(name: &str, key_path: &KeyPath, problems: &mut Problems<'_>) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() < 2 || !parts.iter().all(|part| is_plain_name(part)) {
        let message = format!("`{}` is not a kernel setting", name.escape_debug());
        problems.advise(key_path, message, "write its dotted name, for example `kernel.unprivileged_bpf_disabled`");
        return false;
    }
    let allowed = ALLOWED.contains(&parts[0]);
    if !allowed {
        let prefixes = ALLOWED.map(|prefix| format!("`{prefix}.`")).join(", ");
        problems.advise(
            key_path,
            format!("a scenario may not change `{name}`"),
            format!("it may change settings below {prefixes}"),
        );
    }
    allowed
}

fn check_value(value: &str, key_path: &KeyPath, problems: &mut Problems<'_>) {
    if value.is_empty() || value.len() > 100 || value.chars().any(char::is_control) {
        problems.problem(key_path, "a setting is one line of 1 to 100 bytes");
    }
}
