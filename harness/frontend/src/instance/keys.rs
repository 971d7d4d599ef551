//! The meaning of the keys of a `config`.

use std::collections::BTreeMap;

use harness_uapi::vocabulary::Kind;

use super::walk::{Entry, Item};
use crate::{
    configuration::{Bpffs, Configuration, Effect, MOUNT_POINT},
    execution_context::{ExecutionContext, Setting, SystemCall, UserNamespace},
    frontend::Frontend,
    lxc,
    names::Names,
    options::{self, Lists},
    source::Location,
    text::shown,
};

/// The keys of one of the two programs.
pub(crate) struct Dialect {
    /// Their prefix.
    pub(crate) prefix: &'static str,
    /// The prefix of the other program's keys, and its name.
    others: (&'static str, &'static str),
    /// The keys of the four options.
    options: [&'static str; 4],
    /// The other key: the mount point of the bpffs for Incus, the switch that makes LXD mount one.
    pub(super) bpffs: &'static str,
    lists: Lists,
    /// Determines whether there is a bpffs.
    mount: fn(&BTreeMap<&str, &Entry>, &mut Configuration),
}

impl Dialect {
    pub(super) const fn option(&self, kind: Kind) -> &'static str {
        self.options[kind as usize]
    }
}

pub(super) const INCUS_KEYS: Dialect = Dialect {
    prefix: "security.bpffs.",
    others: ("security.delegate_bpf", "LXD"),
    options: [
        "security.bpffs.delegate_cmds",
        "security.bpffs.delegate_maps",
        "security.bpffs.delegate_progs",
        "security.bpffs.delegate_attachs",
    ],
    bpffs: "security.bpffs.path",
    lists: Lists::Commas,
    mount: incus,
};

pub(super) const LXD_KEYS: Dialect = Dialect {
    prefix: "security.delegate_bpf",
    others: ("security.bpffs.", "Incus"),
    options: [
        "security.delegate_bpf.cmd_types",
        "security.delegate_bpf.map_types",
        "security.delegate_bpf.prog_types",
        "security.delegate_bpf.attach_types",
    ],
    bpffs: "security.delegate_bpf",
    lists: Lists::Colons,
    mount: lxd,
};

pub(super) fn configuration(
    frontend: Frontend,
    dialect: &Dialect,
    item: &Item,
    label: &str,
    names: &Names<'_>,
) -> Configuration {
    let file = label.rsplit('/').next().unwrap_or(label);
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let mut read = Configuration::new(frontend, item.name.as_deref().unwrap_or(stem));
    read.execution_context = ExecutionContext::of_container();
    // The last of several entries of a key counts.
    let entries: BTreeMap<&str, &Entry> = item.config.iter().map(|entry| (entry.key.as_str(), entry)).collect();
    for kind in Kind::ALL {
        let entry = entries.get(dialect.option(kind));
        if let Some(entry) = entry.filter(|entry| !entry.value.as_str().is_empty()) {
            options::assign(&mut read, kind, &entry.value, entry.location.clone(), dialect.lists, names);
        }
    }
    (dialect.mount)(&entries, &mut read);
    for unknown in &item.unknown {
        read.unknown_value(unknown.whole(), unknown.as_str(), None);
    }
    execution_context(&entries, &mut read);
    unknown_keys(dialect, &item.config, &mut read);
    read
}

/// Determines the bpffs of Incus, which creates the mount point if it is missing (`cmd/incusd/main_forkbpf.go`).
fn incus(entries: &BTreeMap<&str, &Entry>, read: &mut Configuration) {
    let path = entries.get(INCUS_KEYS.bpffs).filter(|entry| !entry.value.as_str().is_empty());
    let first = read.delegated.iter().flatten().map(|assignment| assignment.location.clone()).next();
    read.bpffs = match (path, first) {
        (Some(path), Some(_)) => Some(Bpffs { path: path.value.as_str().to_owned(), location: path.location.clone() }),
        (None, Some(location)) => Some(Bpffs { path: MOUNT_POINT.to_owned(), location }),
        (Some(path), None) => {
            let message =
                format!("{} has no effect: Incus mounts a bpffs only if something is delegated", INCUS_KEYS.bpffs);
            read.problem(path.location.clone(), Effect::IgnoredSilently, message);
            None
        }
        (None, None) => None,
    };
}

