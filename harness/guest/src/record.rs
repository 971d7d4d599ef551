//! The record: one line of JSON for each event, in the run folder.

use std::{
    io::Write,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use harness_protocol::outcome::{Event, LONGEST_LINE, RECORD_FILE, RECORD_LOST, Record};
use rustix::fs::{CWD, Mode, OFlags};
use thiserror::Error;

use crate::error::{During, SysError};

/// Why the record cannot be kept. The guest stops then: nothing it does afterwards would be known.
#[derive(Debug, Error)]
#[error("{RECORD_LOST} {path}: {source}{}", advice(source))]
pub(crate) struct RecordError {
    path: PathBuf,
    source: SysError,
}

fn advice(error: &SysError) -> &'static str {
    if error.errno.raw() == libc::EEXIST { "; use a new run folder" } else { "" }
}

/// The most bytes buffered before they are written.
const BUFFERED: usize = 32 * 1024;

/// Writes records. Only [`Writer::sync`] makes added records safe.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    file: OwnedFd,
    durability: Durability,
    buffer: Vec<u8>,
    seq: u64,
}

impl Writer {
    /// Starts a new record in a folder; there must be none yet.
    pub(crate) fn create(folder: &Path) -> Result<Self, RecordError> {
        let path = folder.join(RECORD_FILE);
        match Durability::of(folder).and_then(|durability| Ok((open(&path, durability)?, durability))) {
            Ok((file, durability)) => Ok(Self { path, file, durability, buffer: Vec::with_capacity(BUFFERED), seq: 0 }),
            Err(source) => Err(RecordError { path, source }),
        }
    }

    /// Adds an event.
    pub(crate) fn add(&mut self, event: Event) -> Result<(), RecordError> {
        let line = line_of(&Record { seq: self.seq, event });
        self.seq += 1;
        self.buffer.extend(line);
        if self.buffer.len() > BUFFERED { self.write() } else { Ok(()) }
    }

    /// Makes everything added reach the host, so that it survives if this machine dies at once.
    pub(crate) fn sync(&mut self) -> Result<(), RecordError> {
        self.write()?;
        if self.durability == Durability::Through {
            return Ok(());
        }
        let synced = rustix::fs::fdatasync(&self.file).during(|| "fdatasync");
        synced.map_err(|source| RecordError { path: self.path.clone(), source })
    }

    fn write(&mut self) -> Result<(), RecordError> {
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            let written = rustix::io::write(&self.file, rest).during(|| "write");
            let written = written.map_err(|source| RecordError { path: self.path.clone(), source })?;
            rest = &rest[written..];
        }
        self.buffer.clear();
        Ok(())
    }
}

/// How written records survive the end of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// Each write is a message to the host, which a 9p file opened with `O_DIRECT` sends at once (`v9fs_fid_add_modes`,
    /// `fs/9p/fid.h`). The host need not write to its disk: the host does not die.
    Through,
    /// With `fdatasync(2)`.
    Synced,
}

impl Durability {
    fn of(folder: &Path) -> Result<Self, SysError> {
        let kind = rustix::fs::statfs(folder).during(|| "statfs of the run folder")?.f_type;
        Ok(if kind == V9FS_MAGIC { Self::Through } else { Self::Synced })
    }
}

/// From `include/uapi/linux/magic.h`.
const V9FS_MAGIC: rustix::fs::FsWord = 0x0102_1997;

fn open(path: &Path, durability: Durability) -> Result<OwnedFd, SysError> {
    let direct = if durability == Durability::Through { OFlags::DIRECT } else { OFlags::empty() };
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | direct;
    rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o644)).during(|| "open")
}

/// Formats a record as a line; a fault replaces one that would be too long.
fn line_of(record: &Record) -> Vec<u8> {
    let mut line = Vec::new();
    let written = serde_json::to_writer(&mut line, record).map_err(|error| error.to_string());
    let fault = match written {
        Ok(()) if line.len() < LONGEST_LINE => None,
        Ok(()) => {
            Some(format!("record {} would have {} bytes, and the limit is {LONGEST_LINE}", record.seq, line.len()))
        }
        Err(error) => Some(format!("cannot write record {}: {error}", record.seq)),
    };
    if let Some(message) = fault {
        line.clear();
        let fault = Record { seq: record.seq, event: Event::Fault { message } };
        serde_json::to_writer(&mut line, &fault).expect("a number and a short text can be written");
    }
    let _ = line.write_all(b"\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(message: String) -> Event {
        Event::Fault { message }
    }

    #[test]
    fn lines_count_from_zero_and_an_old_record_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(folder.path()).unwrap();
        writer.add(fault("one".to_owned())).unwrap();
        writer.add(fault("two".to_owned())).unwrap();
        writer.sync().unwrap();
        let text = std::fs::read_to_string(folder.path().join(RECORD_FILE)).unwrap();
        let records: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [0, 1]);
        let error = Writer::create(folder.path()).unwrap_err().to_string();
        let error = error.replace(&folder.path().display().to_string(), "[FOLDER]");
        insta::assert_snapshot!(error, @"cannot keep the record [FOLDER]/outcomes.jsonl: open: EEXIST; use a new run folder");
    }

    #[test]
    fn a_long_record_reaches_the_file_before_it_is_synced() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(folder.path()).unwrap();
        writer.add(fault("x".repeat(BUFFERED))).unwrap();
        assert!(std::fs::metadata(folder.path().join(RECORD_FILE)).unwrap().len() > BUFFERED as u64);
    }

    #[test]
    fn a_record_that_is_too_long_is_a_fault() {
        let line = line_of(&Record { seq: 7, event: fault("x".repeat(LONGEST_LINE)) });
        assert!(line.len() < 200 && line.ends_with(b"\n"));
        let Record { seq: 7, event: Event::Fault { message } } = serde_json::from_slice(&line).unwrap() else {
            panic!("{line:?}")
        };
        insta::assert_snapshot!(message, @"record 7 would have 393258 bytes, and the limit is 393216");
    }
}
