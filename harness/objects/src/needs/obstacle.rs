//! What no grant can provide.

use std::fmt;

use crate::loader::Loader;
use harness_uapi::{
    names::First,
    permission::{Bit, Capability, FIRST_RELEASE, Justification},
};

/// Why no grant makes a request succeed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// The kernel requires a capability in the initial user namespace.
    Capability(Capability, Justification),
    /// The loader makes the request without the token, so the kernel requires this capability in the initial user namespace.
    NoToken(Capability),
    /// The loader passes no token.
    Loader(Loader),
    /// The kernel does not know this type.
    Unknown(Bit, Option<Known>),
    /// The kernel has no tokens.
    NoTokens,
}

/// When a type was introduced.
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
                write!(f, "{capability} in the initial user namespace: the request comes without the token")
            }
            Self::Loader(loader) => match loader.library.first_with_tokens() {
                Some(first) => {
                    write!(f, "a later loader: {loader} passes no token, {} does since {first}", loader.library)
                }
                None => write!(f, "another loader: {loader} passes no token"),
            },
            Self::Unknown(bit, Some(Known(first))) => write!(f, "a later kernel: {bit} was added in {first}"),
            Self::Unknown(bit, None) => write!(f, "a later kernel: {bit} is unknown"),
            Self::NoTokens => write!(f, "a later kernel: tokens were added in {FIRST_RELEASE}"),
        }
    }
}
