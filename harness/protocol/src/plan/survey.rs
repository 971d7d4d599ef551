//! Surveys of the helpers that a program may call: many loads that are one attempt.

use serde::{Deserialize, Serialize};

use crate::plan::ProgTarget;

/// A kind of program, and the helpers to ask about.
///
/// Whether a program may call a helper depends on its type, its expected attach type and what it is attached to, and on
/// the capabilities of its loader (`check_helper_call` and its `get_func_proto` in `kernel/bpf/verifier.c`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelperSurvey {
    /// `enum bpf_prog_type`.
    pub prog_type: u32,
    /// `enum bpf_attach_type`.
    pub expected_attach_type: u32,
    /// `prog_flags` without `BPF_F_TOKEN_FD`.
    pub prog_flags: u32,
    /// The kernel's function or structure that it is written for, if any.
    #[serde(default)]
    pub target: ProgTarget,
    /// A value that a program of the kind may return.
    pub returns: i32,
    /// The helpers to ask about.
    pub ids: HelperIds,
    /// An earlier survey, by the name it was saved under, which limits the helpers to those that it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// Earlier surveys, likewise: helpers that they found count as found, without being asked about again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beyond: Vec<String>,
}

/// Helpers by their numbers in `enum bpf_func_id`, written as `1-4,7`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HelperIds(Vec<u32>);

/// The error of a text that is not a list of helpers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a list of helpers: write numbers from 1 to {LARGEST} in ascending order, such as `1-4,7`")]
pub struct BadHelperIds(String);

/// More helpers than any kernel will have; bounds what a text may expand to.
const LARGEST: u32 = 9999;

impl HelperIds {
    /// Returns the helpers up to this number.
    pub fn up_to(last: u32) -> Self {
        Self((1..=last.min(LARGEST)).collect())
    }

    /// Iterates over them in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    /// Returns their number.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the union with `others`.
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        self.iter().chain(others.iter()).collect()
    }

    /// Returns whether this helper is one of them.
    pub fn contains(&self, id: u32) -> bool {
        self.0.binary_search(&id).is_ok()
    }
}

impl FromIterator<u32> for HelperIds {
    fn from_iter<I: IntoIterator<Item = u32>>(ids: I) -> Self {
        let mut ids: Vec<u32> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self(ids)
    }
}

impl std::fmt::Display for HelperIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let runs = self.0.chunk_by(|one, next| one + 1 == *next);
        for (index, run) in runs.enumerate() {
            let comma = if index > 0 { "," } else { "" };
            match run {
                [one] => write!(f, "{comma}{one}")?,
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for HelperIds {
    type Err = BadHelperIds;

    fn from_str(text: &str) -> Result<Self, BadHelperIds> {
        let bad = || BadHelperIds(text.chars().take(100).collect());
        let mut ids = Vec::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |digits: &str| digits.parse::<u32>().map_err(|_| bad());
            let (first, last) = (number(first)?, number(last)?);
            let above = ids.last().map_or(0, |id| *id);
            if first <= above || last < first || last > LARGEST {
                return Err(bad());
            }
            ids.extend(first..=last);
        }
        Ok(Self(ids))
    }
}

impl TryFrom<String> for HelperIds {
    type Error = BadHelperIds;

    fn try_from(text: String) -> Result<Self, BadHelperIds> {
        text.parse()
    }
}

impl From<HelperIds> for String {
    fn from(ids: HelperIds) -> Self {
        ids.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_short_and_parsed_again() {
        for text in ["", "1", "1-2", "1,3", "1-4,7,9-211"] {
            let ids: HelperIds = text.parse().unwrap();
            assert_eq!(ids.to_string(), text);
        }
        let ids: HelperIds = [7, 1, 3, 2, 2].into_iter().collect();
        assert_eq!((ids.to_string().as_str(), ids.len()), ("1-3,7", 4));
        assert!(ids.contains(7) && !ids.contains(4) && !ids.is_empty());
        assert_eq!(ids.with(&"2,9".parse().unwrap()).to_string(), "1-3,7,9");
        assert_eq!(HelperIds::up_to(3).iter().collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn malformed_lists_are_rejected() {
        for text in ["0", "-", "1-", "2-1", "1,1", "3,2", "1, 2", "x", "1-10000", "4294967296", ","] {
            assert_eq!(text.parse::<HelperIds>(), Err(BadHelperIds(text.to_owned())));
        }
        insta::assert_snapshot!(
            BadHelperIds("2-1".to_owned()),
            @"`2-1` is not a list of helpers: write numbers from 1 to 9999 in ascending order, such as `1-4,7`"
        );
    }
}
