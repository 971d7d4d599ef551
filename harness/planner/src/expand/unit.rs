//! A container that is a unit of systemd.

use std::collections::BTreeMap;

use harness_diagnostics::node::Place;
use harness_protocol::{
    mount_option::MountOption,
    plan::{Assignment, Manager, Unit},
};
use harness_scenario::{
    choice::{Assigned, Capabilities},
    spec::{ContainerSpec, Kind},
};

use crate::expand::sink::Sink;

/// The longest value of an assignment, in bytes; systemd reads lines of a mebibyte (`LONG_LINE_MAX`,
/// `src/basic/def.h`).
const LONGEST: usize = 64 * 1024;

/// What the guest assigns itself: it would not reach its process otherwise.
const OURS: [&str; 3] = ["ExecStart", "Type", "OpenFile"];

/// The unit a container is to be; `None` if systemd has no part in it.
pub(crate) fn of(
    spec: &ContainerSpec,
    file: &[Vec<Assignment>],
    options: &[MountOption],
    place: &Place,
    sink: &mut Sink<'_>,
) -> Option<Unit> {
    if spec.kind == Kind::Namespaces {
        check_no_unit(spec, place, sink);
        return None;
    }
    check_nothing_else(spec, options, place, sink);
    let written = assignments(&spec.unit, &place.key("unit"), sink);
    let drop_ins = spec.drop_ins.iter().enumerate();
    let drop_ins = drop_ins.map(|(index, keys)| assignments(keys, &place.key("drop_ins").index(index), sink));
    let written = (spec.unit_file.is_none() || !written.is_empty()).then_some(written);
    let mut files = file.iter().cloned().chain(written).chain(drop_ins);
    let service = files.next().unwrap_or_default();
    let drop_ins = files.collect();
    if let Some(instance) = spec.instance.as_ref().filter(|instance| !is_instance(instance)) {
        let message = format!("`{}` cannot stand in a unit's name", instance.escape_debug());
        sink.advise(&place.key("instance"), message, "letters, digits and `_` of ASCII can, 1 to 64 of them");
    }
    check_nspawn(spec.nspawn.as_deref().unwrap_or_default(), &place.key("nspawn"), sink);
    Some(Unit {
        service,
        drop_ins,
        instance: spec.instance.clone(),
        manager: spec.manager,
        nspawn: spec.nspawn.clone(),
    })
}

/// Options that stand in `ExecStart=` as they are: nothing in them is quoted, expanded or another argument.
fn check_nspawn(options: &[String], place: &Place, sink: &mut Sink<'_>) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=:,./@+".contains(&byte);
    for (index, option) in options.iter().enumerate() {
        if !option.starts_with("--") || option.len() > LONGEST_OPTION || !option.bytes().all(is_plain) {
            let message = format!("`{}` is no option of systemd-nspawn that can be passed on", option.escape_debug());
            sink.advise(&place.index(index), message, "write `--NAME` or `--NAME=VALUE`, without blanks and quotes");
        }
    }
}

/// In bytes.
const LONGEST_OPTION: usize = 256;

/// systemd takes more than that (`VALID_CHARS` in `src/basic/unit-name.c`), and escapes some of it.
fn is_instance(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn assignments(keys: &BTreeMap<String, Assigned>, place: &Place, sink: &mut Sink<'_>) -> Vec<Assignment> {
    let mut all = Vec::new();
    for (key, Assigned(values)) in keys {
        let place = place.key(key);
        check_key(key, &place, sink);
        for value in values {
            if value.contains(['\n', '\r', '\0']) || value.ends_with('\\') || value.len() > LONGEST {
                sink.problem(&place, format!("a value is one line of at most {LONGEST} bytes that does not go on"));
            }
            all.push(Assignment { key: key.clone(), value: value.clone() });
        }
    }
    all
}

fn check_key(key: &str, place: &Place, sink: &mut Sink<'_>) {
    if OURS.contains(&key) {
        sink.advise(place, format!("`{key}=` is how the guest program gets into the unit"), "leave it out");
    } else if key.is_empty() || key.len() > 64 || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        sink.problem(place, "this cannot stand before `=` in a unit file");
    }
}

fn check_no_unit(spec: &ContainerSpec, place: &Place, sink: &mut Sink<'_>) {
    let written = [
        ("unit_file", spec.unit_file.is_some()),
        ("unit", !spec.unit.is_empty()),
        ("drop_ins", !spec.drop_ins.is_empty()),
        ("instance", spec.instance.is_some()),
        ("manager", spec.manager != Manager::System),
        ("nspawn", spec.nspawn.is_some()),
    ];
    for (key, _) in written.iter().filter(|(_, written)| *written) {
        sink.advise(&place.key(key), format!("`{key}` says something of a unit"), "write `kind = \"systemd\"`");
    }
}

/// What the guest program would do for a container, systemd does or does not do for its unit.
fn check_nothing_else(spec: &ContainerSpec, options: &[MountOption], place: &Place, sink: &mut Sink<'_>) {
    let usual = ContainerSpec::default();
    let written = [
        ("uid", spec.uid != usual.uid, "User="),
        ("namespaces", !spec.namespaces.is_empty(), "PrivateNetwork="),
        ("caps", spec.caps != Capabilities::All, "CapabilityBoundingSet="),
        ("parent", spec.parent.is_some(), "RootDirectory="),
        ("unshare", spec.unshare != usual.unshare, "PrivateUsers="),
        ("no_new_privs", spec.no_new_privs, "NoNewPrivileges="),
        ("seccomp", spec.seccomp.is_some(), "SystemCallFilter="),
    ];
    for (key, _, instead) in written.iter().filter(|(_, written, _)| *written) {
        let message = format!("a unit has no use for `{key}`");
        sink.advise(&place.key(key), message, format!("what systemd is to do stands in `unit`, such as `{instead}`"));
    }
    if !options.is_empty() {
        let message = "a unit has no use for `delegate`";
        sink.advise(&Place::default().key("delegate"), message, "write `BPFDelegateCommands=` and the like in `unit`");
    }
}
