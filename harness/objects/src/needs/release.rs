//! The first kernel release that accepts all requests of an object.

use std::fmt;

use harness_uapi::{
    names,
    permission::{Bit, FIRST_RELEASE, Request, requirement},
    release::Release,
    vocabulary::Kind,
};

/// The kinds of the types in a request.
const TYPES: [Kind; 3] = [Kind::Map, Kind::Prog, Kind::Attach];

/// The first release that accepts all requests of an object, by the table of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeastRelease {
    /// The oldest release that is known to.
    pub release: Release,
    /// The newest release that is known not to, if there are unknown releases in between.
    pub not_in: Option<Release>,
}

impl fmt::Display for LeastRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.not_in {
            Some(last) => write!(f, "{}, or an earlier release after {last}", self.release),
            None => write!(f, "{}", self.release),
        }
    }
}

/// The releases with which requirements may have changed; the last 6.x release is 6.19.
fn releases() -> impl Iterator<Item = Release> {
    let of_six = (FIRST_RELEASE.minor..20).map(|minor| Release { major: 6, minor });
    of_six.chain((0..20).map(|minor| Release { major: 7, minor }))
}

/// The types in a request.
pub(crate) fn types(request: &Request) -> Vec<Bit> {
    let needed = requirement(request, FIRST_RELEASE);
    needed.bits.into_keys().filter(|bit| TYPES.contains(&bit.kind)).collect()
}

/// The least release found so far.
#[derive(Default)]
pub(super) struct Least {
    found: Option<LeastRelease>,
    is_impossible: bool,
}

impl Least {
    pub(super) fn take(&mut self, request: &Request) {
        let delegated = releases().find(|release| requirement(request, *release).undelegable.is_empty());
        // What no release can delegate, such as opening an event, does not depend on the release.
        let Some(delegated) = delegated else { return };
        self.at_least(LeastRelease { release: delegated, not_in: None });
        for bit in types(request) {
            match names::entry(bit.kind, bit.number) {
                Some(entry) => self.at_least(came(entry.first)),
                None => self.is_impossible = true,
            }
        }
    }

    fn at_least(&mut self, other: LeastRelease) {
        let later = self.found.is_none_or(|found| (found.release, found.not_in) < (other.release, other.not_in));
        if later {
            self.found = Some(other);
        }
    }

    pub(super) fn found(self) -> Option<LeastRelease> {
        self.found.filter(|_| !self.is_impossible)
    }
}

/// The release that introduced something, but not before the first one with tokens.
fn came(first: names::First) -> LeastRelease {
    if first.seen <= FIRST_RELEASE || first.not_in.is_none() {
        return LeastRelease { release: FIRST_RELEASE, not_in: None };
    }
    let not_in = first.not_in.filter(|last| !last.is_followed_by(first.seen) && *last >= FIRST_RELEASE);
    LeastRelease { release: first.seen, not_in }
}
