//! One artefact of the cache: its lock, the staging path it is built at, and the step that makes it visible.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    process,
};

use super::{
    area::Area,
    error::CacheError,
    sums::{Damage, Part, Sums},
};
use crate::{digest::Sha256, file::remove, progress::Progress};

/// A named path in the cache, whether or not it exists.
#[derive(Clone, Debug)]
pub struct Entry {
    path: PathBuf,
    area: Area,
    /// The file that is locked.
    lock: PathBuf,
    /// The file with the sums.
    sums: PathBuf,
}

impl Entry {
    pub(super) fn new(path: PathBuf, area: Area, lock: PathBuf, sums: PathBuf) -> Self {
        Self { path, area, lock, sums }
    }

    /// The absolute final path.
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Returns the final path if it exists. It is complete then: it was renamed to this path.
    pub fn existing(&self) -> Option<PathBuf> {
        Some(self.path()).filter(|path| path.exists())
    }

    /// Returns the final path if it exists, and nothing shows that this part is not what was published.
    pub fn undamaged(&self, part: Part<'_>) -> Result<Option<PathBuf>, CacheError> {
        let Some(path) = self.existing() else { return Ok(None) };
        Ok(if self.damage(part)?.is_none() { Some(path) } else { None })
    }

    /// Returns the final path if it exists and this part is what was published. Removes an entry that is damaged, and
    /// shows that, so that the caller builds it again. An entry without sums, which an older version published, is
    /// trusted, and its sums are recorded.
    pub fn intact(&self, part: Part<'_>, progress: &Progress) -> Result<Option<PathBuf>, CacheError> {
        if self.is_sealed()
            && let Some(path) = self.undamaged(part)?
        {
            return Ok(Some(path));
        }
        if self.existing().is_none() {
            return Ok(None);
        }
        // While another process replaces the entry, its sums are those of the new one.
        self.clone().lock(progress)?.intact(part, progress)
    }

    /// Returns the final path of a download if it exists and has the pinned sum. Shows if it has another, so that the
    /// caller downloads it again.
    pub(crate) fn pinned(&self, sum: Sha256, progress: &Progress) -> Result<Option<PathBuf>, CacheError> {
        let Some(path) = self.existing() else { return Ok(None) };
        if Sha256::of_file(&path).map_err(CacheError::io("read", &path))? == sum {
            return Ok(Some(path));
        }
        progress.note(&format!("{} has another SHA-256 sum than its pin; downloading it again", path.display()));
        Ok(None)
    }

    /// Whether its sums are recorded.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sums.exists()
    }

    /// Records the sums of an entry that an older version published, unless somebody has locked it.
    pub(crate) fn adopt(&self) -> Result<(), CacheError> {
        if self.is_sealed() {
            return Ok(());
        }
        self.clone().lock_if_free()?.map_or(Ok(()), |lock| lock.seal(&self.path))
    }

    /// Returns what shows that this part is not what was published.
    fn damage(&self, part: Part<'_>) -> Result<Option<Damage>, CacheError> {
        Sums::compare_recorded(&self.sums, &self.path, part).map_err(CacheError::io("check", &self.path))
    }

    /// Takes the lock of this entry. If another process (or thread) has it, reports that once and waits.
    ///
    /// The kernel releases the lock when its holder ends, for whatever reason.
    pub fn lock(self, progress: &Progress) -> Result<Lock, CacheError> {
        let target = self.path();
        match self.try_lock()? {
            Attempt::Taken(lock) => Ok(lock),
            Attempt::Held { entry, mut file, path } => {
                progress.note(&format!("waiting for {}: {} has locked it", target.display(), holder(&mut file)));
                file.lock().map_err(CacheError::io("lock", &path))?;
                Lock::signed(entry, file, &path)
            }
        }
    }

    /// Takes the lock of this entry if it is free; otherwise returns its holder.
    pub fn lock_if_free(self) -> Result<Result<Lock, String>, CacheError> {
        Ok(match self.try_lock()? {
            Attempt::Taken(lock) => Ok(lock),
            Attempt::Held { mut file, .. } => Err(holder(&mut file)),
        })
    }

    fn try_lock(self) -> Result<Attempt, CacheError> {
        let path = self.lock.clone();
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).map_err(CacheError::io("create", folder))?;
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(CacheError::io("open the lock", &path))?;
        match file.try_lock() {
            Ok(()) => Lock::signed(self, file, &path).map(Attempt::Taken),
            Err(TryLockError::WouldBlock) => Ok(Attempt::Held { entry: self, file, path }),
            Err(TryLockError::Error(error)) => Err(CacheError::io("lock", &path)(error)),
        }
    }
}

