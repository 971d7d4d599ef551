//! Kernel sources: how each kind is told apart from another state of itself, fetched, checked and unpacked.

mod git;
mod tree;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use thiserror::Error;

use super::{
    manifest::{DebianSource, PrebuiltSource, Source, TarballSource},
    prebuilt,
};
use crate::{
    cache::{Area, Cache, CacheError, Entry, cleaning::References},
    command::{self, CommandError},
    digest::Sha256,
    fetch::{self, FetchError},
    file::FileError,
    mirror::{self, Archive, ArchiveError, Mirror, MirrorError, Package},
    progress::{Progress, Unit},
};
pub(super) use tree::listing_sum;

/// Why a source could not be had.
#[derive(Debug, Error)]
pub enum SourceError {
    /// It is not known where Debian packages come from.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The archive does not have the package, or not at this version.
    #[error("kernel {kernel} has no source{}", repin(.source, .kernel))]
    Archive {
        /// The kernel it is for.
        kernel: String,
        /// What happened.
        source: Box<ArchiveError>,
    },
    /// A package is not the pinned one.
    #[error("{package} has the wrong SHA-256 sum:\n  pinned   {pinned}\n  received {received}\nnothing of it was kept")]
    WrongSum {
        /// The package.
        package: Package,
        /// What the manifest says.
        pinned: Sha256,
        /// What came.
        received: Sha256,
    },
    /// A download failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The repository does not have the revision.
    #[error("{url} has no commit {revision}; is it pushed there?")]
    NoRevision {
        /// The repository.
        url: String,
        /// The commit.
        revision: String,
        /// What git said.
        source: CommandError,
    },
    /// The package or folder holds no kernel source.
    #[error("{} holds no kernel source: {reason}", path.display())]
    NotASource {
        /// The file or folder.
        path: PathBuf,
        /// How that shows.
        reason: &'static str,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl SourceError {
    /// What an archive did wrong for a kernel.
    pub(super) fn archive(kernel: &str, error: ArchiveError) -> Self {
        Self::Archive { kernel: kernel.to_owned(), source: Box::new(error) }
    }
}

/// What to do about a version that is gone.
fn repin(error: &ArchiveError, kernel: &str) -> String {
    match error {
        ArchiveError::NoSuchVersion { available, .. } if !available.is_empty() => {
            let command = format!("{} kernel pin {kernel}", harness_program::NAME);
            format!(" any more; `{command}` writes the newest version into its manifest")
        }
        _ => String::new(),
    }
}

/// A text that differs if the source differs: nothing is fetched for it.
pub(super) fn identity(source: &Source) -> Result<String, SourceError> {
    Ok(match source {
        Source::Debian(debian) => format!("{} {} {}", debian.package, debian.version, debian.sha256),
        Source::Tarball(tarball) => format!("{} {}", file_name(&tarball.url), tarball.sha256),
        Source::Git(git) => format!("git {}", git.revision.as_str()),
        Source::Tree(tree) => format!("{} {}", tree.path.display(), tree::fingerprint(&tree.path)?),
        Source::Prebuilt(prebuilt) => prebuilt::identity(prebuilt)?,
    })
}

/// Puts a source that is not a folder already into `into`, which exists and is empty.
pub(super) fn unpack(
    source: &Source,
    kernel: &str,
    cache: &Cache,
    into: &Path,
    progress: &Progress,
) -> Result<(), SourceError> {
    match source {
        Source::Debian(debian) => unpack_debian(debian, kernel, cache, into, progress),
        Source::Tarball(tarball) => unpack_tar(&download(tarball, cache, progress)?, into, progress),
        Source::Git(git) => git::check_out(git, cache, into, progress),
        // Looked at when its fingerprint was taken.
        Source::Tree(_) => return Ok(()),
        Source::Prebuilt(_) => {
            return Err(SourceError::NotASource { path: into.to_owned(), reason: "the kernel was built elsewhere" });
        }
    }?;
    check(into)
}

/// Refuses a folder that is not the top of a kernel source.
pub(super) fn check(folder: &Path) -> Result<(), SourceError> {
    if folder.join("Makefile").is_file() {
        Ok(())
    } else {
        Err(SourceError::NotASource { path: folder.to_owned(), reason: "there is no Makefile at its top" })
    }
}

/// Adds what a source keeps of itself in the cache's downloads.
pub(crate) fn add_downloads(source: &Source, references: &mut References) {
    match source {
        Source::Debian(debian) => add_package(debian, references),
        Source::Tarball(tarball) => references.add(Area::Downloads, tarball_name(tarball)),
        Source::Git(git) => references.add(Area::Downloads, git::entry_name(git)),
        Source::Prebuilt(PrebuiltSource::Debian(kernel)) => {
            kernel.each().for_each(|package| add_package(&package, references));
        }
        Source::Tree(_) | Source::Prebuilt(PrebuiltSource::Packages(_) | PrebuiltSource::Files(_)) => {}
    }
}

fn add_package(debian: &DebianSource, references: &mut References) {
    references.add(Area::Downloads, package_name(debian));
    references.add_all(Area::Downloads, mirror::lists_of(&debian.suite));
}

/// The tarball of a release, verified.
fn download(tarball: &TarballSource, cache: &Cache, progress: &Progress) -> Result<PathBuf, SourceError> {
    let lock = cache.entry(Area::Downloads, &tarball_name(tarball))?.lock(progress)?;
    if let Some(path) = lock.entry().existing().filter(|path| Sha256::of_file(path).ok() == Some(tarball.sha256)) {
        return Ok(path);
    }
    let staging = lock.stage()?;
    fetch::download(&tarball.url, tarball.sha256, staging.path(), progress)?;
    Ok(staging.publish()?)
}

fn tarball_name(tarball: &TarballSource) -> String {
    format!("{}-{}", tarball.sha256.short(), file_name(&tarball.url))
}

/// The last part of a URL, as far as a file name may have it.
fn file_name(url: &str) -> String {
    let last = url.rsplit('/').next().unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    last.chars().filter(plain).take(80).collect()
}

fn package_entry(debian: &DebianSource, cache: &Cache) -> Result<Entry, CacheError> {
    cache.entry(Area::Downloads, &package_name(debian))
}

fn package_name(debian: &DebianSource) -> String {
    format!("{}_{}.deb", debian.package, debian.version.replace(':', "+"))
}

/// A Debian package file, verified by apt and by its pinned sum.
pub(super) fn debian_package(
    debian: &DebianSource,
    kernel: &str,
    cache: &Cache,
    progress: &Progress,
) -> Result<PathBuf, SourceError> {
    let cached = package_entry(debian, cache)?.existing();
    if let Some(path) = cached.filter(|path| Sha256::of_file(path).ok() == Some(debian.sha256)) {
        return Ok(path);
    }
    let downloads = cache.folder(Area::Downloads)?;
    let folder = tempfile::tempdir_in(&downloads).map_err(FileError::of("create a folder in", &downloads))?;
    let package = Package { name: debian.package.clone(), version: debian.version.clone() };
    let fail = |error| SourceError::archive(kernel, error);
    let archive = Archive::open(cache, Mirror::of_this_machine()?, &debian.suite, progress).map_err(fail)?;
    let file = archive.download(&package, folder.path(), progress).map_err(fail)?;
    let received = Sha256::of_file(&file).map_err(FileError::of("read", &file))?;
    if received != debian.sha256 {
        return Err(SourceError::WrongSum { package, pinned: debian.sha256, received });
    }
    keep_package(debian, &file, cache, progress)
}

/// Moves a verified package file into the cache.
pub(super) fn keep_package(
    debian: &DebianSource,
    file: &Path,
    cache: &Cache,
    progress: &Progress,
) -> Result<PathBuf, SourceError> {
    let lock = package_entry(debian, cache)?.lock(progress)?;
    let staging = lock.stage()?;
    fs::rename(file, staging.path()).map_err(FileError::of("move", file))?;
    Ok(staging.publish()?)
}

fn unpack_debian(
    debian: &DebianSource,
    kernel: &str,
    cache: &Cache,
    into: &Path,
    progress: &Progress,
) -> Result<(), SourceError> {
    let package = debian_package(debian, kernel, cache, progress)?;
    let folder = tempfile::tempdir_in(into).map_err(FileError::of("create a folder in", into))?;
    command::output(Command::new("dpkg-deb").arg("-x").args([&package, folder.path()]))?;
    let tarballs = folder.path().join("usr/src");
    let listing = fs::read_dir(&tarballs).map_err(FileError::of("list", &tarballs))?;
    let is_tarball = |path: &PathBuf| path.to_string_lossy().contains(".tar.");
    let tarball = listing.filter_map(Result::ok).map(|entry| entry.path()).find(is_tarball);
    let nothing = || SourceError::NotASource { path: package, reason: "there is no usr/src/*.tar.* in it" };
    unpack_tar(&tarball.ok_or_else(nothing)?, into, progress)
}

/// Unpacks a tarball of any compression, without the one folder that all its files are in.
fn unpack_tar(tarball: &Path, into: &Path, progress: &Progress) -> Result<(), SourceError> {
    let name = tarball.file_name().unwrap_or_default().to_string_lossy();
    let task = progress.task(&format!("unpack {name}"), Unit::Things("files"), None);
    let mut tar = Command::new("tar");
    tar.stdin(Stdio::null()).args(["--extract", "--verbose", "--no-same-owner", "--strip-components=1"]);
    command::stream(tar.arg("--directory").arg(into).arg("--file").arg(tarball), |_| task.advance(1))?;
    task.finish("done");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_a_harmless_file_name() {
        assert_eq!(file_name("http://h.example/v6/linux-6.12.tar.xz"), "linux-6.12.tar.xz");
        assert_eq!(file_name("http://h.example/a b?c=$d/"), "");
        assert_eq!(file_name("x?y=../z w"), "zw");
    }

    #[test]
    fn a_version_that_is_gone_comes_with_the_command_that_pins_another() {
        let gone = |available: &[&str]| ArchiveError::NoSuchVersion {
            package: Package { name: "p".into(), version: "1".into() },
            suite: "trixie".into(),
            mirror: Mirror::of_url("http://m.example/debian"),
            available: available.iter().map(|v| (*v).to_owned()).collect(),
        };
        let error = SourceError::archive("6.12", gone(&["2"]));
        assert!(error.to_string().contains("`cargo xtask kernel pin 6.12`"), "{error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("it has 2"), "{cause}");
        let error = SourceError::archive("6.12", gone(&[])).to_string();
        assert_eq!(error, "kernel 6.12 has no source");
    }
}
