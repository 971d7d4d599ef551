//! Freeing space: what of a cache is of no use any more, and removing it.
//!
//! [`Plan::new`] decides from an [`Inventory`] alone; [`Plan::carry_out`] removes what it says, item by item under the
//! item's own lock.

use std::{
    collections::BTreeSet,
    fmt,
    time::{Duration, SystemTime},
};

use super::{
    Area, Cache, CacheError,
    inventory::{self, Inventory, Item},
};
use crate::file;

/// What was not used for so long is old.
pub const OLD: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A nameless leftover may be in use by somebody who holds no lock of its own for less than this.
const SETTLED: Duration = Duration::from_secs(24 * 60 * 60);

/// What the files of a project refer to.
#[derive(Clone, Debug, Default)]
pub struct References {
    names: BTreeSet<(&'static str, String)>,
    prefixes: Vec<(&'static str, String)>,
}

impl References {
    /// Adds an item.
    pub fn add(&mut self, area: Area, name: impl Into<String>) {
        self.names.insert((area.folder(), name.into()));
    }

    /// Adds all items whose names begin so.
    pub fn add_all(&mut self, area: Area, prefix: impl Into<String>) {
        self.prefixes.push((area.folder(), prefix.into()));
    }

    /// Whether an item is referred to.
    pub fn has(&self, area: Area, name: &str) -> bool {
        let begins = |(of, prefix): &(&str, String)| *of == area.folder() && name.starts_with(prefix.as_str());
        self.names.contains(&(area.folder(), name.to_owned())) || self.prefixes.iter().any(begins)
    }
}

/// How much of the selected areas is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanScope {
    /// What is of no use any more.
    Idle,
    /// Everything that no living process uses.
    Everything,
}

/// Why an item goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalReason {
    /// No manifest, recipe or source of the project refers to it.
    Unreferenced,
    /// It was not used for [`OLD`].
    Old,
    /// A process that is gone left it half made.
    Leftover,
    /// Somebody asked for everything.
    Asked,
}

impl fmt::Display for RemovalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unreferenced => "nothing in the project refers to it",
            Self::Old => "not used for 30 days",
            Self::Leftover => "left by a process that is gone",
            Self::Asked => "asked for",
        })
    }
}

/// What to remove, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the inventory.
    pub doomed: Vec<(Item, RemovalReason)>,
    /// Whether VMs run that may use kernels, images, programs and outcomes.
    pub vms_run: bool,
}

/// What came of removing.
#[derive(Debug, Default)]
pub struct Freed {
    /// How many items are gone.
    pub items: usize,
    /// What they took, in bytes.
    pub bytes: u64,
    /// What was left alone, with the reason.
    pub left: Vec<(Item, String)>,
}

impl Plan {
    /// Decides which items of these areas go.
    pub fn new(
        inventory: &Inventory,
        references: &References,
        areas: &[Area],
        reach: CleanScope,
        now: SystemTime,
    ) -> Self {
        let selected = inventory.items.iter().filter(|item| areas.contains(&item.area));
        let doomed = selected.filter_map(|item| Some((item.clone(), why(item, references, reach, now)?)));
        Self { doomed: doomed.collect(), vms_run: inventory.items.iter().any(|item| item.lives) }
    }

    /// What it would free of an area, in bytes.
    pub fn bytes(&self, area: Area) -> u64 {
        self.of(area).map(|(item, _)| item.bytes).sum()
    }

    /// What it would remove of an area.
    pub fn of(&self, area: Area) -> impl Iterator<Item = &(Item, RemovalReason)> {
        self.doomed.iter().filter(move |(item, _)| item.area == area)
    }

    /// Removes what it says. What a process holds locked is left alone, as is what running VMs may use.
    ///
    /// # Errors
    /// [`CacheError`] at the first item that cannot be removed; what was removed until then is gone.
    pub fn carry_out(&self, cache: &Cache) -> Result<Freed, CacheError> {
        let mut freed = Freed::default();
        for (item, _) in &self.doomed {
            let left = if self.vms_run && is_of_vms(item.area) {
                Some("VMs run that may use it".to_owned())
            } else {
                remove(item, cache)?
            };
            match left {
                Some(reason) => freed.left.push((item.clone(), reason)),
                None => {
                    freed.items += 1;
                    freed.bytes += item.bytes;
                }
            }
        }
        Ok(freed)
    }
}

