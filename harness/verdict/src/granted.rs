//! Which helpers programs of each type were granted.

use std::collections::BTreeMap;

use harness_protocol::plan::HelperIds;

/// The helpers that the surveys of a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantedHelpers {
    /// The kernel's helpers, in its order.
    pub names: Vec<(u32, String)>,
    /// The helpers granted, by row (program type) and column (arm); no entry where no program of the type could be loaded.
    pub found: BTreeMap<(usize, usize), HelperIds>,
}

impl GrantedHelpers {
    /// Returns the helpers granted to a row in a column.
    pub fn of(&self, row: usize, column: usize) -> Option<&HelperIds> {
        self.found.get(&(row, column))
    }

    /// Returns the rows whose programs may call a helper in at least one column.
    pub fn having(&self, rows: usize, id: u32) -> Vec<usize> {
        let has = |row: &usize| self.found.range((*row, 0)..(*row + 1, 0)).any(|(_, ids)| ids.contains(id));
        (0..rows).filter(has).collect()
    }

    /// Whether a program of any type could be loaded in a column.
    pub fn has_programs(&self, column: usize) -> bool {
        self.found.keys().any(|(_, of)| *of == column)
    }
}
