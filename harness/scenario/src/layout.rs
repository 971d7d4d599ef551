//! The table of a sweep: its rows and columns.

/// The table of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepLayout {
    /// What the rows are, such as `map types`.
    pub of: String,
    /// What each row is, such as `hash`.
    pub rows: Vec<String>,
    /// The arms.
    pub columns: Vec<Column>,
    /// Names that cannot be attempted, each with the reason.
    pub absent: Vec<UncoveredName>,
    /// Names without a recipe.
    pub orphans: Vec<UncoveredName>,
}

/// A column: an arm of the sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in scenario files and JSON, such as `no_token`.
    pub name: String,
    /// The header: a few characters.
    pub head: String,
    /// What the header means.
    pub meaning: String,
}

/// A name of the kernel that has no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UncoveredName {
    /// The name.
    pub name: String,
    /// Why there is no row, or what to do about it.
    pub advice: String,
}

/// The role of an attempt in its scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttemptRole {
    /// A line of its own.
    #[default]
    Line,
    /// It creates what attempts of a sweep need, and is not shown.
    Preparation,
    /// A cell of the sweep's table.
    Cell {
        /// Index into [`SweepLayout::rows`].
        row: usize,
        /// Index into [`SweepLayout::columns`].
        column: usize,
    },
}
