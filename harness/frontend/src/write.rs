//! Configurations as text that a person pastes: what is delegated, in the spelling that its reader takes.

mod pasted;

use std::str::FromStr;

use harness_model::{
    delegation::{Delegation, LONGEST_VALUE, OPTIONS, numbers, options_of},
    vocabulary::Kind,
};
use thiserror::Error;

pub use pasted::pasted;

use crate::{
    frontend::Frontend,
    instance::{INCUS_PATH, LXD_SWITCH, option_of},
    names::Names,
    shell::quoted,
    unit::{MOUNT_POINT, setting_of},
};

/// What a configuration can be written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A drop-in of a service.
    Systemd,
    /// `incus config set`.
    Incus,
    /// `lxc config set`.
    Lxd,
    /// `mount -t bpf`.
    Mount,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Systemd, Self::Incus, Self::Lxd, Self::Mount];

    /// The word for it on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Incus => "incus",
            Self::Lxd => "lxd",
            Self::Mount => "mount",
        }
    }

    /// Who reads what is written.
    pub const fn frontend(self) -> Frontend {
        match self {
            Self::Systemd => Frontend::Systemd,
            Self::Incus => Frontend::Incus,
            Self::Lxd => Frontend::Lxd,
            Self::Mount => Frontend::Mount,
        }
    }
}

/// A word for something that nothing is written for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("nothing can be written for `{0}`: it is one of systemd, incus, lxd and mount")]
pub struct UnknownTarget(String);

impl FromStr for Target {
    type Err = UnknownTarget;

    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        let named = Self::ALL.into_iter().find(|target| target.name() == text);
        named.ok_or_else(|| UnknownTarget(text.chars().take(100).collect()))
    }
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The instance or unit; a placeholder stands for it if it is empty.
    pub name: &'a str,
    /// Where the bpffs is to be mounted in the container.
    pub path: &'a str,
    /// The masks; all 64 bits are written `any`.
    pub delegation: Delegation,
}

impl Wanted<'_> {
    /// This delegation, at the usual place, for a container without a name.
    pub const fn of(delegation: Delegation) -> Self {
        Self { name: "", path: MOUNT_POINT, delegation }
    }
}

/// Something that the written text does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost(pub String);

/// Writes a configuration: names where there are any, a mask for other bits. What cannot be said is told.
///
/// The text ends in a line feed. For systemd it has what a token needs beside the delegation: a user namespace, and a mount
/// namespace that belongs to it.
pub fn write(target: Target, wanted: &Wanted<'_>, names: &Names<'_>) -> (String, Vec<Lost>) {
    match target {
        Target::Systemd => drop_in(wanted, names),
        Target::Incus => incus(wanted, names),
        Target::Lxd => lxd(wanted, names),
        Target::Mount => (mount(wanted, names), Vec::new()),
    }
}

/// What a kind's bits are called.
enum Spelled {
    Nothing,
    Any,
    /// The names, and the bits without one.
    Names(Vec<String>, u64),
}

fn spelled(mask: u64, name: impl Fn(u32) -> Option<String>) -> Spelled {
    match mask {
        0 => Spelled::Nothing,
        u64::MAX => Spelled::Any,
        _ => {
            let (mut names, mut rest) = (Vec::new(), 0);
            for bit in numbers(mask) {
                match name(bit) {
                    Some(name) => names.push(name),
                    None => rest |= 1 << bit,
                }
            }
            Spelled::Names(names, rest)
        }
    }
}

fn drop_in(wanted: &Wanted<'_>, names: &Names<'_>) -> (String, Vec<Lost>) {
    let mut lost = elsewhere(wanted, "systemd");
    let mut text =
        "[Service]\nPrivateBPF=yes\nPrivateUsers=yes\nPrivateMounts=yes\nDelegateNamespaces=mnt\n".to_owned();
    for (kind, mask) in Kind::ALL.into_iter().zip(wanted.delegation.masks()) {
        let setting = setting_of(kind);
        match spelled(mask, |bit| names.systemd(kind, bit)) {
            Spelled::Nothing => {}
            Spelled::Any => text += &format!("{setting}=any\n"),
            Spelled::Names(list, rest) => {
                if rest != 0 {
                    let release = names.systemd_release().number;
                    lost.push(Lost(format!("{setting}=: systemd {release} has no names for the bits {rest:#x}")));
                }
                // A later line would take the place of the first, so that all names are in one.
                text += &format!("{setting}={}\n", list.join(","));
            }
        }
    }
    (text, lost)
}

