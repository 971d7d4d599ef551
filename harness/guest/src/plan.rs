//! The plan, read from the run folder.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use harness_protocol::plan::{FORMAT, PLAN_FILE, Plan};
use serde::Deserialize;
use thiserror::Error;

/// Why there is no plan.
#[derive(Debug, Error)]
pub(crate) enum PlanError {
    /// It cannot be read.
    #[error("cannot read the plan {path}: {source}")]
    Io {
        /// Its path.
        path: PathBuf,
        /// The error.
        source: std::io::Error,
    },
    /// It is too long.
    #[error("the plan {0} is longer than {LONGEST} bytes: split the run into several")]
    TooLong(PathBuf),
    /// It is malformed.
    #[error("malformed plan {path}: {source}")]
    Malformed {
        /// Its path.
        path: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// It comes from another version of the harness.
    #[error(
        "the plan has format {found}, but this guest program reads format {FORMAT}: build both from the same sources"
    )]
    Format {
        /// The plan's format.
        found: u32,
    },
}

/// The longest plan read, in bytes.
const LONGEST: u64 = 64 * 1024 * 1024;

/// Only the format, so that the rest of a plan in another format need not parse.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

/// Reads and checks the plan in a run folder.
pub(crate) fn read(folder: &Path) -> Result<Plan, PlanError> {
    let path = folder.join(PLAN_FILE);
    let mut text = Vec::new();
    let read = File::open(&path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut text));
    match read {
        Err(source) => Err(PlanError::Io { path, source }),
        Ok(_) if text.len() as u64 > LONGEST => Err(PlanError::TooLong(path)),
        Ok(_) => parse(&text, path),
    }
}

fn parse(text: &[u8], path: PathBuf) -> Result<Plan, PlanError> {
    let header: Header = match serde_json::from_slice(text) {
        Ok(header) => header,
        Err(source) => return Err(PlanError::Malformed { path, source }),
    };
    if header.format != FORMAT {
        return Err(PlanError::Format { found: header.format });
    }
    serde_json::from_slice(text).map_err(|source| PlanError::Malformed { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_is_too_long_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join(PLAN_FILE)).unwrap().set_len(LONGEST + 1).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        let error = error.replace(&folder.path().display().to_string(), "[FOLDER]");
        insta::assert_snapshot!(
            error,
            @"the plan [FOLDER]/plan.json is longer than 67108864 bytes: split the run into several"
        );
    }
}
