//! Pins a kernel to the newest version its suite has.

use std::{fs, path::PathBuf};

use thiserror::Error;

use super::{
    SourceError,
    manifest::{DebianSource, Manifest, Source},
    source,
};
use crate::{
    cache::{Area, Cache},
    digest::Sha256,
    file::FileError,
    mirror::{Archive, Mirror, Package},
    progress::Progress,
};

/// Why a kernel was not pinned anew.
#[derive(Debug, Error)]
pub enum PinError {
    /// Only packages have versions to choose from.
    #[error(
        "{}: only a kernel from a Debian source package can be pinned anew; edit the manifest by hand: packages of \
         prebuilt kernels have their version in their names too",
        .0.display()
    )]
    NotDebian(PathBuf),
    /// The package could not be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The manifest could not be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Writes the newest version of a kernel's package, or the one that is asked for, into its manifest; returns it.
pub fn pin(manifest: &Manifest, version: Option<&str>, cache: &Cache, progress: &Progress) -> Result<String, PinError> {
    let Source::Debian(old) = &manifest.source else { return Err(PinError::NotDebian(manifest.path.clone())) };
    let new = newest(old, version, manifest.name.as_str(), cache, progress)?;
    let text = fs::read_to_string(&manifest.path).map_err(FileError::of("read", &manifest.path))?;
    fs::write(&manifest.path, repinned(&text, old, &new)).map_err(FileError::of("write", &manifest.path))?;
    Ok(new.version)
}

/// Fetches the package that is to be pinned, for its sum.
fn newest(
    old: &DebianSource,
    version: Option<&str>,
    kernel: &str,
    cache: &Cache,
    progress: &Progress,
) -> Result<DebianSource, SourceError> {
    let fail = |error| SourceError::archive(kernel, error);
    let archive = Archive::open(cache, Mirror::of_this_machine()?, &old.suite, progress).map_err(fail)?;
    let newest = || archive.versions(&old.package).map(|versions| versions.into_iter().next());
    let version = match version {
        Some(version) => version.to_owned(),
        None => newest().map_err(fail)?.unwrap_or_else(|| old.version.clone()),
    };
    let downloads = cache.folder(Area::Downloads)?;
    let folder = tempfile::tempdir_in(&downloads).map_err(FileError::of("create a folder in", &downloads))?;
    let package = Package { name: old.package.clone(), version: version.clone() };
    let file = archive.download(&package, folder.path(), progress).map_err(fail)?;
    let sha256 = Sha256::of_file(&file).map_err(FileError::of("read", &file))?;
    let new = DebianSource { version, sha256, ..old.clone() };
    source::keep_package(&new, &file, cache, progress)?;
    Ok(new)
}

/// The manifest's text with another version and sum; everything else stays as it was written.
fn repinned(text: &str, old: &DebianSource, new: &DebianSource) -> String {
    let sum = |source: &DebianSource| source.sha256.to_string();
    text.replace(&format!("\"{}\"", old.version), &format!("\"{}\"", new.version)).replace(&sum(old), &sum(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_version_and_sum_change() {
        let sum = |text: &str| Sha256::of_reader(text.as_bytes()).unwrap();
        let source = |version: &str, text: &str| DebianSource {
            package: "linux-source-6.12".into(),
            version: version.into(),
            suite: "trixie".into(),
            sha256: sum(text),
        };
        let text = |s: &DebianSource| {
            format!("# 6.12.1-1 is kept\nversion = \"{}\" # pinned\nsha256 = \"{}\"\n", s.version, s.sha256)
        };
        let (old, new) = (source("6.12.1-1", "a"), source("6.12.2-1", "b"));
        assert_eq!(repinned(&text(&old), &old, &new), text(&new));
    }
}
