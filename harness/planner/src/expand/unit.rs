//! Expands a container that is a systemd unit.

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

use crate::expand::{problems::Problems, setting};

/// The longest value of an assignment, in bytes. systemd's own limit is 1 MiB per line (`LONG_LINE_MAX`,
/// `src/basic/def.h`).
const LONGEST: usize = 64 * 1024;

/// Keys that the guest program sets itself, because it could not reach its process otherwise.
const OURS: [&str; 3] = ["ExecStart", "Type", "OpenFile"];

/// Returns the unit of a container; `None` if it is not a unit.
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
        let message = format!("`{}` is not a valid instance name", instance.escape_debug());
        problems.advise(&key_path.key("instance"), message, "use 1 to 64 ASCII letters, digits and `_`");
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

/// Checks that options can be written in `ExecStart=` as they are: nothing in them is quoted, expanded or split.
fn check_nspawn(options: &[String], key_path: &KeyPath, problems: &mut Problems<'_>) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=:,./@+".contains(&byte);
    for (index, option) in options.iter().enumerate() {
        if !option.starts_with("--") || option.len() > LONGEST_OPTION || !option.bytes().all(is_plain) {
            let message = format!("`{}` cannot be passed to systemd-nspawn", option.escape_debug());
            problems.advise(
                &key_path.index(index),
                message,
                "write `--NAME` or `--NAME=VALUE`, without spaces and quotes",
            );
        }
    }
}

/// The longest option, in bytes.
const LONGEST_OPTION: usize = 256;

/// Whether a text can be an instance name. systemd accepts more (`VALID_CHARS` in `src/basic/unit-name.c`) and escapes
/// some of it.
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
                problems.problem(
                    &key_path,
                    format!("a value is one line of at most {LONGEST} bytes, without a `\\` at its end"),
                );
            }
            all.push(Assignment { key: key.clone(), value: value.clone() });
        }
    }
    all
}

fn check_key(key: &str, key_path: &KeyPath, problems: &mut Problems<'_>) {
    if OURS.contains(&key) {
        problems.advise(key_path, format!("the guest program sets `{key}=` itself"), "remove it");
    } else if key.is_empty() || key.len() > 64 || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        problems.problem(key_path, format!("`{}` is not a valid key of a unit file", key.escape_debug()));
    } else if let Some(meant) = setting::meant(key) {
        problems.advise(key_path, format!("systemd has no setting `{key}`"), format!("did you mean `{meant}`?"));
    }
}

fn check_no_unit(spec: &ContainerSpec, key_path: &KeyPath, problems: &mut Problems<'_>) {
    if !problems.is_complete(key_path) {
        return;
    }
    let written = [
        ("unit_file", spec.unit_file.is_some()),
        ("unit", !spec.unit.is_empty()),
        ("drop_ins", !spec.drop_ins.is_empty()),
        ("instance", spec.instance.is_some()),
        ("manager", spec.manager != Manager::System),
        ("nspawn", spec.nspawn.is_some()),
    ];
    for (key, _) in written.iter().filter(|(_, written)| *written) {
        problems.advise(
            &key_path.key(key),
            format!("`{key}` applies only to systemd units"),
            "add `kind = \"systemd\"`",
        );
    }
}

/// Rejects keys that the guest program implements for other containers: a unit is set up by systemd.
fn check_nothing_else(spec: &ContainerSpec, options: &[MountOption], key_path: &KeyPath, problems: &mut Problems<'_>) {
    let usual = ContainerSpec::default();
    let written = [
        ("uid", spec.uid != usual.uid, "User="),
        ("loginuid", spec.loginuid.is_some(), "PAMName="),
        ("namespaces", !spec.namespaces.is_empty(), "PrivateNetwork="),
        ("caps", spec.caps != Capabilities::All, "CapabilityBoundingSet="),
        ("parent", spec.parent.is_some(), "RootDirectory="),
        ("unshare", spec.unshare != usual.unshare, "PrivateUsers="),
        ("no_new_privs", spec.no_new_privs, "NoNewPrivileges="),
        ("seccomp", spec.seccomp.is_some(), "SystemCallFilter="),
    ];
    for (key, _, instead) in written.iter().filter(|(_, written, _)| *written) {
        let message = format!("`{key}` does not apply to units");
        problems.advise(&key_path.key(key), message, format!("use `unit` instead, for example `{instead}`"));
    }
    if !options.is_empty() {
        let message = "`delegate` does not apply to units";
        problems.advise(
            &KeyPath::default().key("delegate"),
            message,
            "use `unit` instead, for example `BPFDelegateCommands=`",
        );
    }
}
