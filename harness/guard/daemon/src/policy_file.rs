//! Reads a policy from a file.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use guard_policy::{Mode, Policy};
use harness_diagnostics::report::Report;
use thiserror::Error;

/// The most bytes that are read of a policy; a longer file is refused by the parser.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// Why there is no policy.
#[derive(Debug, Error)]
pub(crate) enum PolicyError {
    #[error("cannot read the policy {path}: {error}", path = path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{0}")]
    Wrong(Box<Report>),
}

/// Reads the text of a policy.
pub(crate) fn text(path: &Path) -> Result<String, PolicyError> {
    let text = || {
        let mut text = Vec::new();
        File::open(path)?.take(MOST_BYTES).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = text().map_err(|error| PolicyError::Read { path: path.to_owned(), error })?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Reads and checks a policy; `mode` replaces its own.
pub(crate) fn read(path: &Path, mode: Option<Mode>) -> Result<Policy, PolicyError> {
    let text = text(path)?;
    let (mut policy, _) = guard_policy::parse(&path.display().to_string(), &text)
        .map_err(|report| PolicyError::Wrong(Box::new(report)))?;
    if let Some(mode) = mode {
        policy.mode = mode;
    }
    Ok(policy)
}
