//! A pass, and what its attempts are made with.

use std::{
    collections::BTreeMap,
    os::fd::{BorrowedFd, OwnedFd},
    rc::Rc,
};

use super::actors::Actors;
use crate::guard::Guard;

/// Saved file descriptors by name; for one that was not made, the reason.
pub(crate) type Objects = BTreeMap<String, Result<Rc<OwnedFd>, String>>;

/// Who makes the attempts of a pass.
#[derive(Clone, Copy)]
pub(crate) enum Kind<'a> {
    /// Each actor its own, as the scenario says.
    Real,
    /// A container with every permission.
    Container,
    /// Full root, which hands over no token. Where a token is the object of a call, it borrows that of another pass, if
    /// there is one.
    Root(Option<&'a Pass<'a>>),
}

/// A pass with what it has made so far.
pub(crate) struct Pass<'a> {
    /// The root cgroup, opened for reading.
    pub(crate) root_cgroup: BorrowedFd<'a>,
    /// Who acts.
    pub(crate) actors: Actors<'a>,
    /// The saved objects.
    pub(crate) objects: Objects,
    /// Who makes the attempts.
    pub(crate) kind: Kind<'a>,
    /// Where objects come from that were not made in this pass, so that later attempts do not depend on earlier ones.
    pub(crate) fallback: Option<&'a Objects>,
    /// The guard, which is on while an attempt is made.
    pub(crate) guard: Option<&'a mut Guard>,
}
