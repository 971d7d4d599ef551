//! A sweep as a table: what its rows and columns are.

/// What a sweep is laid out as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepLayout {
    /// What the rows are, such as `map types`.
    pub of: String,
    /// What each row is, such as `hash`.
    pub rows: Vec<String>,
    /// The circumstances each row is attempted under.
    pub columns: Vec<Column>,
    /// Names that stand for nothing that could be attempted, each with the reason.
    pub absent: Vec<UncoveredName>,
    /// Names that nobody has told us how to attempt.
    pub orphans: Vec<UncoveredName>,
}

/// A column: the circumstances of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What scenario files and JSON call it, such as `no_token`.
    pub name: String,
    /// A few characters that stand above it.
    pub head: String,
    /// What they mean.
    pub meaning: String,
}

/// A name of the kernel that no row stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UncoveredName {
    /// The name.
    pub name: String,
    /// Why there is none, or what to do about it.
    pub advice: String,
}

/// What an attempt is to its scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttemptRole {
    /// A line of its own.
    #[default]
    Line,
    /// It makes what attempts of a sweep need, and is not shown.
    Preparation,
    /// A cell of the sweep's table.
    Cell {
        /// Index into [`SweepLayout::rows`].
        row: usize,
        /// Index into [`SweepLayout::columns`].
        column: usize,
    },
}
