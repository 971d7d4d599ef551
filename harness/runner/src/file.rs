//! Reads files of others with a size limit.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Reads at most `most` + 1 bytes of a file, so that the caller can reject a longer one.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
