//! Packages unpacked into a folder of this machine, whoever made them: nothing is written outside of it, and nothing that is
//! read from there leads out of it.

use std::{
    ffi::OsStr,
    fs::{File, Permissions},
    io::{self, Read},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::{Component, Path, PathBuf},
};

use rustix::fs::{AtFlags, Mode, OFlags, linkat, mkdirat, open, openat, symlinkat, unlinkat};
use tar::{Archive, Entry, EntryType};
use thiserror::Error;
use xshell::cmd;

use crate::command::{self, CommandError};

/// The most bytes that a package may unpack to, more than any kernel has: a few MiB can unpack to far more.
const MOST_BYTES: u64 = 8 << 30;

/// The most files and folders that a package may have; one with the sources of a kernel's headers has some 30,000.
const MOST_FILES: u64 = 1_000_000;

/// The longest path in a package, in bytes: that of Linux (`PATH_MAX`, `include/uapi/linux/limits.h`).
const LONGEST_PATH: u64 = 4096;

/// How much may follow the end of an archive, in bytes: it is padded to a whole record of 10 KiB.
const MOST_PADDING: u64 = 1 << 20;

/// Why a package cannot be unpacked.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// The program that unpacks it failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// What the program writes is not an archive.
    #[error("its archive cannot be read")]
    Archive(#[source] io::Error),
    /// It has an entry that cannot be unpacked.
    #[error("cannot unpack its {}: {why}", path.display())]
    Entry {
        /// The path in the package.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// A file cannot be written.
    #[error("cannot write its {}", path.display())]
    Write {
        /// The path in the package.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It has too much.
    #[error("it unpacks to more than {most} {unit}")]
    TooMuch {
        /// The limit.
        most: u64,
        /// What is counted.
        unit: &'static str,
    },
}

/// What is written of a package.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// Everything. Its links may lead to files of this machine, and are not followed here.
    Everything,
    /// Plain files whose path this accepts.
    Plain(&'a dyn Fn(&Path) -> bool),
}

/// Unpacks a package file (`.deb`) into a folder, with its links: they may lead to files of this machine.
pub(crate) fn unpack(package: &Path, into: &Path) -> Result<(), UnpackError> {
    extract(package, into, Wanted::Everything)
}

/// Unpacks the plain files of a package file (`.deb`) into a folder of which others read everything.
pub(crate) fn unpack_plain(package: &Path, into: &Path) -> Result<(), UnpackError> {
    unpack_wanted(package, into, &|_| true)
}

/// Unpacks the plain files of a package file (`.deb`) whose path, without a leading slash, `wanted` accepts.
pub(crate) fn unpack_wanted(package: &Path, into: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<(), UnpackError> {
    extract(package, into, Wanted::Plain(wanted))
}

/// Unpacks an archive as [`unpack_wanted`] does the one of a package.
pub(crate) fn unpack_archive(tar: &[u8], into: &Path, wanted: &dyn Fn(&Path) -> bool) -> Result<(), UnpackError> {
    unpack_tar(tar, &mut Unpacking::to(into), Wanted::Plain(wanted))
}

fn extract(package: &Path, into: &Path, wanted: Wanted<'_>) -> Result<(), UnpackError> {
    let mut command = command::written(|shell| cmd!(shell, "dpkg-deb --fsys-tarfile {package}"))?;
    let (unpacked, ended) = command::piped(&mut command, |tar| unpack_tar(tar, &mut Unpacking::to(into), wanted))?;
    match unpacked {
        // The program knows better why there is no archive.
        Ok(()) | Err(UnpackError::Archive(_)) => ended?,
        Err(_) => {}
    }
    unpacked
}

fn unpack_tar(tar: impl Read, to: &mut Unpacking<'_>, wanted: Wanted<'_>) -> Result<(), UnpackError> {
    let mut archive = Archive::new(tar);
    let (mut long_name, mut long_target) = (None, None);
    // Raw entries: the crate itself would take a name of any length into memory.
    for entry in archive.entries().map_err(UnpackError::Archive)?.raw(true) {
        let mut entry = entry.map_err(UnpackError::Archive)?;
        to.count(entry.size())?;
        match entry.header().entry_type() {
            EntryType::GNULongName => long_name = Some(long_path(&mut entry)?),
            EntryType::GNULongLink => long_target = Some(long_path(&mut entry)?),
            kind => {
                let path = long_name.take().unwrap_or_else(|| path_of(&entry.header().path_bytes()));
                let target = long_target.take();
                let target = || target.or_else(|| entry.header().link_name_bytes().map(|bytes| path_of(&bytes)));
                let target = target().unwrap_or_default();
                unpack_entry(kind, &path, &target, &mut entry, to, wanted)?;
            }
        }
    }
    io::copy(&mut archive.into_inner().take(MOST_PADDING), &mut io::sink()).map_err(UnpackError::Archive)?;
    Ok(())
}

fn unpack_entry(
    kind: EntryType,
    path: &Path,
    target: &Path,
    entry: &mut Entry<'_, impl Read>,
    to: &Unpacking<'_>,
    wanted: Wanted<'_>,
) -> Result<(), UnpackError> {
    let refused = |why| UnpackError::Entry { path: path.to_owned(), why };
    let inside = relative(path).ok_or_else(|| refused("its path leaves the package"))?;
    let mode = entry.header().mode().map_err(UnpackError::Archive)?;
    let written = match (kind, wanted) {
        (EntryType::Regular | EntryType::Continuous, Wanted::Plain(accepts)) if accepts(&inside) => {
            to.file(&inside, entry, PLAIN_MODE)
        }
        (EntryType::XHeader | EntryType::XGlobalHeader, _) => return Err(refused("dpkg has no pax headers")),
        (_, Wanted::Plain(_)) => Ok(()),
        // The root of the package.
        (EntryType::Directory, _) if inside.as_os_str().is_empty() => Ok(()),
        (EntryType::Directory, _) => to.folder(&inside),
        (EntryType::Regular | EntryType::Continuous, _) => to.file(&inside, entry, mode & 0o7777),
        (EntryType::Symlink, _) => to.symlink(&inside, target),
        (EntryType::Link, _) => {
            let target = relative(target).ok_or_else(|| refused("its link leaves the package"))?;
            to.hard_link(&inside, &target)
        }
        _ => return Err(refused("it is neither a file, a folder nor a link")),
    };
    written.map_err(|source| UnpackError::Write { path: inside, source })
}

/// Reads the path that follows in place of a file's contents, because it does not fit into a header.
fn long_path(entry: &mut Entry<'_, impl Read>) -> Result<PathBuf, UnpackError> {
    let mut bytes = Vec::new();
    entry.take(LONGEST_PATH + 1).read_to_end(&mut bytes).map_err(UnpackError::Archive)?;
    if bytes.len() as u64 > LONGEST_PATH {
        return Err(UnpackError::TooMuch { most: LONGEST_PATH, unit: "bytes of a path" });
    }
    Ok(path_of(bytes.strip_suffix(b"\0").unwrap_or(&bytes)))
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Returns a path of a package relative to its root; `None` if it leads elsewhere.
fn relative(path: &Path) -> Option<PathBuf> {
    let parts = path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
    parts.map(|part| if let Component::Normal(name) = part { Some(name) } else { None }).collect()
}

/// The mode of plain files: nobody runs them.
const PLAIN_MODE: u32 = 0o644;

/// How much a package may unpack to.
#[derive(Clone, Copy, Debug)]
struct Limits {
    bytes: u64,
    files: u64,
}

/// A folder that a package is unpacked into, within limits. Nothing is written through a link.
#[derive(Debug)]
pub(crate) struct Unpacking<'a> {
    folder: &'a Path,
    most: Limits,
    left: Limits,
}

impl<'a> Unpacking<'a> {
    /// Begins to unpack a package to this folder.
    pub(crate) fn to(folder: &'a Path) -> Self {
        Self::within(folder, Limits { bytes: MOST_BYTES, files: MOST_FILES })
    }

    fn within(folder: &'a Path, most: Limits) -> Self {
        Self { folder, most, left: most }
    }

    /// Lowers the limit of bytes, to show that it holds.
    #[cfg(test)]
    pub(crate) fn with_most_bytes(self, bytes: u64) -> Self {
        Self::within(self.folder, Limits { bytes, ..self.most })
    }

    /// Counts an entry with this many bytes, before it is written.
    ///
    /// # Errors
    /// If a limit is reached.
    pub(crate) fn count(&mut self, bytes: u64) -> Result<(), UnpackError> {
        let refused = |most, unit| UnpackError::TooMuch { most, unit };
        self.left.files = self.left.files.checked_sub(1).ok_or_else(|| refused(self.most.files, "files"))?;
        self.left.bytes = self.left.bytes.checked_sub(bytes).ok_or_else(|| refused(self.most.bytes, "bytes"))?;
        Ok(())
    }

    /// Writes a plain file for this program to read; `path` is relative to the folder.
    pub(crate) fn plain_file(&self, path: &Path, contents: &mut impl Read) -> io::Result<()> {
        self.file(path, contents, PLAIN_MODE)
    }

    fn file(&self, path: &Path, contents: &mut impl Read, mode: u32) -> io::Result<()> {
        let (parent, name) = self.place(path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&parent, name, flags, Mode::from_raw_mode(0o600))?);
        io::copy(contents, &mut file)?;
        file.set_permissions(Permissions::from_mode(mode))
    }

    fn folder(&self, path: &Path) -> io::Result<()> {
        parent(self.folder, &path.join("x"), Missing::Make).map(drop)
    }

    fn symlink(&self, path: &Path, target: &Path) -> io::Result<()> {
        let (parent, name) = self.place(path)?;
        Ok(symlinkat(target, &parent, name)?)
    }

    fn hard_link(&self, path: &Path, target: &Path) -> io::Result<()> {
        let (from, target) = parent(self.folder, target, Missing::Fail)?;
        let (parent, name) = self.place(path)?;
        Ok(linkat(&from, target, &parent, name, AtFlags::empty())?)
    }

    /// Opens the folder of a new file or link, and removes what has its name.
    fn place<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let (parent, name) = parent(self.folder, path, Missing::Make)?;
        match unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok((parent, name)),
            Err(error) => Err(error.into()),
        }
    }
}

