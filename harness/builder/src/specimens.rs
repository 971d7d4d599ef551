//! BPF objects that Debian ships, from pinned packages: what readers and least grants are tried on.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;
use thiserror::Error;

use crate::{
    cache::{Area, Cache, CacheError},
    command::{self, CommandError},
    digest::Sha256,
    mirror::{self, Archive, ArchiveError, Mirror, MirrorError},
    progress::Progress,
};

/// Why the packages cannot be had.
#[derive(Debug, Error)]
pub enum SpecimenError {
    /// The list of packages cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
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

/// The list of packages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    package: Vec<Pinned>,
}

/// A package, and what of it carries objects.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
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
pub struct Specimen {
    /// Its path in the package.
    pub path: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Reads a list of packages.
///
/// # Errors
/// [`SpecimenError`] if it is none.
pub fn list(path: &Path) -> Result<Vec<Pinned>, SpecimenError> {
    let text = fs::read_to_string(path).map_err(|source| SpecimenError::Read { path: path.to_owned(), source })?;
    let list: List = toml::from_str(&text)
        .map_err(|source| SpecimenError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
    Ok(list.package)
}

/// Fetches packages, each suite's lists once and only if something of it is missing.
#[derive(Debug)]
pub struct Fetcher<'a> {
    cache: &'a Cache,
    progress: &'a Progress,
    archives: BTreeMap<String, Archive>,
}

impl<'a> Fetcher<'a> {
    /// One that keeps packages in this cache.
    pub fn new(cache: &'a Cache, progress: &'a Progress) -> Self {
        Self { cache, progress, archives: BTreeMap::new() }
    }

    /// The files of one carrier of a package, in the order of their paths.
    ///
    /// # Errors
    /// [`SpecimenError`] if the package cannot be had or unpacked.
    pub fn files(&mut self, package: &Pinned) -> Result<Vec<(Carrier, Vec<Specimen>)>, SpecimenError> {
        let file = self.package(package)?;
        let read = |source| SpecimenError::Read { path: file.clone(), source };
        let folder = tempfile::tempdir().map_err(read)?;
        let mut dpkg = Command::new("dpkg-deb");
        command::output(dpkg.arg("--extract").arg(&file).arg(folder.path()))
            .map_err(|source| SpecimenError::Unpack { package: file.clone(), source })?;
        package.files.iter().map(|carrier| Ok((carrier.clone(), matching(folder.path(), carrier)?))).collect()
    }

    fn package(&mut self, package: &Pinned) -> Result<PathBuf, SpecimenError> {
        let name = format!("specimen-{}-{}.deb", package.name, package.sha256.short());
        let lock = self.cache.entry(Area::Downloads, &name)?.lock(self.progress)?;
        if let Some(file) = lock.entry().existing()
            && sum(&file)? == package.sha256
        {
            return Ok(file);
        }
        let folder = tempfile::tempdir_in(self.cache.folder(Area::Downloads)?)
            .map_err(|source| SpecimenError::Read { path: self.cache.root().to_owned(), source })?;
        let wanted = mirror::Package { name: package.name.clone(), version: package.version.clone() };
        let progress = self.progress.clone();
        let file = self.archive(&package.suite)?.download(&wanted, folder.path(), &progress).map_err(Box::new)?;
        let found = sum(&file)?;
        if found != package.sha256 {
            return Err(SpecimenError::WrongSum { package: wanted.to_string(), pinned: package.sha256, found });
        }
        let staging = lock.stage()?;
        fs::rename(&file, staging.path()).map_err(|source| SpecimenError::Read { path: file, source })?;
        Ok(staging.publish()?)
    }

    fn archive(&mut self, suite: &str) -> Result<&Archive, SpecimenError> {
        if !self.archives.contains_key(suite) {
            let archive =
                Archive::open(self.cache, Mirror::of_this_machine()?, suite, self.progress).map_err(Box::new)?;
            self.archives.insert(suite.to_owned(), archive);
        }
        Ok(&self.archives[suite])
    }
}

fn sum(file: &Path) -> Result<Sha256, SpecimenError> {
    Sha256::of_file(file).map_err(|source| SpecimenError::Read { path: file.to_owned(), source })
}

fn matching(folder: &Path, carrier: &Carrier) -> Result<Vec<Specimen>, SpecimenError> {
    let wrong = || SpecimenError::Pattern { path: folder.to_owned(), pattern: carrier.path.clone() };
    let pattern = folder.join(&carrier.path);
    let paths = glob::glob(pattern.to_str().ok_or_else(wrong)?).map_err(|_| wrong())?;
    let mut specimens = Vec::new();
    // A link in a package could lead anywhere.
    for path in paths.flatten().filter(|path| path.symlink_metadata().is_ok_and(|found| found.is_file())) {
        let bytes = fs::read(&path).map_err(|source| SpecimenError::Read { path: path.clone(), source })?;
        let inside = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        specimens.push(Specimen { path: inside, bytes });
    }
    Ok(specimens)
}

#[cfg(test)]
mod tests {
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
