//! The helpers that a kernel offers to programs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The names of `enum bpf_func_id` by number, in lower case without `BPF_FUNC_`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HelperNames(BTreeMap<u32, String>);

/// The C enumeration the names come from (`include/uapi/linux/bpf.h`).
pub(super) const ENUMERATION: &str = "bpf_func_id";

const PREFIX: &str = "BPF_FUNC_";

impl HelperNames {
    /// The helpers among the enumerators, which also have `BPF_FUNC_unspec`, number 0, and the bound.
    pub(super) fn of_enumerators(enumerators: &[(String, u32)]) -> Self {
        let named = |(name, number): &(String, u32)| Some((*number, name.strip_prefix(PREFIX)?.to_ascii_lowercase()));
        Self(enumerators.iter().filter(|(_, number)| *number > 0).filter_map(named).collect())
    }

    /// The name of a helper.
    pub fn name(&self, number: u32) -> Option<&str> {
        self.0.get(&number).map(String::as_str)
    }

    /// The largest helper number; 0 if there are no helpers.
    pub fn last(&self) -> u32 {
        self.0.keys().next_back().copied().unwrap_or(0)
    }

    /// Numbers and names, ordered by number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.0.iter().map(|(number, name)| (*number, name.as_str()))
    }

    /// Whether no helper is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_unspec_nor_the_bound_is_a_helper() {
        let enumerators = [("BPF_FUNC_unspec", 0), ("BPF_FUNC_map_lookup_elem", 1), ("BPF_FUNC_d_path", 147)];
        let mut enumerators: Vec<_> = enumerators.map(|(name, number)| (name.to_owned(), number)).to_vec();
        enumerators.push(("__BPF_FUNC_MAX_ID".to_owned(), 212));
        let helpers = HelperNames::of_enumerators(&enumerators);
        assert_eq!((helpers.name(1), helpers.name(0), helpers.name(212)), (Some("map_lookup_elem"), None, None));
        assert_eq!((helpers.last(), helpers.iter().count()), (147, 2));
        assert!(HelperNames::default().is_empty() && HelperNames::default().last() == 0);
    }
}
