//! Compares the helpers that two kernels grant to programs of each type, from sweeps of helpers.

use std::collections::BTreeMap;

use harness_protocol::plan::HelperIds;
use harness_verdict::{judgement::Judgement, verdict::Class};

use crate::difference::{Change, ComparedItem, Effect, ItemKind, KernelAnswer};

/// The changes helper by helper, for program types that load on both kernels; the attempt itself shows a program that does
/// not load.
pub(super) fn compare(before: &Judgement, after: &Judgement) -> Vec<Change> {
    let (Some(one), Some(other)) = (Survey::of(before), Survey::of(after)) else { return Vec::new() };
    let mut changes = Vec::new();
    for (cell, found) in &one.cells {
        let Some(now) = other.cells.get(cell) else { continue };
        for name in one.names.keys().chain(other.names.keys().filter(|name| !one.names.contains_key(*name))) {
            let (was, is) = (one.class(name, cell.0, found), other.class(name, cell.0, now));
            changes.extend(effect(was, is).map(|effect| {
                let what =
                    ItemKind::Helper { helper: (*name).to_owned(), row: cell.0.to_owned(), arm: cell.1.to_owned() };
                let subject = ComparedItem { case: String::new(), what };
                Change { effect, subject, before: was.map(KernelAnswer::class), after: is.map(KernelAnswer::class) }
            }));
        }
    }
    changes
}

/// How a helper changed; the class is `None` on a kernel that does not know the helper.
fn effect(before: Option<Class>, after: Option<Class>) -> Option<Effect> {
    match (before, after) {
        (Some(before), Some(after)) => Effect::of(before, after),
        // A helper that no program of the type may call does not matter, whether the kernel knows it or not.
        (None, Some(Class::Unsupported)) | (Some(Class::Unsupported), None) | (None, None) => None,
        (None, Some(_)) => Some(Effect::Added),
        (Some(_), None) => Some(Effect::Removed),
    }
}

/// The results of one kernel's surveys, by the names of rows and columns.
struct Survey<'g> {
    names: BTreeMap<&'g str, u32>,
    cells: BTreeMap<(&'g str, &'g str), &'g HelperIds>,
}

impl<'g> Survey<'g> {
    fn of(judgement: &'g Judgement) -> Option<Self> {
        let (grid, granted) = (judgement.grid.as_ref()?, judgement.helpers.as_ref()?);
        let names = granted.names.iter().map(|(id, name)| (name.as_str(), *id)).collect();
        let cell = |(&(row, column), ids): (&(usize, usize), &'g HelperIds)| {
            Some(((grid.rows.get(row)?.as_str(), grid.columns.get(column)?.name.as_str()), ids))
        };
        Some(Self { names, cells: granted.found.iter().filter_map(cell).collect() })
    }

    /// The class of a helper: denied if a program of the same type gets it in another arm, unsupported if none does.
    fn class(&self, name: &str, row: &str, found: &HelperIds) -> Option<Class> {
        let id = *self.names.get(name)?;
        let elsewhere = || self.cells.iter().any(|((of, _), ids)| *of == row && ids.contains(id));
        Some(match found.contains(id) {
            true => Class::Allowed,
            false if elsewhere() => Class::Denied,
            false => Class::Unsupported,
        })
    }
}
