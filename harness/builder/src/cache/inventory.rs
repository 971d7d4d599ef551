//! The contents of a cache folder, read without changing it and without following links.

use std::{
    collections::HashSet,
    fs::{self, File, Metadata, TryLockError},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use thiserror::Error;

use super::area::{Area, LOCKS, SUMS};
use crate::folder;

/// The file in a run's folder that is locked while the run lasts.
const RUN_LOCK: &str = "lock";

/// Why a folder cannot be read as a cache.
#[derive(Debug, Error)]
pub enum InventoryError {
    /// It contains something that the harness never puts there.
    #[error(
        "{} contains `{unknown}`, which is not part of a cache of this project, so nothing in it was touched; is {} set to \
         the wrong folder?",
        root.display(),
        super::error::CACHE_VARIABLE
    )]
    NotOurs {
        /// The folder.
        root: PathBuf,
        /// The first such name.
        unknown: String,
    },
    /// It could not be read.
    #[error("cannot read {} in the cache", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

/// A part of the cache that can be removed by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The area it belongs to.
    pub area: Area,
    /// Its name in the area's folder; the name of an outcome has one `/`.
    pub name: String,
    /// Its size on the disk, in bytes. A file with several names counts once, for the first item it is found in.
    pub bytes: u64,
    /// When it was last made, changed or locked for use.
    pub used: SystemTime,
    /// Whether a running process has VMs in it; always false outside folders of runs.
    pub is_running: bool,
}

/// Everything in a cache folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// In the order of areas, then by name.
    pub items: Vec<Item>,
}

impl Inventory {
    /// Reads a cache folder. A missing one is empty.
    ///
    /// # Errors
    /// [`InventoryError::NotOurs`] if it contains anything that the cache never makes, or if an area is a link.
    pub fn of(root: &Path) -> Result<Self, InventoryError> {
        check_ours(root)?;
        let mut reader = Reader { root, seen: HashSet::new(), items: Vec::new() };
        Area::ALL.into_iter().try_for_each(|area| reader.area(area))?;
        Ok(Self { items: reader.items })
    }

    /// The size of an area, in bytes.
    pub fn bytes(&self, area: Area) -> u64 {
        self.items.iter().filter(|item| item.area == area).map(|item| item.bytes).sum()
    }
}

/// The file of the scenarios that failed when they last ran.
pub const FAILED: &str = "failed.json";
/// The file of earlier measurements.
pub const MEASURED: &str = "bench.jsonl";

/// Errors if a folder contains anything that the cache never makes.
fn check_ours(root: &Path) -> Result<(), InventoryError> {
    let is_ours = |name: &str| [LOCKS, SUMS].contains(&name) || Area::ALL.iter().any(|area| area.folder() == name);
    for entry in listing(root)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file()) && [FAILED, MEASURED].contains(&name.as_str());
        if !(is_ours(&name) && is_folder || is_file) {
            return Err(InventoryError::NotOurs { root: root.to_owned(), unknown: name });
        }
    }
    Ok(())
}

struct Reader<'a> {
    root: &'a Path,
    /// Files with several names that were already counted.
    seen: HashSet<(u64, u64)>,
    items: Vec<Item>,
}

impl Reader<'_> {
    fn area(&mut self, area: Area) -> Result<(), InventoryError> {
        let folder = self.root.join(area.folder());
        let mut names = names(&folder)?;
        if area == Area::Store {
            // Its files are in one folder per first two letters.
            let all = names.into_iter().map(|prefix| Ok((self::names(&folder.join(&prefix))?, prefix)));
            let all: Vec<(Vec<String>, String)> = all.collect::<Result<_, InventoryError>>()?;
            names = all
                .iter()
                .flat_map(|(files, prefix)| files.iter().map(move |file| format!("{prefix}/{file}")))
                .collect();
        }
        names.into_iter().try_for_each(|name| self.item(area, &folder.join(&name), name))
    }

    fn item(&mut self, area: Area, path: &Path, name: String) -> Result<(), InventoryError> {
        let Some(metadata) = metadata(path)? else { return Ok(()) };
        let lock = self.root.join(LOCKS).join(format!("{}-{name}", area.folder()));
        let locked = self::metadata(&lock)?.and_then(|lock| lock.modified().ok());
        let made = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let bytes = self.bytes(path)?;
        let is_running = area == Area::Runs && is_alive(path);
        self.items.push(Item { area, name, bytes, used: locked.map_or(made, |locked| locked.max(made)), is_running });
        Ok(())
    }

    /// Returns the size of a file, or of a folder with everything in it. Does not follow links, and ignores files that
    /// disappear meanwhile and folders that cannot be read.
    fn bytes(&mut self, path: &Path) -> Result<u64, InventoryError> {
        match folder::measure(path, &mut self.seen, |_| false) {
            Ok(usage) => Ok(usage.bytes),
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(source) => Err(InventoryError::Io { path: path.to_owned(), source }),
        }
    }
}

