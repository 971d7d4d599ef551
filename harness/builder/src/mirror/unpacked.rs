//! Packages unpacked into a folder of this machine, whoever made them: nothing that is read from there leads out of it.

use std::{
    fs::{self, File},
    io,
    path::{Component, Path},
};

use rustix::fs::{Mode, OFlags, open, openat};
use thiserror::Error;
use xshell::cmd;

use crate::{
    command::{self, CommandError},
    file::{self, FileError},
};

/// The most bytes that a package may unpack to, more than any kernel has: a few MiB can unpack to far more.
pub(crate) const MOST_BYTES: u64 = 8 << 30;

/// The most files and folders that a package may have; one with the sources of a kernel's headers has some 30,000.
pub(crate) const MOST_FILES: u64 = 1_000_000;

/// Why a package cannot be unpacked.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// The program that unpacks it failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// What it unpacked to cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It has too much.
    #[error("it unpacks to more than {most} {unit}")]
    TooMuch {
        /// The limit.
        most: u64,
        /// What is counted.
        unit: &'static str,
    },
}

/// How much a package may unpack to.
#[derive(Clone, Copy, Debug)]
struct Limits {
    bytes: u64,
    files: u64,
}

/// Unpacks a package file (`.deb`) into a folder, with its links: they may lead to files of this machine.
pub(crate) fn unpack(package: &Path, into: &Path) -> Result<(), UnpackError> {
    extract(package, into, |_| Ok(()))
}

/// Unpacks a package file (`.deb`) into a folder of which others read everything: only plain files and folders stay.
pub(crate) fn unpack_plain(package: &Path, into: &Path) -> Result<(), UnpackError> {
    extract(package, into, |other| fs::remove_file(other).map_err(FileError::of("remove", other)))
}

fn extract(package: &Path, into: &Path, other: impl FnMut(&Path) -> Result<(), FileError>) -> Result<(), UnpackError> {
    command::output(|shell| cmd!(shell, "dpkg-deb --extract {package} {into}"))?;
    check(into, Limits { bytes: MOST_BYTES, files: MOST_FILES }, other)
}

/// Checks the limits, and passes on each entry that is neither a plain file nor a folder. Follows no links.
fn check(
    folder: &Path,
    most: Limits,
    mut other: impl FnMut(&Path) -> Result<(), FileError>,
) -> Result<(), UnpackError> {
    let (mut bytes, mut files) = (0_u64, 0_u64);
    for entry in file::below(folder) {
        let entry = entry?;
        files += 1;
        if entry.file_type().is_file() {
            let metadata = entry.metadata().map_err(|error| FileError::walking("read", folder, error))?;
            bytes = bytes.saturating_add(metadata.len());
        } else if !entry.file_type().is_dir() {
            other(entry.path())?;
        }
        if bytes > most.bytes {
            return Err(UnpackError::TooMuch { most: most.bytes, unit: "bytes" });
        }
        if files > most.files {
            return Err(UnpackError::TooMuch { most: most.files, unit: "files" });
        }
    }
    Ok(())
}

/// Opens a plain file of an unpacked package. `path` is relative to the folder; neither the file nor a folder on the way
/// may be a link.
///
/// # Errors
/// Also if it is anything but a plain file, or if `path` would leave the folder.
pub(crate) fn open_plain(folder: &Path, path: &Path) -> io::Result<File> {
    let leaves = || io::Error::new(io::ErrorKind::InvalidInput, "the path leaves the package");
    let names = path.components().map(|part| if let Component::Normal(name) = part { Ok(name) } else { Err(leaves()) });
    let names = names.collect::<io::Result<Vec<_>>>()?;
    let (name, parents) = names.split_last().ok_or_else(leaves)?;
    let at = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut parent = open(folder, at, Mode::empty())?;
    for name in parents {
        parent = openat(&parent, *name, at | OFlags::NOFOLLOW, Mode::empty())?;
    }
    // A FIFO must not block this process before its kind is known.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&parent, *name, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a plain file")) }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::fs::symlink};

    use super::*;

    /// Makes a folder with a plain file, links out of it to a file and a folder, and a secret beside it.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let package = folder.path().join("package");
        fs::create_dir_all(package.join("boot/deep")).unwrap();
        fs::write(package.join("boot/deep/plain"), "plain").unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        fs::write(folder.path().join("etc/secret"), "secret").unwrap();
        symlink("../../etc/secret", package.join("boot/link")).unwrap();
        symlink("../etc", package.join("etc")).unwrap();
        folder
    }

    #[test]
    fn only_plain_files_below_the_folder_are_opened() {
        let folder = folder();
        let read = |path: &str| {
            let mut text = String::new();
            open_plain(&folder.path().join("package"), Path::new(path))?.read_to_string(&mut text)?;
            io::Result::Ok(text)
        };
        assert_eq!(read("boot/deep/plain").unwrap(), "plain");
        let secret = folder.path().join("etc/secret");
        for path in ["boot/link", "etc/secret", "../etc/secret", secret.to_str().unwrap(), "boot/deep", "boot", ""] {
            assert!(read(path).is_err(), "{path} was read");
        }
    }

    #[test]
    fn what_others_read_has_only_plain_files_and_folders() {
        let folder = folder();
        let package = folder.path().join("package");
        let limits = Limits { bytes: 5, files: 5 };
        check(&package, limits, |other| fs::remove_file(other).map_err(FileError::of("remove", other))).unwrap();
        let left: Vec<_> = file::below(&package).map(|entry| entry.unwrap().into_path()).collect();
        assert_eq!(left, ["boot", "boot/deep", "boot/deep/plain"].map(|path| package.join(path)));
        assert_eq!(fs::read_to_string(folder.path().join("etc/secret")).unwrap(), "secret");
    }

    #[test]
    fn a_package_that_unpacks_to_too_much_is_refused() {
        let (folder, mut messages) = (folder(), Vec::new());
        for limits in [Limits { bytes: 4, files: 5 }, Limits { bytes: 5, files: 4 }] {
            messages.push(check(folder.path().join("package").as_path(), limits, |_| Ok(())).unwrap_err().to_string());
        }
        insta::assert_snapshot!(messages.join("\n"), @r"
        it unpacks to more than 4 bytes
        it unpacks to more than 4 files
        ");
    }
}
