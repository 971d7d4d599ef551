//! Merges the stores of several machines.
//!
//! All files are read and checked before the first one is written, so an invalid store changes nothing.

use std::{
    fmt,
    fs::{self, DirEntry},
    io,
    path::{Path, PathBuf},
};

use harness_protocol::{
    name::{KernelName, ScenarioName},
    outcome::{ScenarioEnd, ScenarioOutcome, Splat},
};
use thiserror::Error;

use super::{GoneImage, Kept, LARGEST, Read, Store, StoreError, gone, identities, record_file, write};
use crate::identity::IdentityRecord;

/// The maximum number of files in one store.
const MOST_FILES: usize = 1_000_000;

/// The maximum size of all records together, in bytes; a whole suite on sixteen kernels takes some ten million.
const LARGEST_ALL: u64 = 1 << 30;

/// The maximum number of rejected files that an error lists.
const MOST_REFUSALS: usize = 20;

/// Why stores were not merged. Nothing was changed, except with [`MergeError::Store`].
#[derive(Debug, Error)]
pub enum MergeError {
    /// A folder is not a store.
    #[error("{} is not an outcome store: it contains neither outcomes nor a folder `store` with outcomes", .0.display())]
    NoStore(PathBuf),
    /// Files were rejected.
    #[error("nothing was merged; remove these files, or recreate the store:\n{}", lines(.0))]
    Refused(Vec<Refusal>),
    /// A folder cannot be read, or this machine's store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn lines(refusals: &[Refusal]) -> String {
    refusals.iter().map(|refusal| format!("  {refusal}")).collect::<Vec<_>>().join("\n")
}

/// A rejected file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The file.
    pub path: PathBuf,
    /// The reason, to be read after the path.
    pub reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.path.display(), self.reason)
    }
}

/// Two stores with different outcomes for the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The scenario.
    pub scenario: ScenarioName,
    /// The kernel, if recorded.
    pub kernel: Option<KernelName>,
    /// The two outcomes in words; the second one is kept.
    pub ends: [String; 2],
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = self.kernel.as_ref().map_or("a kernel".to_owned(), ToString::to_string);
        let [dropped, kept] = &self.ends;
        write!(f, "{} on {kernel}: two runs differ: {dropped}; kept the newer one: {kept}", self.scenario)
    }
}

/// The result of a merge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Outcomes that this store did not have.
    pub new: usize,
    /// Outcomes that it had already.
    pub same: usize,
    /// Outcomes that differed; the newer one of each is kept.
    pub conflicts: Vec<Conflict>,
    /// Identity records.
    pub testbeds: usize,
}

/// The contents of the stores that were read.
#[derive(Default)]
struct Contents {
    outcomes: Vec<(PathBuf, Kept)>,
    identities: Vec<IdentityRecord>,
    gone: Vec<GoneImage>,
    refusals: Vec<Refusal>,
    files: usize,
    bytes: u64,
}

impl Store {
    /// Merges these folders into this store: each is a store, or a cache that contains one.
    ///
    /// # Errors
    /// [`MergeError`] names the files that cannot be used.
    pub fn merge(&self, folders: &[PathBuf]) -> Result<Merged, MergeError> {
        let mut contents = Contents::default();
        for folder in folders {
            contents.read_store(&root_of(folder)?)?;
        }
        if !contents.refusals.is_empty() {
            contents.refusals.truncate(MOST_REFUSALS);
            return Err(MergeError::Refused(contents.refusals));
        }
        let mut merged = Merged { testbeds: contents.identities.len(), ..Merged::default() };
        // The latest last, so that its time and its objects win.
        contents.identities.sort_by_key(|record| record.at);
        contents.identities.into_iter().try_for_each(|record| self.take_identity(record))?;
        contents.gone.iter().try_for_each(|record| self.remember_gone_record(record))?;
        for (path_in_store, kept) in contents.outcomes {
            self.take(&path_in_store, kept, &mut merged)?;
        }
        Ok(merged)
    }

    fn take_identity(&self, record: IdentityRecord) -> Result<(), StoreError> {
        let path = self.root.join(identities::FOLDER).join(identities::file_name(&record));
        match self.identity(&path) {
            // An older record only adds its objects.
            Some(mine) if mine.at > record.at => {
                let objects = record.objects.into_iter().chain(mine.objects.clone()).collect();
                self.remember_record(IdentityRecord { objects, ..mine })
            }
            _ => self.remember_record(record),
        }
    }

    fn take(&self, path_in_store: &Path, theirs: Kept, merged: &mut Merged) -> Result<(), StoreError> {
        let path = self.root.join(path_in_store);
        let Some(mine) = self.load::<Kept>(&path, LARGEST, "the merged outcome replaces it") else {
            merged.new += 1;
            return write(&path, &theirs);
        };
        if says_the_same(&mine.outcome, &theirs.outcome) {
            merged.same += 1;
            return Ok(());
        }
        let newer = theirs.at > mine.at;
        let [dropped, kept] = if newer { [&mine, &theirs] } else { [&theirs, &mine] };
        merged.conflicts.push(Conflict {
            scenario: kept.outcome.scenario.clone(),
            kernel: kept.kernel.clone().or_else(|| dropped.kernel.clone()),
            ends: [end(&dropped.outcome), end(&kept.outcome)],
        });
        if newer { write(&path, &theirs) } else { Ok(()) }
    }
}

