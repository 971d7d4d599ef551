//! Kernel releases, and ranges of them that scenarios are meant for.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// The part of a kernel release that its features depend on: 6.12 of `6.12.95+deb13-amd64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// The first number, such as 6.
    pub major: u16,
    /// The second number, such as 12.
    pub minor: u16,
}

impl Release {
    /// Whether another release is the next one; 7.0 followed 6.19.
    pub const fn is_followed_by(self, next: Self) -> bool {
        (self.major == next.major && self.minor + 1 == next.minor)
            || (self.major == 6 && self.minor == 19 && next.major == 7 && next.minor == 0)
    }
}

/// Why a text is not a release or a range of releases.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReleaseError {
    /// Not a release.
    #[error("`{0}` is not a kernel release; write MAJOR.MINOR, such as 6.12")]
    Release(String),
    /// A comparison that does not begin with an operator.
    #[error("`{0}` does not begin with one of >=, >, <=, <, =")]
    Operator(String),
    /// No release satisfies all comparisons.
    #[error("no kernel release satisfies `{0}`")]
    Empty(String),
}

impl FromStr for Release {
    type Err = ReleaseError;

    /// Reads `6.12`, and what `uname -r` prints.
    fn from_str(text: &str) -> Result<Self, ReleaseError> {
        let read = || {
            let (major, rest) = number(text)?;
            let (minor, rest) = number(rest.strip_prefix('.')?)?;
            let ends = rest.is_empty() || rest.starts_with(['.', '-', '+']);
            ends.then_some(Self { major, minor })
        };
        read().ok_or_else(|| ReleaseError::Release(shortened(text)))
    }
}

/// Splits a text into its leading number and the rest.
fn number(text: &str) -> Option<(u16, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AtLeast,
    Above,
    AtMost,
    Below,
    Exactly,
}

impl Comparison {
    /// Longer ones first, so that `>=` is not read as `>`.
    const ALL: [(&'static str, Self); 5] =
        [(">=", Self::AtLeast), ("<=", Self::AtMost), (">", Self::Above), ("<", Self::Below), ("=", Self::Exactly)];

    fn holds(self, release: Release, bound: Release) -> bool {
        match self {
            Self::AtLeast => release >= bound,
            Self::Above => release > bound,
            Self::AtMost => release <= bound,
            Self::Below => release < bound,
            Self::Exactly => release == bound,
        }
    }
}

/// Releases that satisfy every comparison of a list such as `>=6.9, <7.0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRange {
    text: String,
    comparisons: Vec<(Comparison, Release)>,
}

impl KernelRange {
    /// Whether this release is in the range.
    pub fn contains(&self, release: Release) -> bool {
        self.comparisons.iter().all(|(comparison, bound)| comparison.holds(release, *bound))
    }

    /// Whether no release is in the range. If any is, then one of the bounds or of their neighbours is.
    fn is_empty(&self) -> bool {
        let around = |bound: Release| {
            let minors = [bound.minor.saturating_sub(1), bound.minor, bound.minor.saturating_add(1)];
            minors.map(|minor| Release { minor, ..bound })
        };
        let extremes = [Release { major: 0, minor: 0 }, Release { major: u16::MAX, minor: u16::MAX }];
        let candidates = self.comparisons.iter().flat_map(|(_, bound)| around(*bound)).chain(extremes);
        !candidates.into_iter().any(|release| self.contains(release))
    }
}

impl FromStr for KernelRange {
    type Err = ReleaseError;
    fn from_str(text: &str) -> Result<Self, ReleaseError> {
        let comparisons = text.split(',').map(comparison).collect::<Result<_, _>>()?;
        let range = Self { text: text.trim().to_owned(), comparisons };
        if range.is_empty() { Err(ReleaseError::Empty(shortened(text))) } else { Ok(range) }
    }
}

fn comparison(text: &str) -> Result<(Comparison, Release), ReleaseError> {
    let text = text.trim();
    let found =
        Comparison::ALL.iter().find_map(|(operator, comparison)| Some((*comparison, text.strip_prefix(operator)?)));
    let (comparison, bound) = found.ok_or_else(|| ReleaseError::Operator(shortened(text)))?;
    Ok((comparison, bound.trim().parse()?))
}

impl fmt::Display for KernelRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(text: &str) -> Release {
        text.parse().unwrap()
    }

    #[test]
    fn reads_releases() {
        assert_eq!(release("6.12.95+deb13-amd64"), Release { major: 6, minor: 12 });
        assert_eq!(release("7.3-rc1"), Release { major: 7, minor: 3 });
        for wrong in ["", "6", "6.", ".12", "6.x", "v6.12", "6.12x", "99999.1", "6,12"] {
            assert!(wrong.parse::<Release>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn minors_compare_as_numbers_and_all_comparisons_hold() {
        let range: KernelRange = ">=6.9, <7.0".parse().unwrap();
        assert!(range.contains(release("6.9")) && range.contains(release("6.12")));
        assert!(!range.contains(release("6.8")) && !range.contains(release("7.0")));
        assert!("=7.3".parse::<KernelRange>().unwrap().contains(release("7.3.4")));
        assert!(">6.12".parse::<KernelRange>().unwrap().contains(release("6.13")));
        assert!(!"<=6.12".parse::<KernelRange>().unwrap().contains(release("6.13")));
    }

    #[test]
    fn refuses_empty_and_malformed_ranges() {
        let errors = ["6.9", ">=6.9,", ">=six", ">=7.0, <6.9"].map(|text| text.parse::<KernelRange>().unwrap_err());
        insta::assert_snapshot!(errors.map(|error| error.to_string()).join("\n"), @"
        `6.9` does not begin with one of >=, >, <=, <, =
        `` does not begin with one of >=, >, <=, <, =
        `six` is not a kernel release; write MAJOR.MINOR, such as 6.12
        no kernel release satisfies `>=7.0, <6.9`
        ");
        assert!(">6.9, <6.11".parse::<KernelRange>().is_ok());
        assert!(">6.9, <6.10".parse::<KernelRange>().is_err());
    }
}
