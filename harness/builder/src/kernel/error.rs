//! Why a kernel is not available.

use std::path::PathBuf;

use harness_protocol::name::KernelName;
use harness_uapi::vocabulary::VocabularyError;
use thiserror::Error;

use super::{fragment, pin::PinError, prebuilt::PrebuiltError, record::Damage, source::SourceError};
use crate::{cache::CacheError, command::CommandError, file::FileError};

/// Why a kernel is not available.
#[derive(Debug, Error)]
pub enum KernelError {
    /// The source is not available.
    #[error(transparent)]
    Source(Box<SourceError>),
    /// A pin that has left the mirror could not be replaced.
    #[error(transparent)]
    Pin(Box<PinError>),
    /// A prebuilt kernel cannot be used.
    #[error("cannot unpack prebuilt kernel {kernel}")]
    Prebuilt {
        /// The kernel.
        kernel: KernelName,
        /// Why.
        source: Box<PrebuiltError>,
    },
    /// The kernel is not configured as its manifest requires.
    #[error(
        "{}: the kernel is not configured as `required` says:\n  {}\nuse another kernel, or remove the requirement",
        path.display(), problems.join("\n  ")
    )]
    Required {
        /// The manifest.
        path: PathBuf,
        /// Every option that differs.
        problems: Vec<String>,
    },
    /// The resolved configuration is not what the fragments ask for.
    #[error(
        "{}: the resolved configuration differs from the fragments:\n  {}\nchange the fragments, or add an [[exception]] \
         with a reason to the manifest",
        path.display(), problems.join("\n  ")
    )]
    Config {
        /// The manifest.
        path: PathBuf,
        /// Every option that differs.
        problems: Vec<String>,
    },
    /// The kernel's resolved configuration is not valid.
    #[error("cannot read {}", path.display())]
    ResolvedConfig {
        /// The file.
        path: PathBuf,
        /// The line that is not valid.
        source: fragment::BadLine,
    },
    /// A program is missing or failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The kernel has no usable type information.
    #[error("cannot read the type information of {}", path.display())]
    Btf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: VocabularyError,
    },
    /// A file of a build is damaged.
    #[error("kernel {1} is damaged; `{name} kernel build {1}` builds it again", name = harness_program::NAME)]
    Damaged(#[source] Damage, KernelName),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A cache operation failed.
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl KernelError {
    /// Reports whether the mirror no longer has a pinned version.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Source(source) => source.is_gone(),
            Self::Prebuilt { source, .. } => source.is_gone(),
            _ => false,
        }
    }
}

impl From<SourceError> for KernelError {
    fn from(error: SourceError) -> Self {
        Self::Source(Box::new(error))
    }
}
