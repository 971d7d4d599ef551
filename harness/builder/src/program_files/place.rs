//! Copies into the private root of a guest.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{Kind, ProgramFile, elf::Headers, error::ProgramFilesError};
use crate::{image, root_folder};

/// Why a file could not be copied for a guest.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// A file could not be read or written.
    #[error("cannot copy {} to {} for the guest", from.display(), to.display())]
    Copy {
        /// The file of the host.
        from: PathBuf,
        /// Its copy.
        to: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The image has another file there, which its own programs need.
    #[error(
        "the image has another {}, which its own programs need; use an image without it, such as minimal, or the program of \
         the image",
        .0.display()
    )]
    Needed(PathBuf),
    /// The guest program would be replaced.
    #[error("{} is the guest program's own place; copy the file elsewhere", .0.display())]
    Own(PathBuf),
    /// What the image has there cannot be read.
    #[error(transparent)]
    Image(#[from] ProgramFilesError),
}

/// Copies files into the private root of a guest, at the paths that they have on the host. Links on the way are followed within
/// the root, as the guest would.
///
/// A file takes the place of what the image has there, unless that is a library with other contents.
///
/// # Errors
/// [`PlaceError`] if a file cannot be copied, or must not be.
pub fn place(files: &[ProgramFile], root: &Path) -> Result<(), PlaceError> {
    // A link may lead to a file that comes later, and folders that the image has as links are found by all.
    let links = |file: &&ProgramFile| matches!(file.kind, Kind::Link { .. });
    for file in files.iter().filter(|file| !links(file)).chain(files.iter().filter(links)) {
        place_one(file, root)?;
    }
    Ok(())
}

fn place_one(file: &ProgramFile, root: &Path) -> Result<(), PlaceError> {
    let from = match &file.kind {
        Kind::File { from, .. } => from,
        Kind::Link { .. } | Kind::Folder => &file.path,
    };
    let failed = |to: &Path| {
        let (from, to) = (from.clone(), to.to_owned());
        move |source| PlaceError::Copy { from, to, source }
    };
    let folder = file.path.parent().unwrap_or(Path::new("/"));
    let name = file.path.file_name().unwrap_or_default();
    let to = folder_in(root, folder).map_err(failed(root))?.join(name);
    if image::OWN.iter().any(|own| to == root.join(own)) {
        return Err(PlaceError::Own(file.path.clone()));
    }
    match &file.kind {
        Kind::Folder => folder_in(root, &file.path).map(drop).map_err(failed(&to)),
        Kind::File { from, executable, .. } => {
            give_way(file, from, &to)?;
            let mode = if *executable { 0o755 } else { 0o644 };
            let copy = || fs::copy(from, &to).and_then(|_| fs::set_permissions(&to, fs::Permissions::from_mode(mode)));
            copy().map_err(failed(&to))
        }
        Kind::Link { to: target } => {
            // The image may have this folder as a link to the other one, so that both are the same file.
            let absolute = folder.join(target);
            let target_folder = absolute.parent().unwrap_or(Path::new("/"));
            let there = folder_in(root, target_folder).map_err(failed(&to))?;
            if there.join(absolute.file_name().unwrap_or_default()) == to {
                return Ok(());
            }
            if to.is_dir() && !to.is_symlink() {
                return Err(failed(&to)(io::ErrorKind::IsADirectory.into()));
            }
            give_way(file, &file.path, &to)?;
            symlink(target, &to).map_err(failed(&to))
        }
    }
}

/// Removes what the image has at a place, unless that is a library other than the new file.
fn give_way(file: &ProgramFile, from: &Path, to: &Path) -> Result<(), PlaceError> {
    let failed = |source| PlaceError::Copy { from: from.to_owned(), to: to.to_owned(), source };
    let Ok(metadata) = fs::symlink_metadata(to) else { return Ok(()) };
    if metadata.is_file() {
        let library = Headers::of_linkable(to)?.is_some_and(|headers| headers.name.is_some());
        if library && fs::read(to).map_err(failed)? != fs::read(from).map_err(failed)? {
            return Err(PlaceError::Needed(file.path.clone()));
        }
    }
    fs::remove_file(to).map_err(failed)
}

/// Returns the folder of the root at a path of the guest.
fn folder_in(root: &Path, path: &Path) -> io::Result<PathBuf> {
    root_folder::within(root, path).map_err(|(_, error)| error)
}