fn lxd(entries: &BTreeMap<&str, &Entry>, read: &mut Configuration) {
    match entries.get(LXD_KEYS.bpffs).filter(|entry| is_true(entry.value.as_str())) {
        Some(switch) => read.bpffs = Some(Bpffs { path: MOUNT_POINT.to_owned(), location: switch.location.clone() }),
        None => {
            let locations: Vec<Location> =
                read.delegated.iter().flatten().map(|assignment| assignment.location.clone()).collect();
            for location in locations {
                let message = format!("this has no effect without {}: \"true\"", LXD_KEYS.bpffs);
                read.problem(location, Effect::IgnoredSilently, message);
            }
        }
    }
}

fn execution_context(entries: &BTreeMap<&str, &Entry>, read: &mut Configuration) {
    if let Some(entry) = entries.get("security.privileged").filter(|entry| is_true(entry.value.as_str())) {
        read.execution_context.user_namespace = Setting::assigned(UserNamespace::Host, entry.location.clone());
    }
    if let Some(entry) = entries.get("environment.LIBBPF_BPF_TOKEN_PATH") {
        let path = Setting::assigned(entry.value.as_str().to_owned(), entry.location.clone());
        read.execution_context.token_path = Some(path);
    }
    if let Some(entry) = entries.get("raw.lxc") {
        lxc::apply(&entry.value, read);
    }
    let listed = |key: &str| entries.get(key).filter(|entry| !entry.value.as_str().trim().is_empty());
    let denied = ["security.syscalls.deny", "security.syscalls.blacklist"].into_iter().find_map(listed);
    let allowed = ["security.syscalls.allow", "security.syscalls.whitelist"].into_iter().find_map(listed);
    let raw = entries.get("raw.seccomp");
    for call in SystemCall::ALL {
        if let Some(raw) = raw.filter(|raw| refuses(raw.value.as_str(), call)) {
            read.execution_context.refused_calls.insert(call, raw.location.clone());
        }
        let by = match (allowed, denied) {
            (Some(list), _) if !names(list, call) => Some(list),
            (None, Some(list)) if names(list, call) => Some(list),
            _ => None,
        };
        if let Some(list) = by {
            read.execution_context.refused_calls.insert(call, list.location.clone());
        }
    }
}

/// Whether a seccomp policy of LXC refuses a system call: its version, then `denylist` or `allowlist`, then a line for each
/// call (lxc.container.conf(5), "Seccomp").
fn refuses(policy: &str, call: SystemCall) -> bool {
    let mut lines = policy.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).skip(1);
    let Some(kind) = lines.next().and_then(|line| line.split_whitespace().next()) else { return false };
    let allows = matches!(kind, "allowlist" | "whitelist");
    let mut listed = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some(call.name())).then(|| words.next())
    });
    match (allows, listed.next()) {
        (true, action) => action.is_none(),
        (false, action) => action.is_some_and(|action| action != Some("allow")),
    }
}

/// Whether a list has a system call: one per line, optionally followed by whitespace and an action.
fn names(entry: &Entry, call: SystemCall) -> bool {
    entry.value.as_str().lines().any(|line| line.split_whitespace().next() == Some(call.name()))
}

/// Reports keys of the other program, which this one does not have, and misspelled keys.
fn unknown_keys(dialect: &Dialect, config: &[Entry], read: &mut Configuration) {
    let (theirs, other) = dialect.others;
    let mut refuse = |entry: &Entry, message: String| read.problem(entry.location.clone(), Effect::Refused, message);
    for entry in config.iter().filter(|entry| entry.key.starts_with(theirs)) {
        refuse(entry, format!("`{}` is a key of {other}", shown(&entry.key)));
    }
    let is_known = |key: &str| key == dialect.bpffs || dialect.options.contains(&key);
    for entry in config.iter().filter(|entry| entry.key.starts_with(dialect.prefix) && !is_known(&entry.key)) {
        refuse(entry, format!("unknown key `{}`", shown(&entry.key)));
    }
}

/// Parses a boolean (`shared/util`, `IsTrue`).
fn is_true(text: &str) -> bool {
    ["true", "1", "yes", "on"].iter().any(|word| word.eq_ignore_ascii_case(text))
}
