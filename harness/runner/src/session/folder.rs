//! Folders of sessions: found and removed by a later session if theirs was killed.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use thiserror::Error;

use crate::vm;

/// Held as long as the session lives; the kernel releases it when the process ends.
const LOCK: &str = "lock";

/// Held while a folder is made or removed, so that a half-made one is not taken for an abandoned one.
const GATE: &str = ".gate";

/// Why there is no folder for a session.
#[derive(Debug, Error)]
#[error("cannot use {} for running VMs", path.display())]
pub struct FolderError {
    path: PathBuf,
    source: io::Error,
}

/// A session's own folder, removed when dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Makes a new folder below `runs`, and removes those there whose process is gone.
    ///
    /// # Errors
    /// [`FolderError`] if `runs` cannot be written.
    pub fn create(runs: &Path) -> Result<Self, FolderError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = runs.join(name);
        let failed = |source| FolderError { path: path.clone(), source };
        fs::create_dir_all(runs).map_err(failed)?;
        let gate = File::create(runs.join(GATE)).map_err(failed)?;
        gate.lock().map_err(failed)?;
        sweep(runs);
        fs::create_dir(&path).map_err(failed)?;
        let lock = File::create(path.join(LOCK)).map_err(failed)?;
        lock.lock().map_err(failed)?;
        Ok(Self { path, _lock: lock })
    }

    /// Removes the folders below `runs` whose process is gone, with what their VMs left outside of them.
    ///
    /// # Errors
    /// [`FolderError`] if `runs` cannot be written.
    pub fn sweep(runs: &Path) -> Result<(), FolderError> {
        let path = runs.join(GATE);
        let gate = File::create(&path).and_then(|gate| gate.lock().map(|()| gate));
        let _gate = gate.map_err(|source| FolderError { path, source })?;
        sweep(runs);
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Removes the folders below `runs` that nobody holds.
fn sweep(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else { return };
    for folder in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        match File::open(folder.join(LOCK)).map(|lock| lock.try_lock()) {
            Ok(Err(TryLockError::WouldBlock | TryLockError::Error(_))) => {}
            Ok(Ok(())) | Err(_) => remove(&folder),
        }
    }
}

fn remove(folder: &Path) {
    for vm in fs::read_dir(folder).into_iter().flatten().flatten() {
        vm::forget(&vm.path().join(super::machine::OWN));
    }
    let _ = fs::remove_dir_all(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_apart_and_gone_when_dropped() {
        let runs = tempfile::tempdir().unwrap();
        let (first, second) = (RunFolder::create(runs.path()).unwrap(), RunFolder::create(runs.path()).unwrap());
        assert_ne!(first.path(), second.path());
        assert!(first.path().is_dir() && second.path().is_dir());
        drop((first, second));
        let left: Vec<_> = fs::read_dir(runs.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [GATE]);
    }

    #[test]
    fn what_a_killed_session_left_is_removed_and_a_living_one_stays() {
        let runs = tempfile::tempdir().unwrap();
        let left = runs.path().join("12345-0");
        fs::create_dir_all(left.join("vm-1/root")).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        let living = RunFolder::create(runs.path()).unwrap();
        assert!(!left.exists());
        let _another = RunFolder::create(runs.path()).unwrap();
        assert!(living.path().is_dir());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = RunFolder::create(&file.path().join("runs")).unwrap_err().to_string();
        assert!(message.contains(file.path().to_str().unwrap()), "{message}");
    }
}
