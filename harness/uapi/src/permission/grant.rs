//! What somebody was given, and what of a requirement it leaves open.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{
    delegation::{Delegation, numbers},
    permission::{Bit, Capability, Justification, Requirement},
    release::Release,
    vocabulary::Kind,
};

/// What a container was given: a bpffs, and capabilities in its own user namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// What its bpffs delegates.
    pub delegation: Delegation,
    /// The capabilities it has in the user namespace that owns the bpffs.
    pub capabilities: BTreeSet<Capability>,
}

/// One thing that can be given, or taken away again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// A bit of the delegation.
    Bit(Bit),
    /// A capability inside.
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

/// What a grant lacks for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shortfall {
    /// What could be given.
    pub missing: BTreeMap<Element, BTreeSet<Justification>>,
    /// What nobody can give: capabilities in the initial user namespace.
    pub undelegable: BTreeMap<Capability, BTreeSet<Justification>>,
    /// The release from which on the kernel takes a token for the request, if it is a later one.
    pub since: Option<Release>,
}

impl Shortfall {
    /// Whether nothing is missing: the kernel lets the request pass.
    pub fn is_none(&self) -> bool {
        self.missing.is_empty() && self.undelegable.is_empty() && self.since.is_none()
    }
}

impl Grant {
    /// Nothing but these elements.
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

    /// All there is in it, one by one.
    pub fn elements(&self) -> impl Iterator<Item = Element> {
        let masks = Kind::ALL.into_iter().zip(self.delegation.masks());
        let bits = masks.flat_map(|(kind, mask)| numbers(mask).map(move |number| Bit { kind, number }));
        bits.map(Element::Bit).chain(self.capabilities.iter().copied().map(Element::Capability))
    }

    /// Whether the delegation has this bit; a number of 64 or more has none (`bpf_token_allow_map_type` and the like in
    /// `kernel/bpf/token.c`).
    pub fn has_bit(&self, bit: Bit) -> bool {
        bit.number < 64 && self.delegation.masks()[bit.kind as usize] & (1 << bit.number) != 0
    }

    /// Whether it has this capability, or `CAP_SYS_ADMIN` in its place (`bpf_ns_capable` in `kernel/bpf/token.c`).
    pub fn is_capable(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability) || self.capabilities.contains(&Capability::SysAdmin)
    }

    /// What it lacks for a request on a kernel of this release, where `bpf(2)` is closed to the unprivileged.
    ///
    /// A token that lacks one bit is no token at all, so that every capability is missing too; only what has to be given
    /// besides is named.
    pub fn lacks(&self, needed: &Requirement, release: Release) -> Shortfall {
        let bits = needed.bits.iter().filter(|(bit, _)| !self.has_bit(**bit));
        let mut missing: BTreeMap<Element, BTreeSet<Justification>> =
            bits.map(|(bit, why)| (Element::Bit(*bit), BTreeSet::from([*why]))).collect();
        for (capability, whys) in &needed.capabilities {
            if !self.is_capable(*capability) {
                missing.insert(Element::Capability(*capability), whys.clone());
            }
        }
        let since = needed.since.filter(|since| release < *since);
        Shortfall { missing, undelegable: needed.undelegable.clone(), since }
    }

    /// Whether a token can be made: some mask has a bit, and `CAP_BPF` itself is there (`bpf_token_create` in
    /// `kernel/bpf/token.c`).
    pub fn makes_token(&self) -> bool {
        self.delegation != Delegation::default() && self.capabilities.contains(&Capability::Bpf)
    }
}
