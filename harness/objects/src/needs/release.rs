//! The first kernel that takes all of an object.

use std::fmt;

use harness_uapi::{
    names,
    permission::{Bit, FIRST_RELEASE, Request, requirement},
    release::Release,
    vocabulary::Kind,
};

/// The kinds of types that a request names.
const TYPES: [Kind; 3] = [Kind::Map, Kind::Prog, Kind::Attach];

/// The first release that takes all of an object, as far as the table of names tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeastRelease {
    /// A release that does.
    pub release: Release,
    /// The newest release that is known not to, if releases in between are not known.
    pub not_in: Option<Release>,
}

impl fmt::Display for LeastRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.not_in {
            Some(last) => write!(f, "{}, or one before that is newer than {last}", self.release),
            None => write!(f, "{}", self.release),
        }
    }
}

/// Releases that what a request needs may have changed with: the last of 6 is 6.19.
fn releases() -> impl Iterator<Item = Release> {
    let of_six = (FIRST_RELEASE.minor..20).map(|minor| Release { major: 6, minor });
    of_six.chain((0..20).map(|minor| Release { major: 7, minor }))
}

/// The types that a request names.
pub(crate) fn types(request: &Request) -> Vec<Bit> {
    let needed = requirement(request, FIRST_RELEASE);
    needed.bits.into_keys().filter(|bit| TYPES.contains(&bit.kind)).collect()
}

/// The least release so far.
#[derive(Default)]
pub(super) struct Least {
    found: Option<LeastRelease>,
    is_impossible: bool,
}

impl Least {
    pub(super) fn take(&mut self, request: &Request) {
        let delegated = releases().find(|release| requirement(request, *release).undelegable.is_empty());
        // What can be delegated nowhere, such as opening an event, is no matter of the release.
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

/// Since when something is known, not before there were tokens.
fn came(first: names::First) -> LeastRelease {
    let before = |one: Release, other: Release| {
        (one.major, one.minor + 1) == (other.major, other.minor)
            || (one.major + 1 == other.major && other.minor == 0 && one.minor == 19)
    };
    if first.seen <= FIRST_RELEASE || first.not_in.is_none() {
        return LeastRelease { release: FIRST_RELEASE, not_in: None };
    }
    let not_in = first.not_in.filter(|last| !before(*last, first.seen) && *last >= FIRST_RELEASE);
    LeastRelease { release: first.seen, not_in }
}
