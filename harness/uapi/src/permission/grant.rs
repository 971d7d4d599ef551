//! A grant, and what it lacks for a requirement.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use thiserror::Error;

use crate::{
    delegation::{Delegation, numbers},
    names,
    permission::{Bit, Capability, Justification, Requirement},
    release::Release,
    vocabulary::Kind,
};

/// What a container is given: a delegation, and capabilities in its own user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The delegation of its bpffs.
    pub delegation: Delegation,
    /// Its capabilities in the user namespace that owns the bpffs.
    pub capabilities: BTreeSet<Capability>,
}

/// The smallest part of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// A bit of the delegation.
    Bit(Bit),
    /// A capability in the container's user namespace.
    Capability(Capability),
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bit(bit) => bit.fmt(f),
            Self::Capability(capability) => capability.fmt(f),
        }
    }
}

impl FromStr for Element {
    type Err = ElementError;

    /// Reads what [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, ElementError> {
        let capability = Capability::ALL.into_iter().find(|one| one.to_string() == text).map(Self::Capability);
        let bit = |kind: &Kind| {
            let name = text.strip_prefix(kind.noun())?.strip_prefix(' ')?;
            let number = names::number(*kind, name).or_else(|| name.parse().ok())?;
            Some(Self::Bit(Bit { kind: *kind, number }))
        };
        capability.or_else(|| Kind::ALL.iter().find_map(bit)).ok_or_else(|| ElementError(text.to_owned()))
    }
}

/// A text that names no element of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{}` is neither a capability nor a command or type of bpf(2)", .0.escape_debug())]
pub struct ElementError(String);

/// Whether a kernel of this release knows a bit, or may know it. A token grants no type that the kernel does not know,
/// whatever its mask has (`bpf_token_allow_map_type` and `bpf_token_allow_prog_type` in `kernel/bpf/token.c`); commands have
/// no such rule.
pub fn may_know(bit: Bit, release: Release) -> bool {
    let is_later = |entry: &names::Name| entry.first.is_in(release) == Some(false);
    bit.kind == Kind::Cmd || names::entry(bit.kind, bit.number).is_some_and(|entry| !is_later(entry))
}

/// What a grant lacks for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortfall {
    /// Elements that the grant could be extended by, and why they are required.
    pub missing: BTreeMap<Element, BTreeSet<Justification>>,
    /// Capabilities in the initial user namespace, which nothing can delegate, and why they are required.
    pub undelegable: BTreeMap<Capability, BTreeSet<Justification>>,
    /// Types that the kernel does not know, so that no token grants them.
    pub unknown: BTreeSet<Bit>,
    /// The first release whose kernel accepts a token for the request, if that is a later one.
    pub since: Option<Release>,
}

impl Shortfall {
    /// Whether nothing is missing, so that the kernel allows the request.
    pub fn is_none(&self) -> bool {
        self.missing.is_empty() && self.undelegable.is_empty() && self.unknown.is_empty() && self.since.is_none()
    }
}

impl Grant {
    /// A grant of exactly these elements.
    pub fn of(elements: impl IntoIterator<Item = Element>) -> Self {
        let mut masks = [0_u64; 4];
        let mut capabilities = BTreeSet::new();
        for element in elements {
            match element {
                Element::Bit(bit) if bit.number < 64 => masks[bit.kind as usize] |= 1 << bit.number,
                Element::Bit(_) => {}
                Element::Capability(capability) => drop(capabilities.insert(capability)),
            }
        }
        Self { delegation: Delegation::from_masks(masks), capabilities }
    }

    /// Its elements.
    pub fn elements(&self) -> impl Iterator<Item = Element> {
        let masks = Kind::ALL.into_iter().zip(self.delegation.masks());
        let bits = masks.flat_map(|(kind, mask)| numbers(mask).map(move |number| Bit { kind, number }));
        bits.map(Element::Bit).chain(self.capabilities.iter().copied().map(Element::Capability))
    }

    /// Whether the delegation has this bit; numbers from 64 up have none (`bpf_token_allow_map_type` and the like in
    /// `kernel/bpf/token.c`).
    pub fn has_bit(&self, bit: Bit) -> bool {
        bit.number < 64 && self.delegation.masks()[bit.kind as usize] & (1 << bit.number) != 0
    }

    /// Whether it has this capability, or `CAP_SYS_ADMIN` instead (`bpf_ns_capable` in `kernel/bpf/token.c`), which never
    /// stands for `CAP_SYS_BOOT`.
    pub fn is_capable(&self, capability: Capability) -> bool {
        let instead = capability != Capability::SysBoot && self.capabilities.contains(&Capability::SysAdmin);
        instead || self.capabilities.contains(&capability)
    }

    /// What it lacks for a request on a kernel of this release where `bpf(2)` is closed to unprivileged users.
    ///
    /// If the token lacks one bit, the kernel checks the call as if there were no token, so every capability is missing as
    /// well; the shortfall lists only the elements that would have to be added to the grant. A type that the kernel does
    /// not know is not granted even by `any`, which sets its bit.
    pub fn lacks(&self, needed: &Requirement, release: Release) -> Shortfall {
        let unknown: BTreeSet<Bit> = needed.bits.keys().copied().filter(|bit| !may_know(*bit, release)).collect();
        let bits = needed.bits.iter().filter(|(bit, _)| !self.has_bit(**bit) && !unknown.contains(bit));
        let mut missing: BTreeMap<Element, BTreeSet<Justification>> =
            bits.map(|(bit, why)| (Element::Bit(*bit), BTreeSet::from([*why]))).collect();
        for (capability, whys) in &needed.capabilities {
            if !self.is_capable(*capability) {
                missing.insert(Element::Capability(*capability), whys.clone());
            }
        }
        let since = needed.since.filter(|since| release < *since);
        Shortfall { missing, undelegable: needed.undelegable.clone(), unknown, since }
    }

    /// Whether a token can be created: some mask has a bit, and the grant has `CAP_BPF` itself (`bpf_token_create` in
    /// `kernel/bpf/token.c`).
    pub fn makes_token(&self) -> bool {
        self.delegation != Delegation::default() && self.capabilities.contains(&Capability::Bpf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_as_they_are_written() {
        for text in ["map type array", "bpf command prog_load", "attach type xdp", "program type 63", "CAP_NET_ADMIN"] {
            assert_eq!(text.parse::<Element>().map(|element| element.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "map type", "map type ", "map type xdp", "CAP_CHOWN", "array"] {
            assert_eq!(text.parse::<Element>(), Err(ElementError(text.to_owned())));
        }
    }
}