/// The result of trying to lock without waiting.
enum Attempt {
    Taken(Lock),
    Held { entry: Entry, file: File, path: PathBuf },
}

/// Reads who signed a lock file last, for messages only.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.rewind().and_then(|()| file.take(20).read_to_string(&mut text)) {
        Ok(_) if !text.trim().is_empty() => format!("process {}", text.trim()),
        _ => "another process".to_owned(),
    }
}

fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", process::id())
}

/// The exclusive right to change an entry, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    entry: Entry,
    file: File,
}

impl Lock {
    fn signed(entry: Entry, mut file: File, path: &Path) -> Result<Self, CacheError> {
        sign(&mut file).map_err(CacheError::io("write to the lock", path))?;
        Ok(Self { entry, file })
    }

    /// The entry this lock belongs to.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Does what [`Entry::intact`] does, for the holder of the lock.
    pub fn intact(&self, part: Part<'_>, progress: &Progress) -> Result<Option<PathBuf>, CacheError> {
        let Some(path) = self.entry.existing() else { return Ok(None) };
        if !self.entry.is_sealed() {
            self.seal(&path)?;
        }
        let Some(damage) = self.entry.damage(part)? else { return Ok(Some(path)) };
        progress.note(&format!("{damage}; building {} again", path.display()));
        self.discard()?;
        Ok(None)
    }

    /// Records the sums of what is at this path, as those of the entry.
    fn seal(&self, path: &Path) -> Result<(), CacheError> {
        if !self.entry.area.has_sums() {
            return Ok(());
        }
        let sums = Sums::of(path).map_err(CacheError::io("read", path))?;
        sums.write(&self.entry.sums).map_err(CacheError::io("write", &self.entry.sums))
    }

    /// Returns a handle that holds the lock as long as it is open. As standard input of a child it keeps others out
    /// until the child has ended, even if this process is killed first.
    pub fn handle(&self) -> Result<File, CacheError> {
        self.file.try_clone().map_err(CacheError::io("share the lock of", &self.entry.path()))
    }

    /// Creates an empty folder beside the final path, to build in. Removes what an interrupted build of this entry
    /// left.
    pub fn stage_folder(&self) -> Result<Staging<'_>, CacheError> {
        let staging = self.stage()?;
        fs::create_dir(&staging.path).map_err(CacheError::io("create", &staging.path))?;
        Ok(staging)
    }

    /// Returns an unused path beside the final one, to write a file (or anything else) to. Removes what an interrupted
    /// build of this entry left.
    pub fn stage(&self) -> Result<Staging<'_>, CacheError> {
        for stale in [self.beside("partial"), self.beside("replaced")] {
            remove(&stale).map_err(CacheError::io("remove", &stale))?;
        }
        Ok(Staging { lock: self, path: self.beside("partial"), published: false })
    }

    /// Removes the entry, and what an interrupted build of it left. A reader sees all of it or nothing. Removes links,
    /// and does not follow them.
    pub fn discard(&self) -> Result<(), CacheError> {
        let (path, replaced) = (self.entry.path(), self.beside("replaced"));
        for stale in [self.beside("partial"), replaced.clone()] {
            remove(&stale).map_err(CacheError::io("remove", &stale))?;
        }
        if path.symlink_metadata().is_ok() {
            fs::rename(&path, &replaced).map_err(CacheError::io("move away", &path))?;
        }
        remove(&replaced).map_err(CacheError::io("remove", &replaced))?;
        remove(&self.entry.sums).map_err(CacheError::io("remove", &self.entry.sums))
    }

    fn beside(&self, kind: &str) -> PathBuf {
        let name = self.entry.path.file_name().unwrap_or_default();
        self.entry.path.with_file_name(format!(".{kind}-{}", name.display()))
    }
}

