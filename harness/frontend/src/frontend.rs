//! What sets one front-end apart from another, as far as it matters outside of its own module.

use std::fmt;

/// Who reads a configuration, or shows one: a description, which stands in the module of its front-end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Frontend {
    /// The word for it on a command line and in reports.
    pub name: &'static str,
    /// What it makes.
    pub makes: ConfiguredObject,
    /// How it spells the names of a delegation.
    pub spelling: Spelling,
    /// What stands between two names.
    pub separator: &'static str,
    /// How a delegation comes to the kernel.
    pub handing: OptionDelivery,
    /// What asks it for a bpffs, as advice.
    pub ask_for_bpffs: &'static str,
    /// What asks it for a user namespace that a token can be made in, as advice.
    pub ask_for_namespace: &'static str,
}

/// What a front-end makes, which decides how much its files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfiguredObject {
    /// Processes of the host in namespaces that systemd makes.
    Unit,
    /// A container in a user namespace of its own.
    Container,
    /// A mount and nothing else: whose it is, its file does not say.
    Mount,
}

/// Whose spelling of names a front-end takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spelling {
    /// systemd's, such as `BPFMapTypeHash`.
    Systemd,
    /// The kernel's, such as `hash`.
    Kernel,
}

/// How a delegation comes to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OptionDelivery {
    /// The front-end takes the names apart itself and sets all four options, as numbers. The last assignment counts, and
    /// what is unknown in it is dropped.
    Masks,
    /// It hands over the last value of each option, and this one for an option without a value.
    Values(Option<&'static str>),
    /// The kernel gets each option as it is written, and they add up.
    Options,
    /// The kernel shows it, with a number for the bits without a name after the names: they add up.
    Shown,
}

impl OptionDelivery {
    /// Whether what several assignments of an option say adds up.
    pub const fn adds_up(self) -> bool {
        matches!(self, Self::Options | Self::Shown)
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}
