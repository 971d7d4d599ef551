//! A file of lines.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    rc::Rc,
};

use guard_record::{Chain, Head, Logged, Start};

/// How bytes get into a file; tests have disks that are full.
pub(crate) type WriteTo = Rc<dyn Fn(&mut File, &[u8]) -> io::Result<usize>>;

/// The most bytes that are written at once, but for one line.
const AT_ONCE: usize = 256 << 10;

/// A file that is written to its end.
pub(super) struct Lines {
    file: File,
    write: WriteTo,
    chain: Chain,
    number: u64,
    bytes: u64,
    is_synced: bool,
    /// There may be a part of a line at the end.
    is_torn: bool,
}

impl Lines {
    /// Makes a file with its first line.
    pub(super) fn begin(path: &Path, start: &Start, write: WriteTo) -> io::Result<Self> {
        // Readable by root only: names of programs and paths are in it.
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        file.set_len(0)?;
        let (chain, text) = Chain::begin(start);
        let mut lines = Self { file, write, chain, number: 1, bytes: 0, is_synced: false, is_torn: false };
        let (written, result) = lines.write(text.as_bytes());
        if written < text.len() {
            lines.file.set_len(0)?;
        }
        result?;
        lines.bytes = text.len() as u64;
        lines.sync()?;
        Ok(lines)
    }

    /// Makes another file.
    pub(super) fn next(&self, path: &Path, start: &Start) -> io::Result<Self> {
        Self::begin(path, start, Rc::clone(&self.write))
    }

    /// Goes on with another file.
    pub(super) fn replace(&mut self, next: Self) {
        *self = next;
    }

    /// Writes the first of these lines, at least one. Returns how many are in the file.
    pub(super) fn append(&mut self, lines: &VecDeque<Logged>) -> (usize, io::Result<()>) {
        if let Err(error) = self.cut() {
            return (0, Err(error));
        }
        let mut text = Vec::with_capacity(AT_ONCE);
        // The chain, and the length of the text, after each line.
        let mut after = Vec::new();
        let mut chain = self.chain;
        for logged in lines {
            chain = chain.append(logged, &mut text);
            after.push((chain, text.len()));
            if text.len() >= AT_ONCE {
                break;
            }
        }
        let (written, result) = self.write(&text);
        let whole = after.iter().take_while(|(_, length)| *length <= written).count();
        if let Some((chain, length)) = whole.checked_sub(1).map(|last| after.swap_remove(last)) {
            self.chain = chain;
            self.bytes += length as u64;
            self.number += whole as u64;
        }
        self.is_synced &= written == 0;
        self.is_torn = written < text.len();
        let is_cut = self.cut();
        (whole, result.and(is_cut))
    }

    /// Cuts off a part of a line, now or before the next one is written.
    fn cut(&mut self) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.bytes)?;
            self.is_torn = false;
        }
        Ok(())
    }

    /// Writes as much as goes in.
    fn write(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < bytes.len() {
            match (self.write)(&mut self.file, &bytes[written..]) {
                Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        if !self.is_synced {
            self.file.sync_data()?;
            self.is_synced = true;
        }
        Ok(())
    }

    /// Returns the chain after a line that is not written yet.
    pub(super) fn after(&self, logged: &Logged) -> Head {
        self.chain.then(logged).0.head()
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn head(&self) -> Head {
        self.chain.head()
    }
}
