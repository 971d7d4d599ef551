//! Reads the guest's record while it grows.
//!
//! The guest may write anything into the folder of this file. Therefore links are not followed, only a regular file is
//! read, and it is opened by name only once: a guest cannot present a file of the host as its record.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use harness_protocol::outcome::{Event, LONGEST_LINE, RECORD_FILE, Record};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};
use thiserror::Error;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// Why a record is malformed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Damage {
    /// A line is not the JSON of a record.
    #[error("line {line} is not a record: {reason}; it begins with {beginning:?}")]
    Unreadable {
        /// The line's number, from 1.
        line: u64,
        /// The error.
        reason: String,
        /// The line's first characters.
        beginning: String,
    },
    /// A line is too long.
    #[error("line {line} is longer than {LONGEST_LINE} bytes")]
    TooLong {
        /// The line's number, from 1.
        line: u64,
    },
    /// A record is missing or duplicated.
    #[error("line {line} has sequence number {found} instead of {expected}")]
    OutOfSequence {
        /// The line's number, from 1.
        line: u64,
        /// The expected sequence number.
        expected: u64,
        /// The actual sequence number.
        found: u64,
    },
    /// The host cannot read the record.
    #[error("the record file cannot be read: {0}")]
    Io(String),
}

/// Splits bytes into records and checks their sequence.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    partial: Vec<u8>,
    lines: u64,
}

impl Decoder {
    /// Takes the next bytes. If the record is damaged, the events before the damage are still returned.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> (Vec<Event>, Result<(), Damage>) {
        let mut events = Vec::new();
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            self.partial.extend_from_slice(line);
            match self.line() {
                Ok(event) => events.push(event),
                Err(damage) => return (events, Err(damage)),
            }
        }
        self.partial.extend_from_slice(bytes);
        (events, self.check_length(self.lines + 1))
    }

    fn check_length(&self, line: u64) -> Result<(), Damage> {
        if self.partial.len() >= LONGEST_LINE { Err(Damage::TooLong { line }) } else { Ok(()) }
    }

    fn line(&mut self) -> Result<Event, Damage> {
        let (expected, line) = (self.lines, self.lines + 1);
        self.lines = line;
        self.check_length(line)?;
        let bytes = std::mem::take(&mut self.partial);
        let record: Record = serde_json::from_slice(&bytes).map_err(|error| Damage::Unreadable {
            line,
            reason: error.to_string(),
            beginning: String::from_utf8_lossy(&bytes).chars().take(80).collect(),
        })?;
        if record.seq != expected {
            return Err(Damage::OutOfSequence { line, expected, found: record.seq });
        }
        Ok(record.event)
    }
}

