//! The properties of a front-end that matter outside of its own module.

use std::fmt;

/// Describes a program or format that configurations are for. Each is defined in its own module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Frontend {
    /// Its name on the command line and in reports.
    pub name: &'static str,
    /// What it creates.
    pub makes: ConfiguredObject,
    /// How it spells the names of a delegation.
    pub spelling: Spelling,
    /// The separator between two names.
    pub separator: &'static str,
    /// How it passes a delegation to the kernel.
    pub delivery: OptionDelivery,
    /// Advice for requesting a bpffs.
    pub ask_for_bpffs: &'static str,
    /// Advice for requesting a user namespace in which a token can be created.
    pub ask_for_namespace: &'static str,
}

/// What a front-end creates, which decides how much its files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfiguredObject {
    /// Processes of the host in namespaces that systemd creates.
    Unit,
    /// A container in its own user namespace.
    Container,
    /// Only a mount; its file does not say for whom.
    Mount,
}

/// The spelling of names that a front-end accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spelling {
    /// systemd's, such as `BPFMapTypeHash`.
    Systemd,
    /// The kernel's, such as `hash`.
    Kernel,
}

/// How a front-end passes a delegation to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OptionDelivery {
    /// The front-end parses the names itself and sets all four options as numbers. The last assignment counts, and
    /// unknown names in it are dropped.
    Masks,
    /// It passes the last value of each option, and this one for an option without a value.
    Values(Option<&'static str>),
    /// The kernel gets each option as it is written, and combines their masks.
    Options,
    /// The kernel shows the masks: names, followed by a number for the bits without a name.
    Shown,
}

impl OptionDelivery {
    /// Whether several assignments to an option are combined.
    pub const fn adds_up(self) -> bool {
        matches!(self, Self::Options | Self::Shown)
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}
