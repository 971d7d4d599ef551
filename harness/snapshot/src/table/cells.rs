//! The verdicts of a sweep by row and column.

use harness_scenario::layout::{AttemptRole, SweepLayout};
use harness_verdict::{
    granted::GrantedHelpers,
    judgement::{Judgement, Row},
};

/// The attempts of a judgement by their cell in the table.
pub(crate) struct Cells<'a> {
    cells: Vec<Option<&'a Row>>,
    columns: usize,
    helpers: Option<&'a GrantedHelpers>,
}

impl<'a> Cells<'a> {
    pub(crate) fn of(grid: &SweepLayout, judgement: &'a Judgement) -> Self {
        let columns = grid.columns.len();
        let mut cells = vec![None; grid.rows.len() * columns];
        for row in judgement.cases.iter().flat_map(|case| &case.rows) {
            if let AttemptRole::Cell { row: line, column } = row.part
                && let Some(cell) = cells.get_mut(line * columns + column)
            {
                *cell = Some(row);
            }
        }
        Self { cells, columns, helpers: judgement.helpers.as_ref() }
    }

    /// The granted helpers, if it is a sweep of helpers.
    pub(crate) fn helpers(&self) -> Option<&'a GrantedHelpers> {
        self.helpers
    }

    pub(crate) fn get(&self, row: usize, column: usize) -> Option<&'a Row> {
        self.cells.get(row * self.columns + column).copied().flatten()
    }

    /// All attempts of a column, each with its row index.
    pub(crate) fn column(&self, column: usize) -> impl Iterator<Item = (usize, &'a Row)> {
        let rows = self.cells.len().checked_div(self.columns).unwrap_or(0);
        (0..rows).filter_map(move |row| Some((row, self.get(row, column)?)))
    }

    /// All attempts, each with its row index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &'a Row)> {
        self.cells.iter().enumerate().filter_map(|(at, cell)| Some((at / self.columns.max(1), (*cell)?)))
    }
}
