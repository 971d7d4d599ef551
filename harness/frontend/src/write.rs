//! Configurations as text that a person pastes: what is delegated, in the spelling that its reader takes.

use harness_protocol::mount_option::LONGEST_VALUE;
use harness_uapi::{
    delegation::{Delegation, numbers},
    vocabulary::Kind,
};

use crate::{configuration::MOUNT_POINT, names::Names};

/// What is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversionInput<'a> {
    /// The instance or unit; a placeholder stands for it if it is empty.
    pub name: &'a str,
    /// Where the bpffs is to be mounted in the container.
    pub path: &'a str,
    /// The masks; all 64 bits are written `any`.
    pub delegation: Delegation,
}

impl ConversionInput<'_> {
    /// This delegation, at the usual place, for a container without a name.
    pub const fn of(delegation: Delegation) -> Self {
        Self { name: "", path: MOUNT_POINT, delegation }
    }
}

/// Something that the written text does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversionLoss(pub String);

/// What a kind's bits are called.
pub(crate) enum Spelled {
    Nothing,
    Any,
    /// The names, and the bits without one.
    Names(Vec<String>, u64),
}

/// Names the bits of a mask.
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

/// What a kernel's parser reads as this mask, in one value; the number is first, since it takes the place of what is before it.
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

/// What is lost for a reader that mounts at one place only.
pub(crate) fn elsewhere(wanted: &ConversionInput<'_>, reader: &str) -> Vec<ConversionLoss> {
    let moved = !matches!(wanted.path, MOUNT_POINT | "");
    moved
        .then(|| ConversionLoss(format!("the path {}: {reader} mounts at {MOUNT_POINT}", wanted.path)))
        .into_iter()
        .collect()
}