/// The record file of a VM.
#[derive(Debug)]
pub(super) struct RecordFile {
    path: PathBuf,
    file: Option<File>,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl RecordFile {
    /// Refers to the record that a guest may create in this shared folder.
    pub(super) fn of(share: &Path) -> Self {
        let buffer = vec![0; CHUNK];
        Self { path: share.join(RECORD_FILE), file: None, decoder: Decoder::default(), buffer }
    }

    /// Reads what was added since the last call, up to a limit; returns no events if nothing was added.
    pub(super) fn read(&mut self) -> (Vec<Event>, Result<(), Damage>) {
        match self.read_bytes() {
            Ok(count) => self.decoder.push(&self.buffer[..count]),
            Err(error) => (Vec::new(), Err(Damage::Io(error.to_string()))),
        }
    }

    fn read_bytes(&mut self) -> io::Result<usize> {
        if self.file.is_none() {
            self.file = open(&self.path)?;
        }
        match self.file.as_mut().map(|file| file.read(&mut self.buffer)) {
            None => Ok(0),
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Some(result) => result,
        }
    }
}

/// Opens a regular file; `None` if it does not exist yet.
fn open(path: &Path) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(io::Error::other("it is a link")),
        Err(error) => return Err(error.into()),
    };
    if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(io::Error::other("it is not a regular file")) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn line(seq: u64) -> String {
        serde_json::to_string(&Record { seq, event: Event::End { scenarios: 1 } }).unwrap() + "\n"
    }

    #[test]
    fn a_line_may_arrive_in_pieces() {
        let text = line(0) + &line(1);
        let mut decoder = Decoder::default();
        let events: Vec<_> = text.as_bytes().chunks(7).flat_map(|chunk| decoder.push(chunk).0).collect();
        assert_eq!(events, [Event::End { scenarios: 1 }, Event::End { scenarios: 1 }]);
    }

    #[test]
    fn an_unfinished_line_is_not_an_event_yet() {
        let (events, result) = Decoder::default().push(line(0).trim_end().as_bytes());
        assert_eq!((events, result), (vec![], Ok(())));
    }

    #[test]
    fn gaps_and_repetitions_are_damage_and_earlier_events_are_kept() {
        for (second, found) in [(line(2), 2), (line(0), 0)] {
            let (events, result) = Decoder::default().push((line(0) + &second).as_bytes());
            assert_eq!(events.len(), 1);
            assert_eq!(result, Err(Damage::OutOfSequence { line: 2, expected: 1, found }));
        }
    }

    #[test]
    fn anything_but_a_record_is_damage() {
        for text in ["\n", "{}\n", "null\n", "\0\u{1}\n", "{\"seq\":0,\"event\":\"boom\"}\n", "{\"seq\":-1}\n"] {
            let (events, result) = Decoder::default().push(text.as_bytes());
            assert!(matches!((events.len(), result), (0, Err(Damage::Unreadable { line: 1, .. }))), "{text:?}");
        }
        let unknown = line(0).replace("}}", "},\"more\":1}");
        assert!(Decoder::default().push(unknown.as_bytes()).1.is_err(), "{unknown}");
    }

    #[test]
    fn a_too_long_line_is_damage_before_it_ends() {
        let mut decoder = Decoder::default();
        let long = vec![b'x'; LONGEST_LINE - 1];
        assert_eq!(decoder.push(&long).1, Ok(()));
        assert_eq!(decoder.push(b"x").1, Err(Damage::TooLong { line: 1 }));
        let ended = [long, b"xx\n".to_vec()].concat();
        assert_eq!(Decoder::default().push(&ended).1, Err(Damage::TooLong { line: 1 }));
    }

    fn begun(share: &Path) -> (RecordFile, File) {
        let mut record = RecordFile::of(share);
        assert_eq!(record.read(), (vec![], Ok(())), "a record that does not exist yet is empty");
        let guest = File::options().append(true).create_new(true).open(share.join(RECORD_FILE)).unwrap();
        (record, guest)
    }

    #[test]
    fn appended_records_are_read_once() {
        let share = tempfile::tempdir().unwrap();
        let (mut record, mut guest) = begun(share.path());
        guest.write_all(line(0).as_bytes()).unwrap();
        assert_eq!(record.read().0.len(), 1);
        assert_eq!(record.read(), (vec![], Ok(())));
        guest.write_all(line(1).as_bytes()).unwrap();
        assert_eq!(record.read().0.len(), 1);
    }

    #[test]
    fn a_link_instead_of_the_record_is_not_followed() {
        let share = tempfile::tempdir().unwrap();
        let secret = share.path().join("secret");
        std::fs::write(&secret, line(0)).unwrap();
        std::os::unix::fs::symlink(&secret, share.path().join(RECORD_FILE)).unwrap();
        assert_eq!(RecordFile::of(share.path()).read(), (vec![], Err(Damage::Io("it is a link".to_owned()))));
    }

    #[test]
    fn an_opened_record_cannot_be_replaced() {
        let share = tempfile::tempdir().unwrap();
        let (mut record, mut guest) = begun(share.path());
        guest.write_all(line(0).as_bytes()).unwrap();
        assert_eq!(record.read().0.len(), 1);
        std::fs::remove_file(share.path().join(RECORD_FILE)).unwrap();
        std::fs::write(share.path().join(RECORD_FILE), line(0) + &line(1)).unwrap();
        assert_eq!(record.read(), (vec![], Ok(())));
    }

    #[test]
    fn a_fifo_is_damage_and_does_not_block() {
        let share = tempfile::tempdir().unwrap();
        let path = share.path().join(RECORD_FILE);
        rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let damage = Damage::Io("it is not a regular file".to_owned());
        assert_eq!(RecordFile::of(share.path()).read(), (vec![], Err(damage)));
    }
}
