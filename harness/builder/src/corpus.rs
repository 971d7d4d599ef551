//! BPF objects that Debian ships, from pinned packages: the corpus for reading objects and computing the permissions
//! they need.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::{
    cache::{Cache, CacheError, cleaning::References},
    digest::Sha256,
    file::{self, FileError, TomlError},
    mirror::{
        self, ArchiveError, MirrorError, UnpackError,
        pinned::{Fetcher, PinnedError, PinnedPackage},
    },
    progress::Progress,
};

/// Why the packages are not available.
#[derive(Debug, Error)]
pub enum CorpusError {
    /// The list of packages cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The list of packages is not valid.
    #[error(transparent)]
    Syntax(#[from] TomlError),
    /// A pattern of paths is not valid.
    #[error("{}: `{pattern}` is not a valid pattern of paths", path.display())]
    Pattern {
        /// The file.
        path: PathBuf,
        /// The pattern.
        pattern: String,
    },
    /// The mirror is not known.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The archive does not have a package.
    #[error(transparent)]
    Archive(#[from] Box<ArchiveError>),
    /// The downloaded file is not the pinned one.
    #[error(
        "{package} has the wrong SHA-256 sum:\n  pinned   {pinned}\n  received {found}\nthe download was discarded"
    )]
    WrongSum {
        /// The package.
        package: String,
        /// The pinned sum.
        pinned: Sha256,
        /// The sum of the received file.
        found: Sha256,
    },
    /// A package cannot be unpacked.
    #[error("cannot unpack {}", package.display())]
    Unpack {
        /// The package file.
        package: PathBuf,
        /// Why.
        source: UnpackError,
    },
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl CorpusError {
    /// Why a package is not available.
    fn of(error: PinnedError, package: &CorpusPackage) -> Self {
        match error {
            PinnedError::Mirror(error) => Self::Mirror(error),
            PinnedError::Archive(error) => Self::Archive(error),
            PinnedError::WrongSum { found } => {
                let name = format!("{}={}", package.name, package.version);
                Self::WrongSum { package: name, pinned: package.sha256, found }
            }
            PinnedError::File(error) => Self::File(error),
            PinnedError::Cache(error) => Self::Cache(error),
        }
    }
}

/// The list of packages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    package: Vec<CorpusPackage>,
}

/// A package, and which of its files contain objects.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusPackage {
    /// Its name.
    pub name: String,
    /// Its full Debian version.
    pub version: String,
    /// The suite it is in.
    pub suite: String,
    /// Its machine architecture.
    pub architecture: String,
    /// Its path below the mirror.
    pub path: String,
    /// The sum of the package file.
    pub sha256: Sha256,
    /// The files that contain objects.
    pub files: Vec<Carrier>,
}

/// Files of a package that contain objects.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carrier {
    /// A pattern of paths in the package.
    pub path: String,
    /// How they contain objects.
    pub kind: CarrierKind,
    /// The number of objects in all of them.
    pub objects: usize,
}

/// How a file contains objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CarrierKind {
    /// It is an object.
    Object,
    /// It is a program with objects among its constants.
    Embedded,
}

/// A file that contains objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorpusFile {
    /// Its path in the package.
    pub path: String,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// Reads a list of packages.
///
/// # Errors
/// [`CorpusError`] if it cannot be read or is not valid.
pub fn list(path: &Path) -> Result<Vec<CorpusPackage>, CorpusError> {
    let list: Corpus = file::parse_toml(path, &file::read_text(path)?)?;
    Ok(list.package)
}

/// Adds the cache items of a project's list of packages, which a project need not have.
///
/// # Errors
/// [`CorpusError`] if it cannot be read or is not valid.
pub(crate) fn add_references(path: &Path, references: &mut References) -> Result<(), CorpusError> {
    if !path.exists() {
        return Ok(());
    }
    list(path)?.iter().for_each(|package| package.pin().add_references(references));
    Ok(())
}

impl CorpusPackage {
    fn pin(&self) -> PinnedPackage<'_> {
        PinnedPackage { suite: &self.suite, name: &self.name, version: &self.version, sha256: self.sha256 }
    }
}

/// Fetches packages; fetches the lists of a suite once, and only if one of its packages is missing.
#[derive(Debug)]
pub struct PackageCache<'a>(Fetcher<'a>);

impl<'a> PackageCache<'a> {
    /// Keeps packages in this cache.
    pub fn new(cache: &'a Cache, progress: &'a Progress) -> Self {
        Self(Fetcher::new(cache, progress))
    }

    /// Returns the files of each carrier of a package, sorted by path.
    ///
    /// # Errors
    /// [`CorpusError`] if the package cannot be fetched or unpacked.
    pub fn files(&mut self, package: &CorpusPackage) -> Result<Vec<(Carrier, Vec<CorpusFile>)>, CorpusError> {
        let file = self.0.fetch(&package.pin()).map_err(|error| CorpusError::of(error, package))?;
        let folder = tempfile::tempdir().map_err(FileError::of("read", &file))?;
        mirror::unpack_plain(&file, folder.path())
            .map_err(|source| CorpusError::Unpack { package: file.clone(), source })?;
        package.files.iter().map(|carrier| Ok((carrier.clone(), matching(folder.path(), carrier)?))).collect()
    }
}

fn matching(folder: &Path, carrier: &Carrier) -> Result<Vec<CorpusFile>, CorpusError> {
    let wrong = || CorpusError::Pattern { path: folder.to_owned(), pattern: carrier.path.clone() };
    let pattern = folder.join(&carrier.path);
    let paths = glob::glob(pattern.to_str().ok_or_else(wrong)?).map_err(|_| wrong())?;
    let mut files = Vec::new();
    // A link in a package could lead anywhere.
    for path in paths.flatten().filter(|path| path.symlink_metadata().is_ok_and(|found| found.is_file())) {
        let bytes = file::read(&path)?;
        let inside = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        files.push(CorpusFile { path: inside, bytes });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_committed_list_is_valid() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../objects/packages.toml");
        let list = list(&path).unwrap();
        let objects: usize = list.iter().flat_map(|package| &package.files).map(|carrier| carrier.objects).sum();
        assert!(list.len() >= 10 && objects >= 40, "{objects} objects of {} packages", list.len());
    }

    #[test]
    fn files_are_found_by_pattern_and_links_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("usr/lib")).unwrap();
        for name in ["b.o", "a.o", "c.txt"] {
            fs::write(folder.path().join("usr/lib").join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("usr/lib/d.o")).unwrap();
        let carrier = Carrier { path: "usr/lib/*.o".into(), kind: CarrierKind::Object, objects: 2 };
        let found: Vec<String> = matching(folder.path(), &carrier).unwrap().into_iter().map(|one| one.path).collect();
        assert_eq!(found, ["usr/lib/a.o", "usr/lib/b.o"]);
    }
}
