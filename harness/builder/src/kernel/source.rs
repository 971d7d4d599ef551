//! Kernel sources: identified, fetched, checked and unpacked.

mod error;
mod git;
mod tree;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::manifest::{DebianSource, Manifest, PrebuiltSource, Source, TarballSource};
use crate::{
    cache::{Area, Cache, CacheError, Entry, cleaning::References},
    command,
    digest::Sha256,
    fetch,
    file::FileError,
    mirror::{self, Archive, Mirror, Package},
    progress::{Progress, Unit},
};
pub use error::SourceError;
use tree::check;

/// The version of the unpacking; raised when the same inputs would make other files of a prebuilt kernel.
const PREBUILT_EDITION: &str = "1";

/// Returns a text that identifies the state of a source, without fetching anything.
pub(super) fn identity(source: &Source) -> Result<String, SourceError> {
    Ok(match source {
        Source::Debian(debian) => format!("{} {} {}", debian.package, debian.version, debian.sha256),
        Source::Tarball(tarball) => format!("{} {}", file_name(&tarball.url), tarball.sha256),
        Source::Git(git) => format!("git {}", git.revision.as_str()),
        Source::Tree(tree) => format!("{} {}", tree.path.display(), tree::fingerprint(&tree.path)?),
        Source::Prebuilt(prebuilt) => prebuilt_identity(prebuilt)?,
    })
}

fn prebuilt_identity(source: &PrebuiltSource) -> Result<String, SourceError> {
    let sum = |path: &PathBuf| Sha256::of_file(path).map_err(FileError::of("read", path));
    let parts: Vec<String> = match source {
        PrebuiltSource::Debian(debian) => {
            let each = debian.each();
            each.map(|package| format!("{} {} {}", package.package, package.version, package.sha256)).collect()
        }
        PrebuiltSource::Packages(packages) => {
            packages.files.iter().map(|path| Ok(sum(path)?.to_string())).collect::<Result<_, SourceError>>()?
        }
        PrebuiltSource::Files(files) => {
            let modules = files.modules.as_deref().map(tree::listing_sum).transpose()?;
            let modules = modules.map(|sum| sum.to_string()).unwrap_or_default();
            vec![sum(&files.vmlinuz)?.to_string(), sum(&files.config)?.to_string(), modules]
        }
    };
    Ok(format!("prebuilt {PREBUILT_EDITION} {}", parts.join(" ")))
}

/// Errors if a source on this machine has changed since its identity was taken. Other sources cannot change: their sum
/// or commit is pinned.
pub(super) fn check_unchanged(manifest: &Manifest, identity: &str) -> Result<(), SourceError> {
    let local = manifest.source.local();
    if local.is_empty() || self::identity(&manifest.source)? == identity {
        return Ok(());
    }
    let (kernel, paths) = (manifest.name.clone(), local.into_iter().map(Path::to_owned).collect());
    Err(SourceError::Changed { kernel, paths })
}

/// Unpacks a source, unless it is a folder already, into the empty folder `into`.
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
        // It was checked when its fingerprint was taken.
        Source::Tree(_) => return Ok(()),
        Source::Prebuilt(_) => {
            return Err(SourceError::NotASource { path: into.to_owned(), reason: "the kernel is prebuilt" });
        }
    }?;
    check(into)
}

/// Adds the downloads of a source in the cache.
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

/// Returns the verified tarball of a release, downloaded if needed.
fn download(tarball: &TarballSource, cache: &Cache, progress: &Progress) -> Result<PathBuf, SourceError> {
    let lock = cache.entry(Area::Downloads, &tarball_name(tarball))?.lock(progress)?;
    if let Some(path) = lock.entry().pinned(tarball.sha256, progress)? {
        return Ok(path);
    }
    let staging = lock.stage()?;
    fetch::download(&tarball.url, tarball.sha256, staging.path(), progress)?;
    Ok(staging.publish()?)
}

fn tarball_name(tarball: &TarballSource) -> String {
    format!("{}-{}", tarball.sha256.short(), file_name(&tarball.url))
}

/// Returns the last part of a URL, reduced to characters that are safe in a file name.
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

/// Returns a Debian package file, downloaded if needed, and verified by apt and by its pinned sum.
pub(super) fn debian_package(
    debian: &DebianSource,
    kernel: &str,
    cache: &Cache,
    progress: &Progress,
) -> Result<PathBuf, SourceError> {
    if let Some(path) = package_entry(debian, cache)?.pinned(debian.sha256, progress)? {
        return Ok(path);
    }
    let downloads = cache.folder(Area::Downloads)?;
    let folder = tempfile::tempdir_in(&downloads).map_err(FileError::of("create a folder in", &downloads))?;
    let package = Package { name: debian.package.clone(), version: debian.version.clone() };
    let fail = |error| SourceError::archive(kernel, error);
    let archive = Archive::open(cache, Mirror::of_this_machine()?, &debian.suite, progress).map_err(fail)?;
    let file = archive.download_pinned(&package, debian.sha256, folder.path(), progress).map_err(fail)?;
    let received = Sha256::of_file(&file).map_err(FileError::of("read", &file))?;
    if received != debian.sha256 {
        return Err(SourceError::WrongSum { package, pinned: debian.sha256, received });
    }
    keep_package(debian, &file, cache, progress)
}

/// Moves a verified package file into the cache.
fn keep_package(
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
    mirror::unpack_plain(&package, folder.path())?;
    let tarballs = folder.path().join("usr/src");
    let listing = fs::read_dir(&tarballs).map_err(FileError::of("list", &tarballs))?;
    let is_tarball = |path: &PathBuf| path.to_string_lossy().contains(".tar.");
    let tarball = listing.filter_map(Result::ok).map(|entry| entry.path()).find(is_tarball);
    let nothing = || SourceError::NotASource { path: package, reason: "it has no usr/src/*.tar.*" };
    unpack_tar(&tarball.ok_or_else(nothing)?, into, progress)
}

/// Unpacks a tarball with any compression, without its single top-level folder.
fn unpack_tar(tarball: &Path, into: &Path, progress: &Progress) -> Result<(), SourceError> {
    let name = tarball.file_name().unwrap_or_default().to_string_lossy();
    let task = progress.task(&format!("unpack {name}"), Unit::Things("files"), None);
    // Not xshell: its output lines are counted.
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
    fn a_url_gives_a_safe_file_name() {
        assert_eq!(file_name("http://h.example/v6/linux-6.12.tar.xz"), "linux-6.12.tar.xz");
        assert_eq!(file_name("http://h.example/a b?c=$d/"), "");
        assert_eq!(file_name("x?y=../z w"), "zw");
    }
}
