//! A request, what it is made for, and what depends on it.

use std::{fmt, sync::Arc};

use harness_uapi::{btf::Btf, permission::Request, release::Release};

use crate::feature::{Feature, TokenUse};

/// The kernel that objects are loaded into.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// Its release.
    pub release: Release,
    /// Its BTF (`/sys/kernel/btf/vmlinux`), which gives the indexes of `struct_ops` members; without it they come from
    /// the object's BTF.
    pub types: Option<&'a Btf<'a>>,
}

impl From<Release> for Kernel<'_> {
    fn from(release: Release) -> Self {
        Self { release, types: None }
    }
}

/// A request that libbpf makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadRequest {
    /// The request.
    pub request: Request,
    /// What it is made for.
    pub by: RequestOwner,
    /// What depends on it.
    pub must: Necessity,
    /// Whether the token is passed.
    pub handed: TokenUse,
}

/// What a request is made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestOwner {
    /// Creating the token.
    Token,
    /// Probing whether programs can be loaded at all.
    ProbeOfLoading,
    /// Probing a feature.
    Probe(Feature),
    /// The object's BTF.
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
    /// If it is refused, the object does not load.
    Always,
    /// If all requests with this number are refused, the object does not load.
    OneOf(usize),
    /// If it is refused, libbpf silently does without the feature.
    Improves(Feature),
    /// If it is refused, the object loads but the program is not attached.
    Attaches,
}
