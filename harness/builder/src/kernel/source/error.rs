//! Why a kernel source is not available.

use std::path::PathBuf;

use harness_protocol::name::KernelName;
use thiserror::Error;

use crate::{
    cache::CacheError,
    command::CommandError,
    digest::Sha256,
    fetch::FetchError,
    file::FileError,
    mirror::{ArchiveError, MirrorError, Package, UnpackError},
};

/// Why a source is not available.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The Debian mirror is not known.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The archive does not have the package, or not in this version.
    #[error("cannot get the source of kernel {kernel}{}", repin(.source, .kernel))]
    Archive {
        /// The kernel.
        kernel: String,
        /// The error of the archive.
        source: Box<ArchiveError>,
    },
    /// A package is not the pinned one.
    #[error(
        "{package} has the wrong SHA-256 sum:\n  pinned   {pinned}\n  received {received}\nthe download was discarded"
    )]
    WrongSum {
        /// The package.
        package: Package,
        /// The pinned sum.
        pinned: Sha256,
        /// The sum of the received file.
        received: Sha256,
    },
    /// A download failed.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A package cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// The repository does not have the revision.
    #[error("{url} has no commit {revision}; check that it was pushed there")]
    NoRevision {
        /// The repository.
        url: String,
        /// The commit.
        revision: String,
        /// The error of git.
        source: CommandError,
    },
    /// The package or folder is not a kernel source.
    #[error("{} is not a kernel source: {reason}", path.display())]
    NotASource {
        /// The file or folder.
        path: PathBuf,
        /// What is missing.
        reason: &'static str,
    },
    /// Somebody changed the source during a build.
    #[error(
        "{} changed during the build of kernel {kernel}, so nothing was kept; build it again when nobody edits it",
        shown(.paths)
    )]
    Changed {
        /// The kernel.
        kernel: KernelName,
        /// The folder, or the files.
        paths: Vec<PathBuf>,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl SourceError {
    /// Converts the error of an archive.
    pub(in crate::kernel) fn archive(kernel: &str, error: ArchiveError) -> Self {
        Self::Archive { kernel: kernel.to_owned(), source: Box::new(error) }
    }

    /// Reports whether the mirror no longer has a pinned version.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Archive { source, .. } if matches!(**source, ArchiveError::NoSuchVersion { .. }))
    }
}

/// Returns advice for a version that is gone.
fn repin(error: &ArchiveError, kernel: &str) -> String {
    match error {
        ArchiveError::NoSuchVersion { available, .. } if !available.is_empty() => {
            let command = format!("{} kernel pin {kernel}", harness_program::NAME);
            format!("; the pinned version is gone, `{command}` pins the newest one")
        }
        _ => String::new(),
    }
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use harness_fixtures::chain;

    use super::*;
    use crate::mirror::Mirror;

    #[test]
    fn a_version_that_is_gone_comes_with_the_command_that_pins_another() {
        let gone = |available: &[&str]| ArchiveError::NoSuchVersion {
            package: Package { name: "p".into(), version: "1".into() },
            suite: "trixie".into(),
            mirror: Mirror::of_url("http://m.example/debian"),
            available: available.iter().map(|v| (*v).to_owned()).collect(),
        };
        let error = SourceError::archive("6.12", gone(&["2"]));
        insta::assert_snapshot!(chain(&error), @r"
        cannot get the source of kernel 6.12; the pinned version is gone, `cargo xtask kernel pin 6.12` pins the newest one
        caused by: http://m.example/debian has no p=1 in trixie; it has 2
        ");
        let error = SourceError::archive("6.12", gone(&[]));
        insta::assert_snapshot!(chain(&error), @r"
        cannot get the source of kernel 6.12
        caused by: http://m.example/debian has no p=1 in trixie; it has no version of it
        ");
    }
}
