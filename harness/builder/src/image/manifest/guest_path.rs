//! Paths in an image or a package, and patterns of them.

use std::{
    fmt,
    path::{Component, Path},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A path in an image or in a package, relative to its root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GuestPath(String);

/// A text that is not a path in an image.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a path in an image: it must be relative, without `.` and `..`")]
pub struct BadPath(String);

impl GuestPath {
    /// The relative path.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for GuestPath {
    type Error = BadPath;

    fn try_from(text: String) -> Result<Self, BadPath> {
        let plain = Path::new(&text).components().all(|part| matches!(part, Component::Normal(_)));
        let written_plainly = text.split('/').all(|part| !part.is_empty() && part != "." && !part.contains('\0'));
        if plain && written_plainly { Ok(Self(text)) } else { Err(BadPath(text)) }
    }
}

impl From<GuestPath> for String {
    fn from(path: GuestPath) -> Self {
        path.0
    }
}

/// A pattern of paths to leave out of packages that are taken whole, as in a shell: `*` stays within a folder, `**`
/// does not. A folder that matches is left out with everything in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(glob::Pattern);

/// A text that is not a pattern.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not a pattern of paths: {reason}")]
pub struct BadPattern {
    text: String,
    reason: String,
}

impl Pattern {
    /// Reports whether it matches a path.
    pub(in crate::image) fn matches(&self, guest_path: &Path) -> bool {
        let options = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
        self.0.matches_path_with(guest_path, options)
    }
}

impl TryFrom<String> for Pattern {
    type Error = BadPattern;

    fn try_from(text: String) -> Result<Self, BadPattern> {
        let bad = |reason: String| BadPattern { text: text.clone(), reason };
        GuestPath::try_from(text.clone()).map_err(|_| bad("it must be relative, without `.` and `..`".to_owned()))?;
        glob::Pattern::new(&text).map(Self).map_err(|error| bad(error.msg.to_owned()))
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_leave_the_image() {
        for path in ["/etc/passwd", "../x", "a/../../x", "", "a//b", "./a", "a/"] {
            assert!(GuestPath::try_from(path.to_owned()).is_err(), "{path:?}");
            assert!(Pattern::try_from(path.to_owned()).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_star_stays_within_a_folder() {
        let matches = |pattern: &str, guest_path: &str| {
            Pattern::try_from(pattern.to_owned()).unwrap().matches(Path::new(guest_path))
        };
        assert!(matches("usr/share/doc", "usr/share/doc") && matches("usr/lib/*.a", "usr/lib/x.a"));
        assert!(!matches("usr/lib/*.a", "usr/lib/deep/x.a") && matches("usr/lib/**/*.a", "usr/lib/deep/x.a"));
        let error = Pattern::try_from("a/[".to_owned()).unwrap_err();
        insta::assert_snapshot!(error, @"`a/[` is not a pattern of paths: invalid range pattern");
    }
}