/// Reports whether a process runs VMs in this folder.
pub(super) fn is_alive(run: &Path) -> bool {
    matches!(File::open(run.join(RUN_LOCK)).map(|file| file.try_lock()), Ok(Err(TryLockError::WouldBlock)))
}

/// Returns the metadata of a path itself; `None` if it is gone meanwhile.
fn metadata(path: &Path) -> Result<Option<Metadata>, InventoryError> {
    match path.symlink_metadata() {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(InventoryError::Io { path: path.to_owned(), source }),
    }
}

/// Returns the sorted names in a folder; none if it is gone, or not a folder.
fn names(folder: &Path) -> Result<Vec<String>, InventoryError> {
    let mut names: Vec<String> =
        listing(folder)?.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    Ok(names)
}

fn listing(folder: &Path) -> Result<Vec<fs::DirEntry>, InventoryError> {
    if !metadata(folder)?.is_some_and(|metadata| metadata.is_dir()) {
        return Ok(Vec::new());
    }
    match fs::read_dir(folder).and_then(Iterator::collect) {
        Ok(entries) => Ok(entries),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(InventoryError::Io { path: folder.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cache::Cache, progress::Progress};

    fn write(path: &Path, length: usize) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![1; length]).unwrap();
    }

    #[test]
    fn sizes_are_disk_usage_and_links_are_not_followed() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(&elsewhere.path().join("large"), 1 << 20);
        write(&folder.path().join("kernels/6.12-a/boot"), 40_000);
        fs::hard_link(folder.path().join("kernels/6.12-a/boot"), folder.path().join("kernels/6.12-a/boot2")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("kernels/6.12-a/out")).unwrap();
        write(&folder.path().join("store/0a/bc.json"), 10);
        let inventory = Inventory::of(folder.path()).unwrap();
        let kernels = inventory.bytes(Area::Kernels);
        assert!((40_000..100_000).contains(&kernels), "{kernels}");
        let names: Vec<&str> = inventory.items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["6.12-a", "0a/bc.json"]);
    }

    #[test]
    fn a_folder_with_anything_else_is_refused() {
        let refused = |unknown: &str| {
            let folder = tempfile::tempdir().unwrap();
            write(&folder.path().join("downloads/a.deb"), 1);
            write(&folder.path().join(unknown), 1);
            let message = Inventory::of(folder.path()).unwrap_err().to_string();
            message.replace(folder.path().to_str().unwrap(), "/CACHE")
        };
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("cache").join(FAILED), 1);
        write(&folder.path().join("cache").join(MEASURED), 1);
        assert!(Inventory::of(&folder.path().join("cache")).unwrap().items.is_empty());
        insta::assert_snapshot!(refused("Documents/a"), @"/CACHE contains `Documents`, which is not part of a cache of this project, so nothing in it was touched; is BPF_TOKEN_HARNESS_CACHE set to the wrong folder?");
        insta::assert_snapshot!(refused("notes.txt"), @"/CACHE contains `notes.txt`, which is not part of a cache of this project, so nothing in it was touched; is BPF_TOKEN_HARNESS_CACHE set to the wrong folder?");
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/usr", folder.path().join("images")).unwrap();
        assert!(matches!(Inventory::of(folder.path()), Err(InventoryError::NotOurs { .. })));
        assert_eq!(Inventory::of(&folder.path().join("not-there")).unwrap(), Inventory::default());
    }

    #[test]
    fn a_running_run_differs_from_one_that_was_killed() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("runs/1-0/lock"), 0);
        write(&folder.path().join("runs/2-0/lock"), 0);
        let lock = File::open(folder.path().join("runs/2-0/lock")).unwrap();
        lock.lock().unwrap();
        let is_running: Vec<bool> =
            Inventory::of(folder.path()).unwrap().items.iter().map(|item| item.is_running).collect();
        assert_eq!(is_running, [false, true]);
    }

    #[test]
    fn locking_an_item_counts_as_using_it() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        write(&folder.path().join("trees/kernel-a/f"), 1);
        let long_ago = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000);
        File::open(folder.path().join("trees/kernel-a")).unwrap().set_modified(long_ago).unwrap();
        let used = || Inventory::of(folder.path()).unwrap().items[0].used;
        assert_eq!(used(), long_ago);
        drop(cache.entry(Area::Trees, "kernel-a").unwrap().lock(&Progress::silent()).unwrap());
        assert!(used() > long_ago);
    }
}
