//! Proofs: whether a container with this bpffs and these capabilities loads BPF objects, and what of it is needed.
//!
//! What is to be found out becomes scenarios for a VM ([`mount`], [`token`], [`object`]), and their outcomes are read here.
//! Which grants are tried, until nothing of one can be missed, is decided by [`DenialSearch`]. All of it are values.

use std::collections::BTreeSet;

use harness_protocol::{
    mount_option::MountOption,
    plan::{Namespace, Restrictions, Unit},
};
use harness_uapi::{capability, permission::Grant};

/// Where something is to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrialSite {
    /// In a container that the guest program makes.
    Container(TrialSetting),
    /// In a unit that the guest's systemd starts.
    Unit(Unit),
}

impl From<TrialSetting> for TrialSite {
    fn from(setting: TrialSetting) -> Self {
        Self::Container(setting)
    }
}

impl TrialSite {
    /// The mount options that are asked for without systemd; none for a unit, whose options are systemd's to set.
    pub fn options(&self) -> &[MountOption] {
        match self {
            Self::Container(setting) => &setting.options,
            Self::Unit(_) => &[],
        }
    }
}

/// A container that something is to be tried in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialSetting {
    /// The mount options of its bpffs, verbatim for `fsconfig(2)` and in this order.
    pub options: Vec<MountOption>,
    /// The capabilities it has in its user namespace, as numbers of `capabilities(7)`.
    pub capabilities: BTreeSet<u32>,
    /// Whose user namespace it is in.
    pub users: UserNamespace,
    /// Namespaces of its own besides user and mount.
    pub namespaces: BTreeSet<Namespace>,
    /// What it puts up with besides.
    pub restrictions: Restrictions,
}

/// The user namespace of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserNamespace {
    /// Its own, as it takes for a token.
    #[default]
    Own,
    /// The initial one, of which there is no token (`bpf_token_create` in `kernel/bpf/token.c`); it has no bpffs then.
    Initial,
}

impl Default for TrialSetting {
    /// Nothing delegated, every capability in a user namespace of its own, and nothing in the way.
    fn default() -> Self {
        Self {
            options: Vec::new(),
            capabilities: capability::all().into_iter().collect(),
            users: UserNamespace::Own,
            namespaces: BTreeSet::new(),
            restrictions: Restrictions::default(),
        }
    }
}

impl TrialSetting {
    /// A container that was given this and nothing else.
    pub fn of(grant: &Grant) -> Self {
        let numbers = grant.capabilities.iter().filter_map(|one| capability::number(one.name()));
        Self { options: grant.delegation.numeric_options(), capabilities: numbers.collect(), ..Self::default() }
    }
}