/// What a kernel's parser reads as this mask, in one value; the number is first, since it takes the place of what is before it.
fn value(kind: Kind, mask: u64, separator: &str, names: &Names<'_>) -> Option<String> {
    match spelled(mask, |bit| names.kernel(kind, bit).map(str::to_owned)) {
        Spelled::Nothing => None,
        Spelled::Any => Some("any".to_owned()),
        Spelled::Names(list, rest) => {
            let number = (rest != 0).then(|| format!("{rest:#x}"));
            let all: Vec<String> = number.into_iter().chain(list).collect();
            let joined = all.join(separator);
            Some(if joined.len() > LONGEST_VALUE { format!("{mask:#x}") } else { joined })
        }
    }
}

fn elsewhere(wanted: &Wanted<'_>, reader: &str) -> Vec<Lost> {
    let moved = !matches!(wanted.path, MOUNT_POINT | "");
    moved.then(|| Lost(format!("the path {}: {reader} mounts at {MOUNT_POINT}", wanted.path))).into_iter().collect()
}

fn incus(wanted: &Wanted<'_>, names: &Names<'_>) -> (String, Vec<Lost>) {
    let mut settings = Vec::new();
    if !matches!(wanted.path, MOUNT_POINT | "") {
        settings.push(format!("{INCUS_PATH}={}", wanted.path));
    }
    settings.extend(pairs(Frontend::Incus, ",", wanted, names));
    let nothing = wanted.delegation == Delegation::default();
    let lost = nothing.then(|| Lost("the bpffs: Incus mounts none that delegates nothing".to_owned()));
    (command("incus", wanted.name, &settings), lost.into_iter().collect())
}

fn lxd(wanted: &Wanted<'_>, names: &Names<'_>) -> (String, Vec<Lost>) {
    let mut settings = vec![format!("{LXD_SWITCH}=true")];
    settings.extend(pairs(Frontend::Lxd, ":", wanted, names));
    (command("lxc", wanted.name, &settings), elsewhere(wanted, "LXD"))
}

fn pairs(frontend: Frontend, separator: &str, wanted: &Wanted<'_>, names: &Names<'_>) -> Vec<String> {
    let each = Kind::ALL.into_iter().zip(wanted.delegation.masks());
    let pair = |(kind, mask)| Some(format!("{}={}", option_of(frontend, kind)?, value(kind, mask, separator, names)?));
    each.filter_map(pair).collect()
}

fn command(program: &str, name: &str, settings: &[String]) -> String {
    if settings.is_empty() {
        return String::new();
    }
    let name = if name.is_empty() { "INSTANCE" } else { name };
    let words = settings.iter().map(|setting| quoted(setting)).collect::<Vec<_>>().join(" \\\n    ");
    format!("{program} config set {} \\\n    {words}\n", quoted(name))
}

fn mount(wanted: &Wanted<'_>, names: &Names<'_>) -> String {
    let mut options = Vec::new();
    for (kind, mask) in Kind::ALL.into_iter().zip(wanted.delegation.masks()) {
        let key = OPTIONS[kind as usize];
        match spelled(mask, |bit| names.kernel(kind, bit).map(str::to_owned)) {
            Spelled::Nothing => {}
            Spelled::Any => options.push(format!("{key}=any")),
            Spelled::Names(list, rest) => {
                let number = (rest != 0).then(|| format!("{key}={rest:#x}"));
                let named = options_of(key, list.iter().map(String::as_str));
                options.extend(
                    number.into_iter().chain(named.into_iter().map(|option| format!("{key}={}", option.value))),
                );
            }
        }
    }
    let path = quoted(if wanted.path.is_empty() { MOUNT_POINT } else { wanted.path });
    match options.as_slice() {
        [] => format!("mount -t bpf none {path}\n"),
        some => format!("mount -t bpf -o {} none {path}\n", quoted(&some.join(","))),
    }
}

#[cfg(test)]
mod tests;
