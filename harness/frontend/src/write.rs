//! Delegations as text to paste, in the spelling that the front-end accepts.

use harness_protocol::mount_option::LONGEST_VALUE;
use harness_uapi::{
    delegation::{Delegation, numbers},
    vocabulary::Kind,
};

use crate::{configuration::MOUNT_POINT, names::Names};

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversionInput<'a> {
    /// The instance or unit; if empty, a placeholder is written.
    pub name: &'a str,
    /// The mount point of the bpffs in the container.
    pub path: &'a str,
    /// The masks; all 64 bits are written as `any`.
    pub delegation: Delegation,
}

impl ConversionInput<'_> {
    /// Returns this delegation, at the usual mount point, for a container without a name.
    pub const fn of(delegation: Delegation) -> Self {
        Self { name: "", path: MOUNT_POINT, delegation }
    }
}

/// Something that the written text lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversionLoss(pub String);

/// The names of a mask's bits.
pub(crate) enum Spelled {
    Nothing,
    Any,
    /// The names, and the bits without one.
    Names(Vec<String>, u64),
}

/// Returns the names of a mask's bits.
pub(crate) fn spelled(mask: u64, name: impl Fn(u32) -> Option<String>) -> Spelled {
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

/// Returns one value that the kernel reads as this mask. A number comes first because it replaces what is before it.
pub(crate) fn value(kind: Kind, mask: u64, separator: &str, names: &Names<'_>) -> Option<String> {
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

/// Returns the loss of the path, for a front-end that has a fixed mount point.
pub(crate) fn elsewhere(wanted: &ConversionInput<'_>, program: &str) -> Vec<ConversionLoss> {
    let moved = !matches!(wanted.path, MOUNT_POINT | "");
    moved
        .then(|| ConversionLoss(format!("the path {}: {program} always mounts at {MOUNT_POINT}", wanted.path)))
        .into_iter()
        .collect()
}
