//! What the keys of a `config` mean.

use std::collections::BTreeMap;

use harness_model::vocabulary::Kind;

use super::walk::{Entry, Item};
use crate::{
    configuration::{Bpffs, Configuration, Effect},
    frontend::Frontend,
    names::Names,
    options::{self, Lists},
    source::Place,
    surroundings::{Setting, Surroundings, SystemCall, UserNamespace},
    unit::MOUNT_POINT,
};

/// The key that delegates names of this kind; `None` for another front-end.
pub(crate) fn option_of(frontend: Frontend, kind: Kind) -> Option<String> {
    match frontend {
        Frontend::Incus => Some(format!("security.bpffs.delegate_{}", kind.plural())),
        Frontend::Lxd => Some(format!("security.delegate_bpf.{}_types", word(kind))),
        _ => None,
    }
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Cmd => "cmd",
        Kind::Map => "map",
        Kind::Prog => "prog",
        Kind::Attach => "attach",
    }
}

/// The key that says where Incus mounts the bpffs.
pub(crate) const INCUS_PATH: &str = "security.bpffs.path";
/// The key that makes LXD mount one.
pub(crate) const LXD_SWITCH: &str = "security.delegate_bpf";

pub(super) fn configuration(frontend: Frontend, item: &Item, label: &str, names: &Names<'_>) -> Configuration {
    let file = label.rsplit('/').next().unwrap_or(label);
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let mut read = Configuration::new(frontend, item.name.as_deref().unwrap_or(stem));
    read.surroundings = Surroundings::of_container();
    // The last of several entries of a key counts.
    let entries: BTreeMap<&str, &Entry> = item.config.iter().map(|entry| (entry.key.as_str(), entry)).collect();
    let lists = if frontend == Frontend::Incus { Lists::Commas } else { Lists::Colons };
    for kind in Kind::ALL {
        let entry = option_of(frontend, kind).and_then(|key| entries.get(key.as_str()).copied());
        if let Some(entry) = entry.filter(|entry| !entry.value.as_str().is_empty()) {
            options::assign(&mut read, kind, &entry.value, entry.place.clone(), lists, names);
        }
    }
    match frontend {
        Frontend::Incus => incus(&entries, &mut read),
        _ => lxd(&entries, &mut read),
    }
    surroundings(&entries, &mut read);
    of_the_other(frontend, &item.config, &mut read);
    read
}

/// `cmd/incusd/main_forkbpf.go`: the mount point is made if it is not there.
fn incus(entries: &BTreeMap<&str, &Entry>, read: &mut Configuration) {
    let path = entries.get(INCUS_PATH).filter(|entry| !entry.value.as_str().is_empty());
    let first = read.delegated.iter().flatten().map(|assignment| assignment.place.clone()).next();
    read.bpffs = match (path, first) {
        (Some(path), Some(_)) => Some(Bpffs { path: path.value.as_str().to_owned(), place: path.place.clone() }),
        (None, Some(place)) => Some(Bpffs { path: MOUNT_POINT.to_owned(), place }),
        (Some(path), None) => {
            let message = format!("{INCUS_PATH} does nothing: Incus mounts no bpffs that delegates nothing");
            read.problem(path.place.clone(), Effect::IgnoredSilently, message);
            None
        }
        (None, None) => None,
    };
}

fn lxd(entries: &BTreeMap<&str, &Entry>, read: &mut Configuration) {
    match entries.get(LXD_SWITCH).filter(|entry| is_true(entry.value.as_str())) {
        Some(switch) => read.bpffs = Some(Bpffs { path: MOUNT_POINT.to_owned(), place: switch.place.clone() }),
        None => {
            let places: Vec<Place> =
                read.delegated.iter().flatten().map(|assignment| assignment.place.clone()).collect();
            for place in places {
                let message = format!("this does nothing without {LXD_SWITCH}: \"true\"");
                read.problem(place, Effect::IgnoredSilently, message);
            }
        }
    }
}

fn surroundings(entries: &BTreeMap<&str, &Entry>, read: &mut Configuration) {
    if let Some(entry) = entries.get("security.privileged").filter(|entry| is_true(entry.value.as_str())) {
        read.surroundings.user_namespace = Setting::said(UserNamespace::Host, entry.place.clone());
    }
    let listed = |key: &str| entries.get(key).filter(|entry| !entry.value.as_str().trim().is_empty());
    let denied = ["security.syscalls.deny", "security.syscalls.blacklist"].into_iter().find_map(listed);
    let allowed = ["security.syscalls.allow", "security.syscalls.whitelist"].into_iter().find_map(listed);
    for call in SystemCall::ALL {
        let by = match (allowed, denied) {
            (Some(list), _) if !names(list, call) => Some(list),
            (None, Some(list)) if names(list, call) => Some(list),
            _ => None,
        };
        if let Some(list) = by {
            read.surroundings.refused_calls.insert(call, list.place.clone());
        }
    }
}

/// Whether a list has a system call: one a line, with what is to be done about it after a blank.
fn names(entry: &Entry, call: SystemCall) -> bool {
    entry.value.as_str().lines().any(|line| line.split_whitespace().next() == Some(call.name()))
}

/// Keys of the respective other program, which do not exist in this one.
fn of_the_other(frontend: Frontend, config: &[Entry], read: &mut Configuration) {
    let (prefix, other) = match frontend {
        Frontend::Incus => (LXD_SWITCH, "LXD"),
        _ => ("security.bpffs.", "Incus"),
    };
    for entry in config.iter().filter(|entry| entry.key.starts_with(prefix)) {
        read.problem(
            entry.place.clone(),
            Effect::Refused,
            format!("`{}` is a key of {other}", crate::unit::shown(&entry.key)),
        );
    }
    let known = |key: &str| Kind::ALL.into_iter().any(|kind| option_of(frontend, kind).as_deref() == Some(key));
    let own = if frontend == Frontend::Incus { "security.bpffs." } else { LXD_SWITCH };
    let misspelt = |entry: &&Entry| {
        entry.key.starts_with(own) && !known(&entry.key) && entry.key != INCUS_PATH && entry.key != LXD_SWITCH
    };
    for entry in config.iter().filter(misspelt) {
        read.problem(
            entry.place.clone(),
            Effect::Refused,
            format!("there is no key `{}`", crate::unit::shown(&entry.key)),
        );
    }
}

/// `shared/util`, `IsTrue`.
fn is_true(text: &str) -> bool {
    ["true", "1", "yes", "on"].iter().any(|word| word.eq_ignore_ascii_case(text))
}
