//! Kernels in a folder, here or behind an HTTP server: each is a folder with its record and its files.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{FileRecord, LARGEST_RECORD, Push, Pushed, Shared, SharingError, beside, discard, record};
use crate::{
    fetch::{self, FetchError},
    file::{self, FileError},
    progress::{Progress, Task},
};

/// A kernel in a folder.
pub(super) struct InFolder<'a> {
    place: &'a Path,
    name: &'a str,
}

impl<'a> InFolder<'a> {
    pub(super) fn open(place: &'a Path, name: &'a str) -> Result<Self, SharingError> {
        // A folder that is not mounted is no folder without kernels.
        let listed = fs::read_dir(place).map_err(|error| unreachable(&place.display().to_string(), error));
        listed.map(|_| Self { place, name })
    }

    fn path(&self, file: &str) -> PathBuf {
        self.place.join(self.name).join(file)
    }

    fn missing(&self, error: io::Error) -> SharingError {
        let (place, name) = (self.place.display().to_string(), self.name.to_owned());
        match error.kind() {
            io::ErrorKind::NotFound => SharingError::NotShared { place, name },
            _ => unreachable(&place, error),
        }
    }
}

impl Shared for InFolder<'_> {
    fn record(&mut self) -> Result<Vec<u8>, SharingError> {
        let mut text = Vec::new();
        let file = File::open(self.path(record::FILE_NAME)).map_err(|error| self.missing(error))?;
        file.take(LARGEST_RECORD).read_to_end(&mut text).map_err(|error| self.missing(error))?;
        Ok(text)
    }

    fn fetch(&mut self, file: &str, record: &FileRecord, into: &Path, task: &Task) -> Result<(), SharingError> {
        let interrupted = |error: io::Error| SharingError::Interrupted {
            name: self.name.to_owned(),
            file: file.to_owned(),
            source: error.into(),
        };
        let from = File::open(self.path(file)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SharingError::Damaged {
                place: self.place.display().to_string(),
                name: self.name.to_owned(),
                what: format!("{file} is gone"),
            },
            _ => interrupted(error),
        })?;
        let mut to = File::create(into).map_err(FileError::of("write", into))?;
        // One byte more than there should be is enough to see that it is not the file.
        io::copy(&mut from.take(record.bytes.saturating_add(1)), &mut to).map_err(interrupted)?;
        task.advance(record.bytes);
        Ok(())
    }
}

/// A kernel behind an HTTP server.
pub(super) struct AtServer<'a> {
    pub(super) url: &'a str,
    pub(super) name: &'a str,
}

impl AtServer<'_> {
    fn url(&self, file: &str) -> String {
        format!("{}/{}/{file}", self.url, self.name)
    }
}

impl Shared for AtServer<'_> {
    fn record(&mut self) -> Result<Vec<u8>, SharingError> {
        let response = fetch::request(&self.url(record::FILE_NAME), 0).map_err(|error| match error {
            ureq::Error::StatusCode(404 | 410) => {
                SharingError::NotShared { place: self.url.to_owned(), name: self.name.to_owned() }
            }
            error => unreachable(self.url, error),
        })?;
        let mut text = Vec::new();
        let body = response.into_body().into_reader();
        body.take(LARGEST_RECORD).read_to_end(&mut text).map_err(|error| unreachable(self.url, error))?;
        Ok(text)
    }

    fn fetch(&mut self, file: &str, record: &FileRecord, into: &Path, task: &Task) -> Result<(), SharingError> {
        task.advance(record.bytes);
        fetch::download(&self.url(file), record.sha256, into, &Progress::silent()).map_err(|error| match error {
            FetchError::File(error) => SharingError::File(error),
            FetchError::WrongSum { .. } => SharingError::Damaged {
                place: self.url.to_owned(),
                name: self.name.to_owned(),
                what: format!("{file} has another SHA-256 sum than its record says"),
            },
            error => {
                SharingError::Interrupted { name: self.name.to_owned(), file: file.to_owned(), source: error.into() }
            }
        })
    }
}

fn unreachable(place: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SharingError {
    SharingError::unreachable(place.to_owned(), error.into())
}

/// Copies a kernel into a folder: written aside and renamed, so that nobody pulls half of it.
pub(super) fn push(place: &Path, pushed: &Pushed<'_>, push: Push, task: &Task) -> Result<bool, SharingError> {
    fs::create_dir_all(place).map_err(FileError::of("create", place))?;
    let target = place.join(pushed.name);
    if push == Push::Missing && target.join(record::FILE_NAME).exists() {
        return Ok(false);
    }
    let staging = beside(place, "partial", pushed.name);
    fs::create_dir(&staging).map_err(FileError::of("create", &staging))?;
    let done = fill(&staging, pushed, task).and_then(|()| put(&staging, &target, place, pushed.name));
    if done.is_err() {
        discard(&staging);
    }
    Ok(done.map(|()| true)?)
}

fn fill(staging: &Path, pushed: &Pushed<'_>, task: &Task) -> Result<(), FileError> {
    for (name, record) in pushed.files {
        task.detail(name);
        file::copy(&pushed.folder.join(name), &staging.join(name))?;
        task.advance(record.bytes);
    }
    file::write(&staging.join(record::FILE_NAME), &pushed.record)
}

/// Moves a filled folder to where it is found; what was there is removed.
fn put(staging: &Path, target: &Path, place: &Path, name: &str) -> Result<(), FileError> {
    let old = beside(place, "replaced", name);
    match fs::rename(target, &old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(FileError::of("move", target)(error)),
        _ => {}
    }
    fs::rename(staging, target).map_err(FileError::of("move", staging))?;
    discard(&old);
    Ok(())
}