/// Returns whether two outcomes are equal apart from how long they took and what the console showed.
fn says_the_same(one: &ScenarioOutcome, other: &ScenarioOutcome) -> bool {
    let bare = |outcome: &ScenarioOutcome| {
        let end = match &outcome.end {
            ScenarioEnd::Finished { .. } => ScenarioEnd::Finished { micros: 0 },
            ScenarioEnd::Crashed { how, .. } => ScenarioEnd::Crashed { how: how.clone(), console: Vec::new() },
            fault @ ScenarioEnd::Fault { .. } => fault.clone(),
        };
        // Addresses and times differ from boot to boot.
        let splats = outcome.splats.iter().map(|splat| Splat { text: splat.text.clone(), lines: Vec::new() }).collect();
        ScenarioOutcome { end, splats, ..outcome.clone() }
    };
    bare(one) == bare(other)
}

fn end(outcome: &ScenarioOutcome) -> String {
    let attempts = outcome.attempts.len();
    match &outcome.end {
        ScenarioEnd::Finished { .. } => format!("finished with {attempts} answers"),
        ScenarioEnd::Fault { message } => format!("fault: {message}"),
        ScenarioEnd::Crashed { how, .. } => format!("crashed after {attempts} answers: {how}"),
    }
}

/// Returns the store in a folder: the folder itself, or its subfolder `store` if it is a cache.
fn root_of(folder: &Path) -> Result<PathBuf, MergeError> {
    let is_store = |path: &Path| -> Result<bool, StoreError> {
        let entries = match fs::read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            entries => entries.map_err(StoreError::of("list", path))?,
        };
        let mut names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.any(|name| is_part(&name)))
    };
    for candidate in [folder.join("store"), folder.to_owned()] {
        if is_store(&candidate)? {
            return Ok(candidate);
        }
    }
    Err(MergeError::NoStore(folder.to_owned()))
}

/// Returns whether a store has a folder of this name.
fn is_part(name: &str) -> bool {
    name == identities::FOLDER || name == gone::FOLDER || is_hexadecimal(name, 2)
}

fn is_hexadecimal(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Contents {
    fn read_store(&mut self, root: &Path) -> Result<(), StoreError> {
        self.files = 0;
        for folder in entries(root)? {
            let name = folder.file_name().to_string_lossy().into_owned();
            let is_folder = folder.file_type().is_ok_and(|kind| kind.is_dir());
            if !(is_folder && is_part(&name)) {
                self.refuse(&folder.path(), "is not part of a store");
                continue;
            }
            for file in entries(&folder.path())? {
                self.read_file(&file, &name);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, path: &Path, reason: impl Into<String>) {
        self.refusals.push(Refusal { path: path.to_owned(), reason: reason.into() });
    }

    fn read_file(&mut self, entry: &DirEntry, folder: &str) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        // A file that a killed process was writing.
        if name.starts_with(".tmp") {
            return;
        }
        self.files += 1;
        if self.files > MOST_FILES {
            return self.refuse(&path, format!("is one of more than {MOST_FILES} files"));
        }
        if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            return self.refuse(&path, "is not a regular file");
        }
        let Some(stem) = name.strip_suffix(".json") else {
            return self.refuse(&path, "is not part of a store");
        };
        // Counted before anything is read, whatever kind of record it is.
        self.bytes = self.bytes.saturating_add(entry.metadata().map_or(0, |metadata| metadata.len()));
        if self.bytes > LARGEST_ALL {
            return self.refuse(&path, format!("exceeds the limit of {} GiB for all records", LARGEST_ALL >> 30));
        }
        if folder == identities::FOLDER {
            match record_file::read::<IdentityRecord>(&path, identities::LARGEST) {
                Ok(Read { record, .. }) if identities::file_name(&record) == name => self.identities.push(record),
                Ok(_) => self.refuse(&path, "does not have the name that its contents require"),
                Err(error) => self.refuse(&path, format!("is damaged: {error}")),
            }
        } else if folder == gone::FOLDER {
            match record_file::read::<GoneImage>(&path, gone::LARGEST) {
                Ok(Read { record, .. }) if gone::file_name(&record.image, &record.key) == name => {
                    self.gone.push(record)
                }
                Ok(_) => self.refuse(&path, "does not have the name that its contents require"),
                Err(error) => self.refuse(&path, format!("is damaged: {error}")),
            }
        } else if is_hexadecimal(stem, 62) {
            match record_file::read(&path, LARGEST) {
                Ok(Read { record: kept, .. }) => self.outcomes.push((Path::new(folder).join(&name), kept)),
                Err(error) => self.refuse(&path, format!("is damaged: {error}")),
            }
        } else {
            self.refuse(&path, "is not part of a store");
        }
    }
}

fn entries(folder: &Path) -> Result<Vec<DirEntry>, StoreError> {
    let list = || fs::read_dir(folder)?.collect::<io::Result<Vec<DirEntry>>>();
    list().map_err(StoreError::of("list", folder))
}

#[cfg(test)]
mod tests;
