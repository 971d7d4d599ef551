//! `--watch`: does the same again whenever files change.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use harness_builder::progress::Progress;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::diagnostic;

/// How long nothing must change before the files are read again: editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(200);

/// The files and folders that are watched.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// Folders, with all that is below them.
    pub(crate) folders: Vec<PathBuf>,
    /// Single files, which need not stay the same ones: editors put new ones in their places.
    pub(crate) files: Vec<PathBuf>,
}

/// Does something now, and again whenever what is watched has changed, until the process is interrupted. An error is printed,
/// and is not the end.
///
/// # Errors
/// If something cannot be watched.
pub(crate) fn repeat(
    watched: &Watched,
    progress: &Progress,
    mut once: impl FnMut() -> Result<ExitCode>,
) -> Result<ExitCode> {
    // It begins before the first time, so that no change is missed.
    let changes = Changes::of(watched)?;
    loop {
        if let Err(error) = once() {
            diagnostic::print(&error);
        }
        progress.note("waiting for changes; Ctrl-C ends");
        let names: Vec<String> = changes.next()?.iter().map(|path| path.display().to_string()).collect();
        progress.note(&format!("changed: {}", names.join(", ")));
    }
}

/// The changes of what is watched.
struct Changes {
    files: BTreeSet<PathBuf>,
    folders: Vec<PathBuf>,
    events: Receiver<notify::Result<Event>>,
    _watcher: RecommendedWatcher,
}

impl Changes {
    fn of(watched: &Watched) -> Result<Self> {
        let (sender, events) = mpsc::channel();
        let mut watcher = notify::recommended_watcher(sender).context("cannot watch files")?;
        let mut watch =
            |path: &Path, mode| watcher.watch(path, mode).with_context(|| format!("cannot watch {}", path.display()));
        let folders: Vec<PathBuf> = watched.folders.iter().map(|folder| absolute(folder)).collect::<Result<_>>()?;
        let files: BTreeSet<PathBuf> = watched.files.iter().map(|file| absolute(file)).collect::<Result<_>>()?;
        folders.iter().try_for_each(|folder| watch(folder, RecursiveMode::Recursive))?;
        let parents: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
        parents.into_iter().try_for_each(|parent| watch(parent, RecursiveMode::NonRecursive))?;
        Ok(Self { files, folders, events, _watcher: watcher })
    }

    /// Waits for changes, and until there are no more for a moment; returns what changed.
    fn next(&self) -> Result<BTreeSet<PathBuf>> {
        let mut changed = BTreeSet::new();
        loop {
            let event = if changed.is_empty() {
                self.events.recv().map_err(RecvTimeoutError::from)
            } else {
                self.events.recv_timeout(QUIET)
            };
            match event {
                Ok(event) => changed.extend(self.relevant(event.context("cannot watch files")?)),
                Err(RecvTimeoutError::Timeout) => return Ok(changed),
                Err(RecvTimeoutError::Disconnected) => return Err(anyhow!("files are no longer watched")),
            }
        }
    }

    /// Returns the paths of an event that are watched; reading a file changes nothing.
    fn relevant(&self, event: Event) -> Vec<PathBuf> {
        if event.kind.is_access() {
            return Vec::new();
        }
        let is_watched =
            |path: &PathBuf| self.files.contains(path) || self.folders.iter().any(|folder| path.starts_with(folder));
        event.paths.into_iter().filter(is_watched).collect()
    }
}

/// Returns the path as events have it: its folder without links.
fn absolute(path: &Path) -> Result<PathBuf> {
    let full = std::path::absolute(path).with_context(|| format!("cannot find {}", path.display()))?;
    if full.is_dir() {
        return full.canonicalize().with_context(|| format!("cannot find {}", path.display()));
    }
    let (Some(parent), Some(name)) = (full.parent(), full.file_name()) else { return Ok(full) };
    let parent = parent.canonicalize().with_context(|| format!("cannot find the folder of {}", path.display()))?;
    Ok(parent.join(name))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_change_is_told_once_and_others_in_the_folder_of_a_file_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let (unit, other, below) =
            (folder.path().join("a.service"), folder.path().join("b"), folder.path().join("s/deep"));
        fs::create_dir_all(&below).unwrap();
        fs::write(&unit, "1").unwrap();
        let watched = Watched { folders: vec![folder.path().join("s")], files: vec![unit.clone()] };
        let changes = Changes::of(&watched).unwrap();
        fs::write(&other, "x").unwrap();
        fs::read(&unit).unwrap();
        // As an editor does it: a new file in the place of the old one.
        let new = folder.path().join("a.service.new");
        fs::write(&new, "2").unwrap();
        fs::rename(&new, &unit).unwrap();
        fs::write(below.join("x.toml"), "").unwrap();
        let root = folder.path().canonicalize().unwrap();
        assert_eq!(changes.next().unwrap(), [root.join("a.service"), root.join("s/deep/x.toml")].into());
        fs::remove_file(&unit).unwrap();
        assert_eq!(changes.next().unwrap(), [root.join("a.service")].into());
        assert!(Changes::of(&Watched { files: vec![folder.path().join("none/a")], folders: vec![] }).is_err());
    }
}
