//! The source of a kernel, as a manifest describes it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::Sha256;

/// Where a kernel's source comes from.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// A Debian package with a source tarball, such as `linux-source-6.12`.
    Debian(DebianSource),
    /// A release tarball.
    Tarball(TarballSource),
    /// A revision of a git repository.
    Git(GitSource),
    /// A folder, built in its current state.
    Tree(TreeSource),
    /// A prebuilt kernel.
    Prebuilt(PrebuiltSource),
}

impl Source {
    /// Returns its files and folders on this machine, which somebody may change at any time.
    pub fn local(&self) -> Vec<&Path> {
        match self {
            Self::Tree(tree) => vec![&tree.path],
            Self::Prebuilt(PrebuiltSource::Packages(packages)) => packages.files.iter().map(PathBuf::as_path).collect(),
            Self::Prebuilt(PrebuiltSource::Files(files)) => {
                [&files.vmlinuz, &files.config].into_iter().chain(&files.modules).map(PathBuf::as_path).collect()
            }
            Self::Debian(_) | Self::Tarball(_) | Self::Git(_) | Self::Prebuilt(PrebuiltSource::Debian(_)) => Vec::new(),
        }
    }

    /// Returns the same source with relative paths joined to a folder.
    pub(super) fn below(self, folder: &Path) -> Self {
        match self {
            Self::Tree(TreeSource { path }) => Self::Tree(TreeSource { path: folder.join(path) }),
            Self::Prebuilt(prebuilt) => Self::Prebuilt(prebuilt.below(folder)),
            Self::Debian(_) | Self::Tarball(_) | Self::Git(_) => self,
        }
    }
}

/// A prebuilt kernel: it is unpacked, not compiled.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PrebuiltSource {
    /// Packages of a Debian archive.
    Debian(DebianKernel),
    /// Package files (`.deb`).
    Packages(PackageFiles),
    /// The kernel's own files.
    Files(KernelFiles),
}

impl PrebuiltSource {
    fn below(self, folder: &Path) -> Self {
        match self {
            Self::Debian(_) => self,
            Self::Packages(PackageFiles { files }) => {
                Self::Packages(PackageFiles { files: files.iter().map(|file| folder.join(file)).collect() })
            }
            Self::Files(files) => Self::Files(KernelFiles {
                vmlinuz: folder.join(files.vmlinuz),
                config: folder.join(files.config),
                modules: files.modules.map(|modules| folder.join(modules)),
            }),
        }
    }
}

/// A kernel's packages in a Debian archive: one up to 6.18, then a `linux-binary`, a `linux-modules` and a
/// `linux-base`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianKernel {
    /// The suite they are in, such as `trixie`.
    pub suite: String,
    /// The full version of all of them.
    pub version: String,
    /// The packages, each with the sum of its file.
    pub packages: BTreeMap<String, Sha256>,
}

impl DebianKernel {
    /// Iterates over the packages.
    pub fn each(&self) -> impl Iterator<Item = DebianSource> {
        self.packages.iter().map(|(package, sha256)| DebianSource {
            package: package.clone(),
            version: self.version.clone(),
            suite: self.suite.clone(),
            sha256: *sha256,
        })
    }
}

/// Package files that together contain a kernel, its configuration and its modules.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageFiles {
    /// The files; relative paths start at the manifest's folder.
    pub files: Vec<PathBuf>,
}

/// A kernel as `make bzImage modules_install` leaves it. Relative paths start at the manifest's folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelFiles {
    /// The bzImage.
    pub vmlinuz: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
    /// The folder of its modules, such as `lib/modules/6.12.0`; none if everything needed is built in.
    pub modules: Option<PathBuf>,
}

/// A Debian package with a source tarball.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianSource {
    /// The package.
    pub package: String,
    /// Its full version; apt fetches exactly this one.
    pub version: String,
    /// The suite it is in, such as `trixie`.
    pub suite: String,
    /// The sum of the package file.
    pub sha256: Sha256,
}

/// A tarball by URL.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TarballSource {
    /// Its URL.
    pub url: String,
    /// Its sum.
    pub sha256: Sha256,
}

/// A git revision.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitSource {
    /// The repository: a URL or a path, as `git fetch` takes it.
    pub url: String,
    /// The full hash of the commit.
    pub revision: Revision,
}

/// A folder with a kernel source.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeSource {
    /// The folder; a relative path starts at the manifest's folder.
    pub path: PathBuf,
}

/// The full hash of a git commit: a branch or a tag could move.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Revision(String);

/// A text that is not the full hash of a commit.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not the full hash of a commit (40 hexadecimal digits); `git ls-remote URL {0}` prints it")]
pub struct BadRevision(String);

impl Revision {
    /// The hash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Revision {
    type Error = BadRevision;

    fn try_from(text: String) -> Result<Self, BadRevision> {
        let full = [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if full { Ok(Self(text.to_ascii_lowercase())) } else { Err(BadRevision(text)) }
    }
}
