//! Which helpers programs of each type were granted.

use std::collections::BTreeMap;

use harness_protocol::plan::HelperIds;

/// What the surveys of a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantedHelpers {
    /// The kernel's helpers, in its order.
    pub names: Vec<(u32, String)>,
    /// What was granted, by the row of the program type and the column of the circumstances; nothing where no program of
    /// the type was loaded.
    pub found: BTreeMap<(usize, usize), HelperIds>,
}

impl GrantedHelpers {
    /// What was granted to a row under the circumstances of a column.
    pub fn of(&self, row: usize, column: usize) -> Option<&HelperIds> {
        self.found.get(&(row, column))
    }

    /// The types whose programs have a helper under any circumstances.
    pub fn having(&self, rows: usize, id: u32) -> Vec<usize> {
        let has = |row: &usize| self.found.range((*row, 0)..(*row + 1, 0)).any(|(_, ids)| ids.contains(id));
        (0..rows).filter(has).collect()
    }

    /// Whether programs of any type were loaded in a column.
    pub fn is_of_use(&self, column: usize) -> bool {
        self.found.keys().any(|(_, of)| *of == column)
    }
}
