//! A pass, and what its attempts are made with.

use std::{
    collections::BTreeMap,
    os::fd::{BorrowedFd, OwnedFd},
    rc::Rc,
};

use super::actors::Actors;

/// File descriptors saved by name; for one that was not made, why.
pub(crate) type Objects = BTreeMap<String, Result<Rc<OwnedFd>, String>>;

/// In whose place attempts are made.
#[derive(Clone, Copy)]
pub(crate) enum Kind<'a> {
    /// Each actor's own, as the scenario says.
    Real,
    /// A container with every permission.
    Container,
    /// Full root, who hands over no token; where a token is the object, it borrows the one of another pass, if there is
    /// one.
    Root(Option<&'a Pass<'a>>),
}

/// A pass with what it has made so far.
pub(crate) struct Pass<'a> {
    /// The root cgroup, opened for reading.
    pub(crate) root_cgroup: BorrowedFd<'a>,
    /// Who acts.
    pub(crate) actors: Actors<'a>,
    /// What was saved.
    pub(crate) objects: Objects,
    /// In whose place.
    pub(crate) kind: Kind<'a>,
    /// Where an object that was not made here is taken from, so that later attempts stand on their own.
    pub(crate) fallback: Option<&'a Objects>,
}
