//! A container that is a unit of systemd.

use std::collections::BTreeMap;

use harness_diagnostics::node::KeyPath;
use harness_protocol::{
    mount_option::MountOption,
    plan::{Assignment, Manager, Unit},
};
use harness_scenario::{
    choice::{Assigned, Capabilities},
    spec::{ContainerKind, ContainerSpec},
};

use crate::expand::problems::Problems;

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
    key_path: &KeyPath,
    problems: &mut Problems<'_>,
) -> Option<Unit> {
    if spec.kind == ContainerKind::Namespaces {
        check_no_unit(spec, key_path, problems);
        return None;
    }
    check_nothing_else(spec, options, key_path, problems);
    let written = assignments(&spec.unit, &key_path.key("unit"), problems);
    let drop_ins = spec.drop_ins.iter().enumerate();
    let drop_ins = drop_ins.map(|(index, keys)| assignments(keys, &key_path.key("drop_ins").index(index), problems));
    let written = (spec.unit_file.is_none() || !written.is_empty()).then_some(written);
    let mut files = file.iter().cloned().chain(written).chain(drop_ins);
    let service = files.next().unwrap_or_default();
    let drop_ins = files.collect();
    if let Some(instance) = spec.instance.as_ref().filter(|instance| !is_instance(instance)) {
        let message = format!("`{}` cannot stand in a unit's name", instance.escape_debug());
        problems.advise(&key_path.key("instance"), message, "letters, digits and `_` of ASCII can, 1 to 64 of them");
    }
    check_nspawn(spec.nspawn.as_deref().unwrap_or_default(), &key_path.key("nspawn"), problems);
    Some(Unit {
        service,
        drop_ins,
        instance: spec.instance.clone(),
        manager: spec.manager,
        nspawn: spec.nspawn.clone(),
    })
}

/// Options that stand in `ExecStart=` as they are: nothing in them is quoted, expanded or another argument.
fn check_nspawn(options: &[String], key_path: &KeyPath, problems: &mut Problems<'_>) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=:,./@+".contains(&byte);
    for (index, option) in options.iter().enumerate() {
        if !option.starts_with("--") || option.len() > LONGEST_OPTION || !option.bytes().all(is_plain) {
            let message = format!("`{}` is no option of systemd-nspawn that can be passed on", option.escape_debug());
            problems.advise(
                &key_path.index(index),
                message,
                "write `--NAME` or `--NAME=VALUE`, without blanks and quotes",
            );
        }
    }
}

/// In bytes.
const LONGEST_OPTION: usize = 256;

/// systemd takes more than that (`VALID_CHARS` in `src/basic/unit-name.c`), and escapes some of it.
fn is_instance(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn assignments(keys: &BTreeMap<String, Assigned>, key_path: &KeyPath, problems: &mut Problems<'_>) -> Vec<Assignment> {
    let mut all = Vec::new();
    for (key, Assigned(values)) in keys {
        let key_path = key_path.key(key);
        check_key(key, &key_path, problems);
        for value in values {
            if value.contains(['\n', '\r', '\0']) || value.ends_with('\\') || value.len() > LONGEST {
                problems
                    .problem(&key_path, format!("a value is one line of at most {LONGEST} bytes that does not go on"));
            }
            all.push(Assignment { key: key.clone(), value: value.clone() });
        }
    }
    all
}

fn check_key(key: &str, key_path: &KeyPath, problems: &mut Problems<'_>) {
    if OURS.contains(&key) {
        problems.advise(key_path, format!("`{key}=` is how the guest program gets into the unit"), "leave it out");
    } else if key.is_empty() || key.len() > 64 || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        problems.problem(key_path, "this cannot stand before `=` in a unit file");
    }
}

fn check_no_unit(spec: &ContainerSpec, key_path: &KeyPath, problems: &mut Problems<'_>) {
    let written = [
        ("unit_file", spec.unit_file.is_some()),
        ("unit", !spec.unit.is_empty()),
        ("drop_ins", !spec.drop_ins.is_empty()),
        ("instance", spec.instance.is_some()),
        ("manager", spec.manager != Manager::System),
        ("nspawn", spec.nspawn.is_some()),
    ];
    for (key, _) in written.iter().filter(|(_, written)| *written) {
        problems.advise(&key_path.key(key), format!("`{key}` says something of a unit"), "write `kind = \"systemd\"`");
    }
}

/// What the guest program would do for a container, systemd does or does not do for its unit.
fn check_nothing_else(spec: &ContainerSpec, options: &[MountOption], key_path: &KeyPath, problems: &mut Problems<'_>) {
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
        problems.advise(
            &key_path.key(key),
            message,
            format!("what systemd is to do stands in `unit`, such as `{instead}`"),
        );
    }
    if !options.is_empty() {
        let message = "a unit has no use for `delegate`";
        problems.advise(
            &KeyPath::default().key("delegate"),
            message,
            "write `BPFDelegateCommands=` and the like in `unit`",
        );
    }
}