/// Why an item goes; `None` if it stays.
fn why(item: &Item, references: &References, reach: CleanScope, now: SystemTime) -> Option<RemovalReason> {
    let unused_for = |span| now.duration_since(item.used).is_ok_and(|since| since > span);
    let referenced = || references.has(item.area, &item.name);
    match (kind(item), reach) {
        (Kind::Kept, _) => None,
        (Kind::Nameless, _) => unused_for(SETTLED).then_some(RemovalReason::Leftover),
        (Kind::HalfMade, _) => Some(RemovalReason::Leftover),
        (Kind::Whole, _) if item.area == Area::Runs => Some(RemovalReason::Leftover),
        (Kind::Whole, CleanScope::Everything) => Some(RemovalReason::Asked),
        (Kind::Whole, CleanScope::Idle) => match item.area {
            Area::Store => unused_for(OLD).then_some(RemovalReason::Old),
            Area::Trees if referenced() => unused_for(OLD).then_some(RemovalReason::Old),
            _ => (!referenced()).then_some(RemovalReason::Unreferenced),
        },
    }
}

/// What an item is by its name.
enum Kind {
    /// Somebody lives in it, or it is small and found anew.
    Kept,
    /// A folder for one download or one unpacking.
    Nameless,
    /// What is built beside an entry before it is renamed; the entry's lock guards it.
    HalfMade,
    Whole,
}

fn kind(item: &Item) -> Kind {
    let is_folder_of_a_run = item.name.starts_with(|first: char| first.is_ascii_digit());
    match item.area {
        Area::Runs if item.lives || !is_folder_of_a_run => Kind::Kept,
        _ if entry_of(&item.name).is_some_and(|name| name != item.name) => Kind::HalfMade,
        Area::Store if !item.name.contains('.') => Kind::Kept,
        _ if item.name.starts_with('.') || item.name.contains("/.") => Kind::Nameless,
        _ => Kind::Whole,
    }
}

/// The name of the entry that an item is, or is a half-made part of; `None` for what has no entry.
fn entry_of(name: &str) -> Option<&str> {
    let half = [".partial-", ".replaced-"].iter().find_map(|prefix| name.strip_prefix(prefix));
    half.or_else(|| (!name.starts_with('.') && !name.contains('/')).then_some(name))
}

/// Whether running VMs, or a run between two VMs, may use what is in an area.
fn is_of_vms(area: Area) -> bool {
    matches!(area, Area::Kernels | Area::Mutants | Area::Images | Area::Guest | Area::Objects | Area::Store)
}

/// Removes one item; why not, if somebody uses it.
fn remove(item: &Item, cache: &Cache) -> Result<Option<String>, CacheError> {
    if item.area == Area::Runs && inventory::is_alive(&cache.root().join(item.area.folder()).join(&item.name)) {
        return Ok(Some("a process runs VMs in it".to_owned()));
    }
    let lock = match entry_of(&item.name) {
        Some(name) if item.area != Area::Runs => match cache.entry(item.area, name) {
            // A name of nothing that the cache makes.
            Err(CacheError::BadName { .. }) => return Ok(Some("it is not of the cache".to_owned())),
            entry => Some(entry?.lock_if_free()?),
        },
        _ => None,
    };
    match lock {
        Some(Err(holder)) => Ok(Some(format!("{holder} holds it"))),
        Some(Ok(lock)) if entry_of(&item.name) == Some(item.name.as_str()) => lock.discard().map(|()| None),
        // A half-made item under its entry's lock, or one that has no lock.
        _ => {
            let path = cache.root().join(item.area.folder()).join(&item.name);
            file::remove(&path).map_err(CacheError::io("remove", &path)).map(|()| None)
        }
    }
}

#[cfg(test)]
mod tests;
