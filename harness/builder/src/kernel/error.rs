//! Why there is no kernel.

use std::path::PathBuf;

use harness_protocol::name::KernelName;
use harness_uapi::vocabulary::VocabularyError;
use thiserror::Error;

use super::{fragment, prebuilt::PrebuiltError, record::Damage, source::SourceError};
use crate::{cache::CacheError, command::CommandError, file::FileError};

/// Why there is no kernel.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The source could not be had.
    #[error(transparent)]
    Source(Box<SourceError>),
    /// A kernel that was built elsewhere cannot be used.
    #[error("kernel {kernel} cannot be put together")]
    Prebuilt {
        /// Which.
        kernel: KernelName,
        /// Why.
        source: Box<PrebuiltError>,
    },
    /// The kernel was not configured as its manifest requires.
    #[error(
        "{}: the kernel is not configured as `required` says:\n  {}\ntake another kernel, or drop the requirement",
        path.display(), problems.join("\n  ")
    )]
    Required {
        /// The manifest.
        path: PathBuf,
        /// Every option that differs.
        problems: Vec<String>,
    },
    /// The configuration is not what was asked for.
    #[error(
        "{}: the configuration came out otherwise than asked for:\n  {}\nmend the fragments, or add an [[exception]] with a \
         reason to the manifest",
        path.display(), problems.join("\n  ")
    )]
    Config {
        /// The manifest.
        path: PathBuf,
        /// Every option that differs.
        problems: Vec<String>,
    },
    /// The kernel's own configuration was not understood.
    #[error("cannot read {}", path.display())]
    ResolvedConfig {
        /// The file.
        path: PathBuf,
        /// The line.
        source: fragment::BadLine,
    },
    /// A program is missing or failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The kernel that was built says nothing about its types.
    #[error("cannot read the type information of {}", path.display())]
    Btf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: VocabularyError,
    },
    /// A file of a finished build is damaged.
    #[error("kernel {1} is damaged; `{name} kernel build {1}` builds it again", name = harness_program::NAME)]
    Damaged(#[source] Damage, KernelName),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl From<SourceError> for KernelError {
    fn from(error: SourceError) -> Self {
        Self::Source(Box::new(error))
    }
}
