//! The plan, read from the run folder.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use harness_protocol::plan::{FORMAT, PLAN_FILE, Plan};
use serde::Deserialize;
use thiserror::Error;

/// Why there is no plan to follow.
#[derive(Debug, Error)]
pub(crate) enum PlanError {
    /// It cannot be read.
    #[error("cannot read the plan {path}: {source}")]
    Io {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is longer than any plan.
    #[error("the plan {0} is longer than {LONGEST} bytes: split it into several runs")]
    TooLong(PathBuf),
    /// It is no plan.
    #[error("the plan {path} makes no sense: {source}")]
    Nonsense {
        /// Where it is.
        path: PathBuf,
        /// Where in it.
        source: serde_json::Error,
    },
    /// It is of another version of the harness.
    #[error(
        "the plan has format {found}, this guest program follows format {FORMAT}: build both from the same sources"
    )]
    Format {
        /// What it has.
        found: u32,
    },
}

/// The longest plan read, in bytes.
const LONGEST: u64 = 64 * 1024 * 1024;

/// Just the format, so that the rest of another format need not make sense.
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
        Err(source) => return Err(PlanError::Nonsense { path, source }),
    };
    if header.format != FORMAT {
        return Err(PlanError::Format { found: header.format });
    }
    serde_json::from_slice(text).map_err(|source| PlanError::Nonsense { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text.as_bytes(), PathBuf::from("plan.json")).unwrap_err().to_string()
    }

    #[test]
    fn a_plan_of_another_format_is_told_before_anything_else() {
        assert!(error(r#"{"format": 999, "new": 1}"#).contains("format 999"));
        assert!(error(&format!(r#"{{"format": {FORMAT}, "new": 1}}"#)).contains("unknown field `new`"));
        assert!(error("random").starts_with("the plan plan.json makes no sense"));
    }

    #[test]
    fn a_missing_plan_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("plan.json") && error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_plan_that_is_too_long_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        File::create(folder.path().join(PLAN_FILE)).unwrap().set_len(LONGEST + 1).unwrap();
        assert!(matches!(read(folder.path()), Err(PlanError::TooLong(_))));
    }
}
