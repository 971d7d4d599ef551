//! Helpers that two kernels grant to programs of each type, from sweeps of helpers.

use std::collections::BTreeMap;

use harness_protocol::plan::HelperIds;
use harness_verdict::{judgement::Judgement, verdict::Class};

use crate::difference::{Change, ComparedItem, Effect, ItemKind, KernelAnswer};

/// What changed from helper to helper, where programs of a type are loaded on both kernels: a program that is not loaded
/// is an attempt that says so itself.
pub(super) fn compare(before: &Judgement, after: &Judgement) -> Vec<Change> {
    let (Some(one), Some(other)) = (Survey::of(before), Survey::of(after)) else { return Vec::new() };
    let mut changes = Vec::new();
    for (place, found) in &one.cells {
        let Some(now) = other.cells.get(place) else { continue };
        for name in one.names.keys().chain(other.names.keys().filter(|name| !one.names.contains_key(*name))) {
            let (was, is) = (one.class(name, place.0, found), other.class(name, place.0, now));
            changes.extend(effect(was, is).map(|effect| {
                let what =
                    ItemKind::Helper { helper: (*name).to_owned(), row: place.0.to_owned(), arm: place.1.to_owned() };
                let subject = ComparedItem { case: String::new(), what };
                Change { effect, subject, before: was.map(KernelAnswer::class), after: is.map(KernelAnswer::class) }
            }));
        }
    }
    changes
}

/// What became of a helper; a kernel that does not know its name has no class of it.
fn effect(before: Option<Class>, after: Option<Class>) -> Option<Effect> {
    match (before, after) {
        (Some(before), Some(after)) => Effect::of(before, after),
        // A helper no program of the type may call is nothing to it, known or not.
        (None, Some(Class::Unsupported)) | (Some(Class::Unsupported), None) | (None, None) => None,
        (None, Some(_)) => Some(Effect::Added),
        (Some(_), None) => Some(Effect::Removed),
    }
}

/// What surveys of one kernel found, by the names of rows and columns.
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

    /// A helper is denied to a program if one of its type has it under other circumstances; if none has, the type has
    /// not got it.
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
