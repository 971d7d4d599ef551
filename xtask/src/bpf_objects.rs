//! BPF objects that a person names: relocatable objects, and programs that carry some.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use harness_objects::{Object, embedded};

use crate::exit::Wrong;

/// A file of a person has this many bytes at most; programs that carry objects have far less.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// An object with its file's bytes.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// The file, with what it is called in a program that carries it.
    pub(crate) name: String,
    /// The whole file.
    pub(crate) bytes: Vec<u8>,
    /// What was read of it.
    pub(crate) object: Object,
}

/// All objects in these files.
///
/// # Errors
/// If a file cannot be read, or has no object in it.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Vec<Named>> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(in_file(path).map_err(Wrong::input)?);
    }
    Ok(all)
}

fn in_file(path: &Path) -> Result<Vec<Named>> {
    let bytes = bytes_of(path).with_context(|| format!("cannot read {}", path.display()))?;
    let name = path.display().to_string();
    of_bytes(&name, bytes)
}

/// The objects in a file of this name.
pub(crate) fn of_bytes(name: &str, bytes: Vec<u8>) -> Result<Vec<Named>> {
    let error = match harness_objects::read(&bytes) {
        Ok(object) => return Ok(vec![Named { name: name.to_owned(), bytes, object }]),
        Err(error) => error,
    };
    let mut carried = Vec::new();
    for (number, inner) in embedded(&bytes).into_iter().enumerate() {
        let part = &bytes[inner.offset..inner.offset + inner.size];
        let own = inner.name.unwrap_or_else(|| format!("object {}", number + 1));
        let object = harness_objects::read(part).with_context(|| format!("{name}, {own} at byte {}", inner.offset))?;
        carried.push(Named { name: format!("{name}:{own}"), bytes: part.to_vec(), object });
    }
    if carried.is_empty() { Err(anyhow!("{name} is no BPF object and carries none: {error}")) } else { Ok(carried) }
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(anyhow!("it is larger than {MOST_BYTES} bytes"));
    }
    Ok(bytes)
}