/// A build under way; removed when it is dropped before [`Staging::publish`].
#[derive(Debug)]
pub struct Staging<'a> {
    lock: &'a Lock,
    path: PathBuf,
    published: bool,
}

impl Staging<'_> {
    /// The path to build at.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Flushes everything to the disk, moves it to its final path, where it replaces what is there, and returns that
    /// path.
    pub fn publish(mut self) -> Result<PathBuf, CacheError> {
        sync(&self.path).map_err(CacheError::io("write out", &self.path))?;
        let target = self.lock.entry.path();
        let replaced = self.lock.beside("replaced");
        if target.symlink_metadata().is_ok() {
            fs::rename(&target, &replaced).map_err(CacheError::io("move away", &target))?;
        }
        self.lock.seal(&self.path)?;
        fs::rename(&self.path, &target).map_err(CacheError::io("move into place", &target))?;
        self.published = true;
        sync(&target.with_file_name(".")).ok();
        remove(&replaced).map_err(CacheError::io("remove", &replaced))?;
        Ok(target)
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        if !self.published {
            // The next holder of the lock tries again.
            let _ = remove(&self.path);
        }
    }
}

/// Flushes a file, or a folder with everything in it, to the disk. For a folder this flushes its whole file system:
/// source trees have nearly a hundred thousand files, and one call is faster than one per file.
fn sync(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() { Ok(rustix::fs::syncfs(&file)?) } else { file.sync_all() }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;
    use crate::cache::Cache;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path()).unwrap();
        (folder, cache)
    }

    fn lock(cache: &Cache, name: &str) -> Lock {
        cache.entry(Area::Images, name).unwrap().lock(&Progress::silent()).unwrap()
    }

    fn names(cache: &Cache) -> Vec<String> {
        let folder = cache.folder(Area::Images).unwrap();
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn nothing_is_visible_before_it_is_published() {
        let (_folder, cache) = cache();
        let lock = lock(&cache, "a");
        let staging = lock.stage_folder().unwrap();
        fs::write(staging.path().join("f"), "1").unwrap();
        assert_eq!(lock.entry().existing(), None);
        let path = staging.publish().unwrap();
        assert_eq!(fs::read_to_string(path.join("f")).unwrap(), "1");
        assert_eq!(names(&cache), ["a"]);
    }

    #[test]
    fn publishing_replaces_what_was_there() {
        let (_folder, cache) = cache();
        let lock = lock(&cache, "a");
        for text in ["1", "2"] {
            let staging = lock.stage_folder().unwrap();
            fs::write(staging.path().join(text), "").unwrap();
            staging.publish().unwrap();
        }
        assert!(!lock.entry().path().join("1").exists() && lock.entry().path().join("2").exists());
        assert_eq!(names(&cache), ["a"]);
    }

    #[test]
    fn a_file_can_be_an_entry() {
        let (_folder, cache) = cache();
        let lock = lock(&cache, "a.deb");
        let staging = lock.stage().unwrap();
        fs::write(staging.path(), "deb").unwrap();
        assert_eq!(fs::read_to_string(staging.publish().unwrap()).unwrap(), "deb");
        lock.discard().unwrap();
        assert_eq!(lock.entry().existing(), None);
    }

    /// Publishes an entry with one file.
    fn publish(cache: &Cache) -> (Entry, PathBuf) {
        let lock = lock(cache, "a");
        let staging = lock.stage_folder().unwrap();
        fs::write(staging.path().join("boot"), "kernel").unwrap();
        let file = staging.publish().unwrap().join("boot");
        (lock.entry().clone(), file)
    }

    #[test]
    fn an_entry_with_a_flipped_bit_is_removed_and_shown() {
        let (folder, cache) = cache();
        let (progress, log) = Progress::captured();
        let (entry, file) = publish(&cache);
        assert_eq!(entry.intact(Part::Whole, &progress).unwrap(), Some(entry.path()));
        fs::write(&file, "kernem").unwrap();
        assert_eq!(entry.undamaged(Part::Whole).unwrap(), None);
        assert_eq!(entry.undamaged(Part::Files(&["notes"])).unwrap(), Some(entry.path()));
        let before = log.text().len();
        assert_eq!(entry.intact(Part::Whole, &progress).unwrap(), None);
        assert!(names(&cache).is_empty() && !entry.is_sealed());
        let shown = log.text()[before..].replace(folder.path().canonicalize().unwrap().to_str().unwrap(), "CACHE");
        // A child of another test holds the lock until it executes its program.
        let shown: Vec<&str> = shown.lines().filter(|line| !line.starts_with("waiting for")).collect();
        insta::assert_snapshot!(shown.join("\n"), @"CACHE/images/a/boot has another SHA-256 sum than when it was built; building CACHE/images/a again");
        assert_eq!(publish(&cache).0.intact(Part::Whole, &progress).unwrap(), Some(entry.path()));
    }

    #[test]
    fn a_download_with_a_flipped_bit_is_shown_and_not_used() {
        let (folder, cache) = cache();
        let (progress, log) = Progress::captured();
        let entry = cache.entry(Area::Downloads, "a.deb").unwrap();
        let sum = Sha256::of_reader(&b"deb"[..]).unwrap();
        assert_eq!(entry.pinned(sum, &progress).unwrap(), None);
        fs::write(entry.path(), "deb").unwrap();
        assert_eq!(entry.pinned(sum, &progress).unwrap(), Some(entry.path()));
        assert_eq!(log.text(), "");
        fs::write(entry.path(), "dec").unwrap();
        assert_eq!(entry.pinned(sum, &progress).unwrap(), None);
        let shown = log.text().replace(folder.path().canonicalize().unwrap().to_str().unwrap(), "CACHE");
        insta::assert_snapshot!(shown, @"CACHE/downloads/a.deb has another SHA-256 sum than its pin; downloading it again");
    }

    #[test]
    fn an_entry_of_an_older_version_is_trusted_once() {
        let (_folder, cache) = cache();
        let (entry, file) = publish(&cache);
        fs::remove_dir_all(cache.root().join("sums")).unwrap();
        fs::write(&file, "another").unwrap();
        assert_eq!(entry.undamaged(Part::Whole).unwrap(), Some(entry.path()));
        assert_eq!(entry.intact(Part::Whole, &Progress::silent()).unwrap(), Some(entry.path()));
        fs::write(&file, "kernel").unwrap();
        assert_eq!(entry.intact(Part::Whole, &Progress::silent()).unwrap(), None);
    }

    #[test]
    fn failed_and_interrupted_builds_are_removed() {
        let (_folder, cache) = cache();
        drop(lock(&cache, "a").stage_folder().unwrap());
        assert!(names(&cache).is_empty());
        let killed = cache.folder(Area::Images).unwrap().join(".partial-a");
        fs::create_dir_all(killed.join("deep")).unwrap();
        let lock = lock(&cache, "a");
        let staging = lock.stage_folder().unwrap();
        assert_eq!(fs::read_dir(staging.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_second_one_waits_and_reports_the_holder() {
        let (_folder, cache) = cache();
        let held = lock(&cache, "a");
        let (progress, log) = Progress::captured();
        let (sender, receiver) = mpsc::channel();
        let second = cache.entry(Area::Images, "a").unwrap();
        let waiter = thread::spawn(move || {
            let _lock = second.lock(&progress).unwrap();
            sender.send(()).unwrap();
        });
        assert!(receiver.recv_timeout(Duration::from_millis(200)).is_err(), "it did not wait");
        drop(held);
        receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        waiter.join().unwrap();
        let held = cache.root().join("images/a");
        let expected = format!("waiting for {}: process {} has locked it\n", held.display(), process::id());
        assert_eq!(log.text(), expected);
    }
}
