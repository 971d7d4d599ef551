//! A file of the store: a record, and the SHA-256 sum of its text.

use std::{fs, io, path::Path};

use harness_builder::digest::Sha256;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::StoreError;
use crate::file;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordFile<'a> {
    sha256: Sha256,
    #[serde(borrow)]
    record: &'a RawValue,
}

/// A record that was read.
pub(super) struct Read<T> {
    pub(super) record: T,
    /// Whether it has a sum; older versions wrote none.
    pub(super) has_sum: bool,
}

/// Reads a record of at most `largest` bytes.
///
/// # Errors
/// Of the kind `InvalidData` or `UnexpectedEof` if the file is damaged.
pub(super) fn read<T: DeserializeOwned>(path: &Path, largest: u64) -> io::Result<Read<T>> {
    let bytes = file::read(path, largest)?;
    if bytes.len() as u64 > largest {
        return Err(damaged(format!("it is larger than {} MiB", largest >> 20)));
    }
    let file: RecordFile<'_> = match serde_json::from_slice(&bytes) {
        Ok(file) => file,
        Err(error) if bytes.starts_with(b"{\"sha256\"") => return Err(error.into()),
        Err(_) => return Ok(Read { record: serde_json::from_slice(&bytes)?, has_sum: false }),
    };
    if sum(file.record)? != file.sha256 {
        return Err(damaged("its SHA-256 sum is not that of its contents".to_owned()));
    }
    Ok(Read { record: serde_json::from_str(file.record.get())?, has_sum: true })
}

fn damaged(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

fn sum(record: &RawValue) -> io::Result<Sha256> {
    Sha256::of_reader(record.get().as_bytes())
}

/// Writes a record with its sum, atomically.
pub(super) fn write(path: &Path, record: &impl Serialize) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(StoreError::of("create the folder", folder))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(StoreError::of("create a file in", folder))?;
    write_to(&mut file, record).map_err(StoreError::of("write", path))?;
    file.persist(path).map_err(|error| error.error).map_err(StoreError::of("write", path))?;
    Ok(())
}

fn write_to(file: impl io::Write, record: &impl Serialize) -> io::Result<()> {
    let record = serde_json::value::to_raw_value(record)?;
    Ok(serde_json::to_writer(file, &RecordFile { sha256: sum(&record)?, record: &record })?)
}
