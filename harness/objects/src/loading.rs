//! What the kernel is asked while libbpf 1.7 loads an object with a token, and what libbpf makes of the answers
//! (`bpf_object_prepare` and `bpf_object_load` in `src/libbpf.c`).

mod course;
mod judged;
mod subject;

use std::{fmt, sync::Arc};

use harness_model::{permission::Request, scenario::Release};

use crate::{btf::Btf, feature::Feature, object::Object};
pub(crate) use course::Course;
pub use judged::{Answer, Loading, loading};
pub(crate) use subject::Subject;

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
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// What for.
    pub by: Owner,
    /// What depends on it.
    pub must: Must,
    /// Whether the token is handed over.
    pub handed: Handed,
}

/// What a request is made for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
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

impl fmt::Display for Owner {
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
pub enum Must {
    /// Without it the object does not load.
    Always,
    /// Without it, or another one of this number, the object does not load.
    OneOf(usize),
    /// Without it libbpf goes without the feature, and says nothing.
    Improves(Feature),
    /// Without it the object loads, and the program is not attached.
    Attaches,
}

/// Whether a request comes with the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Handed {
    /// It does.
    Token,
    /// It does not, so that the initial user namespace is asked whatever the token is for.
    NoToken,
}

/// All that a kernel may be asked while libbpf loads the object, in libbpf's order, with all alternatives.
pub fn asked(object: &Object, kernel: Kernel<'_>) -> Vec<Asked> {
    every(&Subject::new(object, kernel))
}

pub(crate) fn every(subject: &Subject<'_>) -> Vec<Asked> {
    let mut all = Vec::new();
    let mut note = |asked: Asked| {
        all.push(asked);
        true
    };
    // Everything is answered with yes, so that it gets to the end.
    let _ = Course::new(subject, &mut note).with_alternatives().run();
    all
}
