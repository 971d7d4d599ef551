//! Folders of sessions. A later session removes those whose process was killed.

use std::{
    fs::{self, File, Permissions, TryLockError},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use harness_builder::folder;
use thiserror::Error;

use crate::vm;

/// The lock that a session holds; the kernel releases it when the process ends.
const LOCK: &str = "lock";

/// The lock held while a folder is created or removed, so that a half-made folder is not taken for an abandoned one.
const GATE: &str = ".gate";

/// Why there is no folder for a session.
#[derive(Debug, Error)]
#[error("cannot use the folder {} for VMs", path.display())]
pub struct FolderError {
    path: PathBuf,
    source: io::Error,
}

/// A session's folder, removed when dropped, whatever its guests made of it.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Creates a new folder below `runs`, with a random name and for this user alone (mode 0700), and removes those whose
    /// process is gone.
    ///
    /// # Errors
    /// [`FolderError`] if `runs` cannot be written.
    pub fn create(runs: &Path) -> Result<Self, FolderError> {
        let failed = |source| FolderError { path: runs.to_owned(), source };
        fs::create_dir_all(runs).map_err(failed)?;
        let gate = File::create(runs.join(GATE)).map_err(failed)?;
        gate.lock().map_err(failed)?;
        sweep(runs).iter().for_each(LeftBehind::report);
        let only_user = Permissions::from_mode(0o700);
        let prefix = format!("{}-", std::process::id());
        let folder =
            tempfile::Builder::new().prefix(&prefix).permissions(only_user).tempdir_in(runs).map_err(failed)?;
        let lock = File::create(folder.path().join(LOCK)).map_err(failed)?;
        lock.lock().map_err(failed)?;
        Ok(Self { path: folder.keep(), _lock: lock })
    }

    /// Removes the folders below `runs` whose process is gone, and what their VMs left elsewhere.
    ///
    /// # Errors
    /// [`FolderError`] if `runs` cannot be written.
    pub fn sweep(runs: &Path) -> Result<(), FolderError> {
        let gate = File::create(runs.join(GATE)).and_then(|gate| gate.lock().map(|()| gate));
        let _gate = gate.map_err(|source| FolderError { path: runs.to_owned(), source })?;
        sweep(runs).iter().for_each(LeftBehind::report);
        Ok(())
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        if let Err(left) = remove(&self.path) {
            left.report();
        }
    }
}

/// A folder that is not removed, or not all of it.
#[derive(Debug, Error)]
#[error("the folder of a run is left behind, and cannot be removed: {0}")]
struct LeftBehind(io::Error);

impl LeftBehind {
    /// Reports it where a destructor can.
    fn report(&self) {
        eprintln!("{self}");
    }
}

/// Removes the folders below `runs` that no process has locked; returns those that are left.
fn sweep(runs: &Path) -> Vec<LeftBehind> {
    let Ok(entries) = fs::read_dir(runs) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let abandoned = folders.map(|entry| entry.path()).filter(|folder| {
        let lock = File::open(folder.join(LOCK)).map(|lock| lock.try_lock());
        !matches!(lock, Ok(Err(TryLockError::WouldBlock | TryLockError::Error(_))))
    });
    abandoned.filter_map(|folder| remove(&folder).err()).collect()
}

fn remove(run: &Path) -> Result<(), LeftBehind> {
    for vm in fs::read_dir(run).into_iter().flatten().flatten() {
        vm::forget(&vm.path().join(super::machine::OWN));
    }
    match folder::remove(run) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LeftBehind(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_distinct_and_removed_when_dropped() {
        let runs = tempfile::tempdir().unwrap();
        let (first, second) = (RunFolder::create(runs.path()).unwrap(), RunFolder::create(runs.path()).unwrap());
        assert_ne!(first.path(), second.path());
        assert!(first.path().is_dir() && second.path().is_dir());
        drop((first, second));
        let left: Vec<_> = fs::read_dir(runs.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [GATE]);
    }

    #[test]
    fn only_this_user_reaches_a_folder_and_nobody_can_guess_its_name() {
        let runs = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(runs.path()).unwrap();
        assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o7777, 0o700);
        let name = folder.path().file_name().unwrap().to_str().unwrap();
        let random =
            name.strip_prefix(&format!("{}-", std::process::id())).expect("the name begins with the process id");
        assert!(random.len() >= 6, "{name}");
    }

    #[test]
    fn folders_of_killed_sessions_are_removed_and_those_of_running_ones_stay() {
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
    fn whatever_a_guest_made_of_its_folder_it_is_removed() {
        use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
        let runs = tempfile::tempdir().unwrap();
        let run = RunFolder::create(runs.path()).unwrap();
        let share = run.path().join("vm-1/share");
        fs::create_dir_all(share.join("closed/inner")).unwrap();
        let mut inner = openat(CWD, &share, OFlags::DIRECTORY, Mode::empty()).unwrap();
        // More than `PATH_MAX`, and more than the descriptors that a process may have.
        for _ in 0..3000 {
            mkdirat(&inner, "deeper", Mode::RWXU).unwrap();
            inner = openat(&inner, "deeper", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        fs::set_permissions(share.join("closed"), Permissions::from_mode(0o000)).unwrap();
        let path = run.path().to_owned();
        drop(run);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_is_left_is_reported_with_its_path_and_the_reason() {
        let runs = tempfile::tempdir().unwrap();
        let name = "x".repeat(300);
        let left = remove(&runs.path().join(&name)).unwrap_err().to_string();
        let left = left.replace(runs.path().to_str().unwrap(), "RUNS").replace(&name, "NAME");
        let expected = "the folder of a run is left behind, and cannot be removed: RUNS/NAME: File name too long";
        assert_eq!(left, format!("{expected} (os error 36)"));
        remove(&runs.path().join("not-there")).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = RunFolder::create(&file.path().join("runs")).unwrap_err().to_string();
        insta::assert_snapshot!(message.replace(file.path().to_str().unwrap(), "FILE"), @"cannot use the folder FILE/runs for VMs");
    }
}
