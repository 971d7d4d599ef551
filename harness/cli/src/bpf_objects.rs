//! BPF objects named on the command line: object files, and programs with embedded objects.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use harness_objects::Named;

use crate::exit::Wrong;

/// The maximum size of a file in bytes; programs with embedded objects are far smaller.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// Reads all objects in these files.
///
/// # Errors
/// If a file cannot be read or has no object.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Named>> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(in_file(path).map_err(Wrong::input)?);
    }
    Ok(all)
}

fn in_file(path: &Path) -> Result<Vec<Named>> {
    let bytes = bytes_of(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Named::of_bytes(&path.display().to_string(), bytes)?)
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(anyhow!("the file is larger than {MOST_BYTES} bytes"));
    }
    Ok(bytes)
}
