//! Freeing space: decides what of a cache is no longer needed, and removes it.
//!
//! [`Plan::new`] decides from an [`Inventory`] alone. [`Plan::carry_out`] removes the planned items one by one, each
//! under its own lock.

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

/// An item that was not used for longer than this is old.
pub const OLD: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A temporary folder has no lock of its own; one that was used within this time may still be in use.
const POSSIBLY_IN_USE: Duration = Duration::from_secs(24 * 60 * 60);

/// The cache items that the files of a project refer to.
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

    /// Adds all items whose names start with a prefix.
    pub fn add_all(&mut self, area: Area, prefix: impl Into<String>) {
        self.prefixes.push((area.folder(), prefix.into()));
    }

    /// Reports whether an item is referred to.
    pub fn has(&self, area: Area, name: &str) -> bool {
        let matches = |(of, prefix): &(&str, String)| *of == area.folder() && name.starts_with(prefix.as_str());
        self.names.contains(&(area.folder(), name.to_owned())) || self.prefixes.iter().any(matches)
    }
}

/// How much to remove from the selected areas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CleanScope {
    /// Items that are no longer needed.
    Idle,
    /// Everything that no running process uses.
    Everything,
}

/// Why an item is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalReason {
    /// No manifest or source of the project refers to it.
    Unreferenced,
    /// It was not used for longer than [`OLD`].
    Old,
    /// A process that has ended left it incomplete.
    Leftover,
    /// The user asked to remove everything.
    Asked,
}

impl fmt::Display for RemovalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unreferenced => "nothing in the project refers to it",
            Self::Old => "not used for 30 days",
            Self::Leftover => "left by a process that has ended",
            Self::Asked => "requested",
        })
    }
}

/// What to remove, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the inventory.
    pub removals: Vec<(Item, RemovalReason)>,
    /// Whether VMs are running that may use kernels, images, programs and outcomes.
    pub vms_running: bool,
}

/// The result of removing items.
#[derive(Debug, Default)]
pub struct Freed {
    /// The number of removed items.
    pub items: usize,
    /// The space they took, in bytes.
    pub bytes: u64,
    /// The items that were kept, with the reason.
    pub left: Vec<(Item, String)>,
}

impl Plan {
    /// Decides which items of these areas to remove.
    pub fn new(
        inventory: &Inventory,
        references: &References,
        areas: &[Area],
        scope: CleanScope,
        now: SystemTime,
    ) -> Self {
        let selected = inventory.items.iter().filter(|item| areas.contains(&item.area));
        let removals = selected.filter_map(|item| Some((item.clone(), removal_reason(item, references, scope, now)?)));
        Self { removals: removals.collect(), vms_running: inventory.items.iter().any(|item| item.is_running) }
    }

    /// The space it would free in an area, in bytes.
    pub fn bytes(&self, area: Area) -> u64 {
        self.of(area).map(|(item, _)| item.bytes).sum()
    }

    /// The items it would remove from an area.
    pub fn of(&self, area: Area) -> impl Iterator<Item = &(Item, RemovalReason)> {
        self.removals.iter().filter(move |(item, _)| item.area == area)
    }

    /// Removes the planned items. Keeps items that a process has locked, and those that running VMs may use.
    ///
    /// # Errors
    /// [`CacheError`] at the first item that cannot be removed; earlier items are already gone.
    pub fn carry_out(&self, cache: &Cache) -> Result<Freed, CacheError> {
        let mut freed = Freed::default();
        for (item, _) in &self.removals {
            let left = if self.vms_running && used_by_vms(item.area) {
                Some("running VMs may use it".to_owned())
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

/// Returns why an item is removed; `None` if it is kept.
fn removal_reason(item: &Item, references: &References, scope: CleanScope, now: SystemTime) -> Option<RemovalReason> {
    let unused_for = |span| now.duration_since(item.used).is_ok_and(|since| since > span);
    let referenced = || references.has(item.area, &item.name);
    match (kind(item), scope) {
        (Kind::Kept, _) => None,
        (Kind::Temporary, _) => unused_for(POSSIBLY_IN_USE).then_some(RemovalReason::Leftover),
        (Kind::Incomplete, _) => Some(RemovalReason::Leftover),
        (Kind::Whole, _) if item.area == Area::Runs => Some(RemovalReason::Leftover),
        (Kind::Whole, CleanScope::Everything) => Some(RemovalReason::Asked),
        (Kind::Whole, CleanScope::Idle) => match item.area {
            Area::Store => unused_for(OLD).then_some(RemovalReason::Old),
            Area::Trees if referenced() => unused_for(OLD).then_some(RemovalReason::Old),
            _ => (!referenced()).then_some(RemovalReason::Unreferenced),
        },
    }
}

/// What kind of item a name stands for.
enum Kind {
    /// It is in use, or small and found anew.
    Kept,
    /// A temporary folder for one download or one unpacked archive.
    Temporary,
    /// A build beside an entry that is not renamed yet; the entry's lock guards it.
    Incomplete,
    /// A complete entry.
    Whole,
}

fn kind(item: &Item) -> Kind {
    let is_run = item.name.starts_with(|first: char| first.is_ascii_digit());
    match item.area {
        Area::Runs if item.is_running || !is_run => Kind::Kept,
        _ if entry_of(&item.name).is_some_and(|name| name != item.name) => Kind::Incomplete,
        Area::Store if !item.name.contains('.') => Kind::Kept,
        _ if item.name.starts_with('.') || item.name.contains("/.") => Kind::Temporary,
        _ => Kind::Whole,
    }
}

/// Returns the name of the entry that an item is, or is an incomplete build of; `None` if it has no entry.
fn entry_of(name: &str) -> Option<&str> {
    let incomplete = [".partial-", ".replaced-"].iter().find_map(|prefix| name.strip_prefix(prefix));
    incomplete.or_else(|| (!name.starts_with('.') && !name.contains('/')).then_some(name))
}

/// Reports whether running VMs, or a run between two VMs, may use the items of an area.
fn used_by_vms(area: Area) -> bool {
    matches!(
        area,
        Area::Kernels | Area::Mutants | Area::Images | Area::Guest | Area::Objects | Area::Bundles | Area::Store
    )
}

/// Removes an item; returns why not, if it is in use.
fn remove(item: &Item, cache: &Cache) -> Result<Option<String>, CacheError> {
    if item.area == Area::Runs && inventory::is_alive(&cache.root().join(item.area.folder()).join(&item.name)) {
        return Ok(Some("a process runs VMs in it".to_owned()));
    }
    let lock = match entry_of(&item.name) {
        Some(name) if item.area != Area::Runs => match cache.entry(item.area, name) {
            // The cache makes no entry of this name.
            Err(CacheError::BadName { .. }) => return Ok(Some("the cache did not make it".to_owned())),
            entry => Some(entry?.lock_if_free()?),
        },
        _ => None,
    };
    match lock {
        Some(Err(holder)) => Ok(Some(format!("{holder} has locked it"))),
        Some(Ok(lock)) if entry_of(&item.name) == Some(item.name.as_str()) => lock.discard().map(|()| None),
        // An incomplete build, under its entry's lock, or an item without a lock.
        _ => {
            let path = cache.root().join(item.area.folder()).join(&item.name);
            file::remove(&path).map_err(CacheError::io("remove", &path)).map(|()| None)
        }
    }
}

#[cfg(test)]
mod tests;
