//! What is asked of a kernel, what for, and what depends on it.

use std::{fmt, sync::Arc};

use harness_uapi::{btf::Btf, permission::Request, release::Release};

use crate::feature::{Feature, TokenUse};

/// The kernel that is asked.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// Its release.
    pub release: Release,
    /// Its own type information (`/sys/kernel/btf/vmlinux`), by which members of operations are counted; without, they
    /// are counted by the object's.
    pub types: Option<&'a Btf<'a>>,
}

impl From<Release> for Kernel<'_> {
    fn from(release: Release) -> Self {
        Self { release, types: None }
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadRequest {
    /// What is asked.
    pub request: Request,
    /// What for.
    pub by: RequestOwner,
    /// What depends on it.
    pub must: Necessity,
    /// Whether the token is handed over.
    pub handed: TokenUse,
}

/// What a request is made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestOwner {
    /// Making the token.
    Token,
    /// Finding out whether programs can be loaded at all.
    ProbeOfLoading,
    /// Finding out about a feature.
    Probe(Feature),
    /// The object's type information.
    Btf,
    /// A map.
    Map(Arc<str>),
    /// A program.
    Program(Arc<str>),
    /// Attaching a program.
    Attach(Arc<str>),
}

impl fmt::Display for RequestOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => write!(f, "token"),
            Self::ProbeOfLoading => write!(f, "probe of loading"),
            Self::Probe(feature) => write!(f, "probe of {feature}"),
            Self::Btf => write!(f, "BTF"),
            Self::Map(name) => write!(f, "map {name}"),
            Self::Program(name) => write!(f, "program {name}"),
            Self::Attach(name) => write!(f, "attaching {name}"),
        }
    }
}

/// What depends on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Necessity {
    /// Without it the object does not load.
    Always,
    /// Without it, or another one of this number, the object does not load.
    OneOf(usize),
    /// Without it libbpf goes without the feature, and says nothing.
    Improves(Feature),
    /// Without it the object loads, and the program is not attached.
    Attaches,
}
