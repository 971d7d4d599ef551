//! What no grant gives.

use std::fmt;

use harness_uapi::{
    names::First,
    permission::{Bit, Capability, Justification},
};

/// What is in the way of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// The initial user namespace is asked for a capability.
    Capability(Capability, Justification),
    /// libbpf asks for it without the token, so that the initial user namespace is asked for this.
    NoToken(Capability),
    /// The kernel of this release does not know the type.
    Unknown(Bit, Option<Known>),
}

/// When a type came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known(pub First);

impl PartialOrd for Known {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Known {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.seen.cmp(&other.0.seen)
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capability(capability, why) => {
                write!(f, "{capability} in the initial user namespace, for {} ({})", why.what, why.source)
            }
            Self::NoToken(capability) => {
                write!(f, "{capability} in the initial user namespace: libbpf does not hand over its token")
            }
            Self::Unknown(bit, Some(Known(first))) => write!(f, "a later kernel: {bit} came with {first}"),
            Self::Unknown(bit, None) => write!(f, "a later kernel: {bit} is not known"),
        }
    }
}
