//! Where a proof tries BPF objects: a container with a given bpffs and capabilities, or a systemd unit.
//!
//! Questions become scenarios for a VM (`mount`, `token` and `object` of [`crate::question`]), whose outcomes are read there.
//! [`crate::minimizer`] decides which grants to try. All of this works on values, without I/O.

use std::collections::BTreeSet;

use harness_protocol::{
    mount_option::MountOption,
    plan::{Namespace, Restrictions, Unit},
};
use harness_uapi::{
    capability,
    permission::{Capability, Grant},
};

/// Where a trial takes place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrialSite {
    /// In a container that the guest program creates.
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
    /// Returns the mount options that the guest program sets; empty for a unit, whose options systemd sets.
    pub fn options(&self) -> &[MountOption] {
        match self {
            Self::Container(setting) => &setting.options,
            Self::Unit(_) => &[],
        }
    }
}

/// A container for a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialSetting {
    /// The mount options of its bpffs, passed to `fsconfig(2)` verbatim and in this order.
    pub options: Vec<MountOption>,
    /// The capabilities it has in its user namespace, by their numbers in `linux/capability.h`.
    pub capabilities: BTreeSet<u32>,
    /// The user namespace it is in.
    pub users: UserNamespace,
    /// Its own namespaces other than user and mount.
    pub namespaces: BTreeSet<Namespace>,
    /// Further restrictions on it.
    pub restrictions: Restrictions,
}

/// The user namespace of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UserNamespace {
    /// Its own, which a token requires.
    #[default]
    Own,
    /// The initial one, for which there is no token (`bpf_token_create` in `kernel/bpf/token.c`); the container then has no bpffs.
    Initial,
}

impl Default for TrialSetting {
    /// Nothing delegated, every capability in its own user namespace, and no restrictions.
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
    /// Returns a container for a program: of the capabilities that the kernel's checks of BPF ask for it has those of the
    /// grant, and all others, since a program may need them for something else. It has a network of its own.
    pub fn of_program(grant: &Grant) -> Self {
        let asked: BTreeSet<u32> = Capability::ALL.iter().filter_map(|one| capability::number(one.name())).collect();
        let of_grant = Self::of(grant);
        let others = capability::all().into_iter().filter(|number| !asked.contains(number));
        Self {
            capabilities: of_grant.capabilities.iter().copied().chain(others).collect(),
            namespaces: [Namespace::Net].into(),
            ..of_grant
        }
    }

    /// Returns a container that is given this grant and nothing else.
    pub fn of(grant: &Grant) -> Self {
        let numbers = grant.capabilities.iter().filter_map(|one| capability::number(one.name()));
        Self { options: grant.delegation.numeric_options(), capabilities: numbers.collect(), ..Self::default() }
    }
}
