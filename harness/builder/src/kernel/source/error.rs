//! Why a kernel source could not be had.

use std::path::PathBuf;

use harness_protocol::name::KernelName;
use thiserror::Error;

use crate::{
    cache::CacheError,
    command::CommandError,
    digest::Sha256,
    fetch::FetchError,
    file::FileError,
    mirror::{ArchiveError, MirrorError, Package},
};

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
    /// Somebody changed it while a kernel was made of it.
    #[error(
        "{} changed while kernel {kernel} was made of it, so nothing was kept: build it again once nobody edits it",
        shown(.paths)
    )]
    Changed {
        /// The kernel it is for.
        kernel: KernelName,
        /// The folder, or the files.
        paths: Vec<PathBuf>,
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
    pub(in crate::kernel) fn archive(kernel: &str, error: ArchiveError) -> Self {
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

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
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
        assert!(error.to_string().contains("`cargo xtask kernel pin 6.12`"), "{error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("it has 2"), "{cause}");
        let error = SourceError::archive("6.12", gone(&[])).to_string();
        assert_eq!(error, "kernel 6.12 has no source");
    }
}
