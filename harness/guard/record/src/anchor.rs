//! Heads of the chain that were written down elsewhere: in the kernel's log, on another machine.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, BufRead, Read as _},
};

use crate::chain::{Head, LONGEST_LINE};

/// What a line with an anchor has; what stands before it, such as the time in the kernel's log, does not matter.
const MARK: &str = "bpf-guard: anchor ";

/// That a line of a log has this chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Id of the boot.
    pub boot_id: String,
    /// Number of the file in the log.
    pub file: u64,
    /// Number of the line in the file, from 1.
    pub line: u64,
    /// Number of the record that came next.
    pub seq: u64,
    /// Chain of the line.
    pub chain: Head,
}

/// One line of text, without its end.
impl fmt::Display for Anchor {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { boot_id, file, line, seq, chain } = self;
        write!(to, "{MARK}boot={boot_id} file={file} line={line} seq={seq} chain={}", chain.to_hex())
    }
}

impl Anchor {
    /// Reads a line of text; `None` if it is about something else.
    pub fn of(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once(MARK)?;
        let mut words = rest.split_ascii_whitespace();
        let mut word = |key: &str| words.next()?.strip_prefix(key)?.strip_prefix('=');
        Some(Self {
            boot_id: word("boot")?.to_owned(),
            file: word("file")?.parse().ok()?,
            line: word("line")?.parse().ok()?,
            seq: word("seq")?.parse().ok()?,
            chain: Head::of(word("chain")?)?,
        })
    }
}

/// Anchors, which a log is held against.
#[derive(Clone, Debug, Default)]
pub struct Anchors {
    /// By file, boot and line. Where two are about one line, one of them is not kept, and is in `doubled`.
    all: BTreeMap<(u64, String, u64), Anchor>,
    doubled: Vec<Anchor>,
}

impl Anchors {
    /// Adds the anchors of some lines; those that are no anchors are passed over, so the kernel's log will do.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn read(&mut self, mut from: impl BufRead) -> io::Result<()> {
        let mut bytes = Vec::new();
        // What is longer is read in pieces; an anchor is short.
        while from.by_ref().take(LONGEST_LINE as u64).read_until(b'\n', &mut bytes)? > 0 {
            if let Some(anchor) = Anchor::of(&String::from_utf8_lossy(&bytes)) {
                self.add(anchor);
            }
            bytes.clear();
        }
        Ok(())
    }

    fn add(&mut self, anchor: Anchor) {
        let key = (anchor.file, anchor.boot_id.clone(), anchor.line);
        match self.all.get(&key) {
            Some(other) if *other != anchor => self.doubled.push(anchor),
            _ => drop(self.all.insert(key, anchor)),
        }
    }

    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.all.len() + self.doubled.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the anchor of a line.
    pub(crate) fn take(&mut self, file: u64, boot_id: &str, line: u64) -> Option<Anchor> {
        if self.all.is_empty() {
            return None;
        }
        self.all.remove(&(file, boot_id.to_owned(), line))
    }

    /// Takes those of lines after `line` in a file.
    pub(crate) fn take_after(&mut self, file: u64, boot_id: &str, line: u64) -> Vec<Anchor> {
        let mut later = self.all.split_off(&(file, boot_id.to_owned(), line + 1));
        let mut others = later.split_off(&(file, format!("{boot_id}\0"), 0));
        self.all.append(&mut others);
        later.into_values().collect()
    }

    /// Returns what is left of files from `file` on, and what contradicts another anchor.
    pub(crate) fn left(self, file: u64) -> Vec<Anchor> {
        let left = self.all.into_values().chain(self.doubled);
        left.filter(|anchor| anchor.file >= file).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_found_in_the_kernels_log() {
        let chain = Head::default();
        let anchor = Anchor { boot_id: "0f0f0f0f-1".into(), file: 2, line: 7, seq: 5, chain };
        let log = format!("<5>[  1.2] Linux\n<5>[ 12.5] {anchor}\nbpf-guard: anchor boot=x file=two\n");
        let mut anchors = Anchors::default();
        anchors.read(log.as_bytes()).unwrap();
        assert_eq!(anchors.len(), 1);
        assert_eq!(anchors.take(2, "0f0f0f0f-1", 7), Some(anchor));
    }

    #[test]
    fn two_that_contradict_each_other_cannot_both_be_met() {
        let anchor = Anchor { boot_id: "b".into(), file: 1, line: 7, seq: 5, chain: Head::default() };
        let text = format!("{anchor}\n{anchor}\n{}\n", Anchor { seq: 6, ..anchor.clone() });
        let mut anchors = Anchors::default();
        anchors.read(text.as_bytes()).unwrap();
        assert_eq!(anchors.take(1, "b", 7), Some(anchor));
        assert_eq!(anchors.left(1).len(), 1);
    }
}
