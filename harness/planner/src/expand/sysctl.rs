//! The kernel settings of a scenario.

use std::collections::BTreeMap;

use harness_diagnostics::node::Place;
use harness_scenario::{
    attempt::{Attempt, SysctlWrite},
    choice::Setting,
    spec::{Isolation, Spec},
};

use crate::expand::{objects::is_plain_name, sink::Sink};

/// Settings a scenario may change begin with one of these.
const ALLOWED: [&str; 5] = ["kernel", "net", "user", "vm", "fs"];

/// A setting that stays until the next boot once it is 1 (`Documentation/admin-guide/sysctl/kernel.rst`).
const ONE_WAY: (&str, &str) = ("kernel.unprivileged_bpf_disabled", "1");

/// All settings by dotted name.
pub(crate) fn settings(spec: &Spec, sink: &mut Sink<'_>) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    let place = Place::default().key("vm").key("sysctl");
    for (key, setting) in &spec.vm.sysctl {
        flatten(key, setting, &place.key(key), &mut flat, sink);
    }
    let one_way = flat.get(ONE_WAY.0).is_some_and(|value| value.trim() == ONE_WAY.1);
    if one_way && spec.isolation == Isolation::Shared {
        let message = format!("`{}` stays {} until the next boot", ONE_WAY.0, ONE_WAY.1);
        sink.advise(&place, message, "add `isolation = \"vm\"`");
    }
    if spec.vm.lockdown.is_some() && spec.isolation == Isolation::Shared {
        let place = Place::default().key("vm").key("lockdown");
        sink.advise(&place, "a kernel stays locked down until the next boot", "add `isolation = \"vm\"`");
    }
    flat
}

fn flatten(name: &str, setting: &Setting, place: &Place, flat: &mut BTreeMap<String, String>, sink: &mut Sink<'_>) {
    match setting {
        Setting::Group(members) => {
            for (key, member) in members {
                flatten(&format!("{name}.{key}"), member, &place.key(key), flat, sink);
            }
        }
        Setting::Value(value) => {
            is_setting(name, place, sink);
            check_value(value, place, sink);
            if flat.insert(name.to_owned(), value.clone()).is_some() {
                sink.problem(place, format!("`{name}` is set twice"));
            }
        }
    }
}

/// Other values than its own are written to a setting only where it is put back afterwards, or ends with the machine.
pub(crate) fn check_writes(spec: &Spec, settings: &BTreeMap<String, String>, sink: &mut Sink<'_>) {
    let attempts = Place::default().key("attempt");
    for (index, attempt) in spec.attempt.iter().enumerate() {
        let Attempt::SysctlWrite(SysctlWrite { name, value: Some(value), .. }) = attempt else { continue };
        let place = attempts.index(index);
        if !settings.contains_key(name) {
            let advice = format!("write `\"{name}\"` in `[vm] sysctl`, or leave `value` out");
            sink.advise(&place.key("name"), format!("nobody would put `{name}` back"), advice);
        }
        if (name.as_str(), value.to_string().as_str()) == ONE_WAY && spec.isolation == Isolation::Shared {
            let message = format!("`{}` stays {} until the next boot", ONE_WAY.0, ONE_WAY.1);
            sink.advise(&place.key("value"), message, "add `isolation = \"vm\"`");
        }
    }
}

/// Whether a name is that of a setting that a scenario may change; tells if it is not.
pub(crate) fn is_setting(name: &str, place: &Place, sink: &mut Sink<'_>) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    if parts.len() < 2 || !parts.iter().all(|part| is_plain_name(part)) {
        let message = format!("`{}` is no kernel setting", name.escape_debug());
        sink.advise(place, message, "write its dotted name, such as `kernel.unprivileged_bpf_disabled`");
        return false;
    }
    let allowed = ALLOWED.contains(&parts[0]);
    if !allowed {
        let prefixes = ALLOWED.map(|prefix| format!("`{prefix}.`")).join(", ");
        sink.advise(place, format!("a scenario may not change `{name}`"), format!("only settings below {prefixes}"));
    }
    allowed
}

fn check_value(value: &str, place: &Place, sink: &mut Sink<'_>) {
    if value.is_empty() || value.len() > 100 || value.chars().any(char::is_control) {
        sink.problem(place, "a setting is one line of 1 to 100 bytes");
    }
}