/// What happens to missing folders on the way to a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Fail,
    Make,
}

/// Opens the folder of a file, and returns its name there. `path` is relative to `folder`; no folder on the way may be a link.
fn parent<'p>(folder: &Path, path: &'p Path, missing: Missing) -> io::Result<(OwnedFd, &'p OsStr)> {
    let leaves = || io::Error::new(io::ErrorKind::InvalidInput, "the path leaves the package");
    let names = path.components().map(|part| if let Component::Normal(name) = part { Ok(name) } else { Err(leaves()) });
    let names = names.collect::<io::Result<Vec<_>>>()?;
    let (name, parents) = names.split_last().ok_or_else(leaves)?;
    let at = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut parent = open(folder, at, Mode::empty())?;
    for name in parents {
        if missing == Missing::Make {
            match mkdirat(&parent, *name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        parent = openat(&parent, *name, at | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok((parent, name))
}

/// Opens a plain file of an unpacked package. `path` is relative to the folder; neither the file nor a folder on the way
/// may be a link.
///
/// # Errors
/// Also if it is anything but a plain file, or if `path` would leave the folder.
pub(crate) fn open_plain(folder: &Path, path: &Path) -> io::Result<File> {
    let (parent, name) = parent(folder, path, Missing::Fail)?;
    // A FIFO must not block this process before its kind is known.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&parent, name, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a plain file")) }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use tar::{Builder, Header};

    use super::*;
    use crate::file;

    const ENOUGH: Limits = Limits { bytes: 10_000, files: 100 };

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

    /// Makes an archive of entries: kind, path, and the contents or the target.
    fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, path, text) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o4755);
            let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
            header.set_size(if is_link { 0 } else { text.len() as u64 });
            if is_link {
                builder.append_link(&mut header, path, text).unwrap();
            } else if path.contains("..") {
                header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
                header.set_cksum();
                builder.append(&header, text.as_bytes()).unwrap();
            } else {
                builder.append_data(&mut header, path, text.as_bytes()).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    /// Unpacks an archive, and returns the paths of what it wrote.
    fn unpacked(
        archive: &[u8],
        most: Limits,
        wanted: Wanted<'_>,
    ) -> (tempfile::TempDir, Result<Vec<String>, UnpackError>) {
        let folder = tempfile::tempdir().unwrap();
        let result = unpack_tar(archive, &mut Unpacking::within(folder.path(), most), wanted);
        let below = file::below(folder.path()).map(|entry| entry.unwrap().into_path());
        let mut below: Vec<String> =
            below.map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string()).collect();
        below.sort();
        (folder, result.map(|()| below))
    }

    #[test]
    fn only_wanted_plain_files_are_written() {
        let long = format!("./boot/{}/config", "long".repeat(40));
        let archive = archive(&[
            (EntryType::Directory, "./", ""),
            (EntryType::Regular, "./boot/vmlinuz", "kernel"),
            (EntryType::Symlink, "./boot/config-1", "/etc/hostname"),
            (EntryType::Link, "./boot/config-2", "./boot/vmlinuz"),
            (EntryType::Fifo, "./boot/config-3", ""),
            (EntryType::Symlink, "./boot/grub", "/etc"),
            (EntryType::Regular, "./boot/grub/x", "through the link"),
            (EntryType::Regular, "./etc/x", "not wanted"),
            (EntryType::Regular, &long, "long"),
        ]);
        let (folder, written) = unpacked(&archive, ENOUGH, Wanted::Plain(&|path| path.starts_with("boot")));
        let long = long.trim_start_matches("./");
        let expected = ["boot", "boot/grub", "boot/grub/x", Path::new(long).parent().unwrap().to_str().unwrap(), long];
        assert_eq!(written.unwrap(), [&expected[..], &["boot/vmlinuz"]].concat());
        let file = folder.path().join("boot/vmlinuz");
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o644);
    }

    #[test]
    fn everything_includes_links_but_nothing_is_written_through_them() {
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().to_str().unwrap();
        let entries = [
            (EntryType::Directory, "./usr/", ""),
            (EntryType::Regular, "./usr/tool", "#!/bin/sh"),
            (EntryType::Link, "./usr/same", "./usr/tool"),
            (EntryType::Symlink, "./etc", target),
            (EntryType::Regular, "./etc/x", "through the link"),
        ];
        let (folder, written) = unpacked(&archive(&entries[..4]), ENOUGH, Wanted::Everything);
        assert_eq!(written.unwrap(), ["etc", "usr", "usr/same", "usr/tool"]);
        assert_eq!(fs::read_link(folder.path().join("etc")).unwrap(), outside.path());
        let same = fs::metadata(folder.path().join("usr/same")).unwrap();
        assert_eq!((same.permissions().mode() & 0o7777, same.len()), (0o4755, 9));
        let (_folder, written) = unpacked(&archive(&entries), ENOUGH, Wanted::Everything);
        assert_eq!(written.unwrap_err().to_string(), "cannot write its etc/x");
        assert!(!outside.path().join("x").exists());
    }

    #[test]
    fn what_cannot_be_unpacked_is_named() {
        let refused = |entry| unpacked(&archive(&[entry]), ENOUGH, Wanted::Everything).1.unwrap_err().to_string();
        let messages = [
            refused((EntryType::Regular, "boot/../../x", "")),
            refused((EntryType::Fifo, "./run/fifo", "")),
            refused((EntryType::XHeader, "./pax", "12 path=/x\n")),
            unpacked(b"no archive", ENOUGH, Wanted::Everything).1.unwrap_err().to_string(),
        ];
        insta::assert_snapshot!(messages.join("\n"), @r"
        cannot unpack its boot/../../x: its path leaves the package
        cannot unpack its run/fifo: it is neither a file, a folder nor a link
        cannot unpack its pax: dpkg has no pax headers
        its archive cannot be read
        ");
    }

    #[test]
    fn a_package_that_unpacks_to_too_much_is_refused_before_it_is_written() {
        let small = archive(&[(EntryType::Regular, "a", "12345"), (EntryType::Regular, "b", "6")]);
        let all: Wanted<'_> = Wanted::Plain(&|_| true);
        let refused = |bytes: &[u8], most| {
            let (folder, result) = unpacked(bytes, most, all);
            (fs::read_dir(folder.path()).unwrap().count(), result.unwrap_err().to_string())
        };
        assert_eq!(unpacked(&small, Limits { bytes: 6, files: 2 }, all).1.unwrap(), ["a", "b"]);
        assert_eq!(refused(&small, Limits { bytes: 5, files: 2 }), (1, "it unpacks to more than 5 bytes".to_owned()));
        assert_eq!(refused(&small, Limits { bytes: 6, files: 1 }), (1, "it unpacks to more than 1 files".to_owned()));
        // Headers alone: this much is not even in the archive.
        let mut header = Header::new_gnu();
        header.set_size(u64::MAX / 2);
        for kind in [EntryType::Regular, EntryType::GNULongName] {
            header.set_entry_type(kind);
            header.set_cksum();
            let large = header.as_bytes().to_vec();
            assert_eq!(refused(&large, ENOUGH), (0, "it unpacks to more than 10000 bytes".to_owned()));
        }
        let path = vec![b'p'; 5000];
        header.set_size(path.len() as u64);
        header.set_cksum();
        let long = [&header.as_bytes()[..], &path].concat();
        assert_eq!(refused(&long, ENOUGH), (0, "it unpacks to more than 4096 bytes of a path".to_owned()));
    }
}
