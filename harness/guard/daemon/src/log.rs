//! The log: files of lines, each bound to those before it.
//!
//! A line is in the log when all of its bytes are in the file; what was written of one that did not fit is cut off again.

mod file;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use guard_record::{
    Anchor, Anchors, Counters, End, EndReason, GapReason, KernelCounters, Logged, Previous, Start, State, Time,
    VERSION, Verified, Verifier, Wrong,
};

use file::Lines;
pub(crate) use file::WriteTo;

/// Where the log is, and how much there may be of it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The file that is written; those before it have its name and `.1`, `.2` and so on.
    pub(crate) path: PathBuf,
    /// Bytes after which the next file begins.
    pub(crate) rotate: u64,
    /// The most files, this one included; older ones are removed. 0: all are kept.
    pub(crate) keep: u64,
}

impl Place {
    /// Returns the path of an earlier file.
    fn numbered(&self, number: u64) -> PathBuf {
        self.with(&number.to_string())
    }

    /// Returns the path at which the next file is made ready.
    fn next(&self) -> PathBuf {
        self.with("next")
    }

    fn with(&self, extension: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(extension);
        name.into()
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// Returns the numbers of the earlier files, in order.
    fn numbers(&self) -> io::Result<Vec<u64>> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = |entry: fs::DirEntry| {
            entry.file_name().to_string_lossy().strip_prefix(&name)?.strip_prefix('.')?.parse::<u64>().ok()
        };
        let mut numbers: Vec<u64> = fs::read_dir(self.folder())?.flatten().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Makes renamed files last.
    fn sync_folder(&self) -> io::Result<()> {
        File::open(self.folder())?.sync_all()
    }

    /// Removes files that are too many.
    fn prune(&self) -> io::Result<()> {
        let numbers = self.numbers()?;
        let most = usize::try_from(self.keep.saturating_sub(1)).unwrap_or(usize::MAX);
        if self.keep == 0 || numbers.len() <= most {
            return Ok(());
        }
        numbers[..numbers.len() - most].iter().try_for_each(|number| fs::remove_file(self.numbered(*number)))
    }
}

/// Whose records are written.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Id of the boot.
    pub(crate) boot_id: String,
    /// Release of the kernel.
    pub(crate) kernel: String,
    /// Number of the guard within the boot.
    pub(crate) guard: u64,
}

/// The log that is being written.
pub(crate) struct Log {
    place: Place,
    lines: Lines,
    start: Start,
    sums: Counters,
    /// Anchors that are due.
    anchors: Vec<Anchor>,
    /// Locked for as long as the log is written.
    _lock: File,
}

/// A log that was opened.
pub(crate) struct Opened {
    pub(crate) log: Log,
    /// Why the next records may be missing.
    pub(crate) begin: GapReason,
    /// What there is to say about the file before.
    pub(crate) notes: Vec<String>,
}

/// The file before.
struct Before {
    path: PathBuf,
    state: State,
    verified: Verified,
}

impl Log {
    /// Begins a file. One that is there is kept under its number, and continued by the chain.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or written, if what is there is no log, or if another process writes it.
    pub(crate) fn open(place: Place, origin: Origin, time: Time, write: WriteTo) -> Result<Opened> {
        let shown = place.path.display();
        let lock = File::create(place.with("lock")).with_context(|| format!("cannot make {shown}.lock"))?;
        if lock.try_lock().is_err() {
            bail!("another process writes {shown}, or its lock cannot be had: end that one, or give another --log");
        }
        let _ = fs::remove_file(place.next());
        let before = before(&place)?;
        let mut notes = Vec::new();
        if let Some(before) = &before {
            notes.extend(cut_torn_line(before)?);
            let numbered = place.numbered(before.state.file);
            if before.path != numbered {
                if numbered.exists() {
                    bail!(
                        "{} is there, and {shown} is file {0} of the log, too: move one of them away",
                        before.state.file
                    );
                }
                fs::rename(&before.path, &numbered).with_context(|| format!("cannot rename {shown}"))?;
            }
        }
        let continued = before.as_ref().map(|before| &before.state);
        let same = continued.filter(|state| state.boot_id == origin.boot_id && state.guard == origin.guard);
        let start = Start {
            version: VERSION,
            program: concat!("bpf-guard ", env!("CARGO_PKG_VERSION")).to_owned(),
            kernel: origin.kernel,
            boot_id: origin.boot_id,
            guard: origin.guard,
            file: continued.map_or(1, |state| state.file + 1),
            time,
            seq: same.map_or(0, |state| state.seq),
            read: same.map_or(0, |state| state.read),
            lost: same.map_or(0, |state| state.lost),
            previous: continued.map(|state| Previous { chain: state.head.to_hex(), closed: state.closed }),
        };
        let lines = Lines::begin(&place.path, &start, write).with_context(|| format!("cannot begin {shown}"))?;
        place.sync_folder().with_context(|| format!("cannot write the folder of {shown}"))?;
        let sums = Counters { seq: start.seq, read: start.read, lost: start.lost, kernel: None };
        let begin = if same.is_some() { GapReason::Restart } else { GapReason::Begin };
        let mut log = Self { place, lines, start, sums, anchors: Vec::new(), _lock: lock };
        log.anchors.push(log.anchor());
        Ok(Opened { log, begin, notes })
    }

    /// Writes lines, and removes those that are in the log. Begins the next file where one is full.
    ///
    /// # Errors
    ///
    /// Those of writing, such as a full disk; lines that are left can be written later.
    pub(crate) fn append(&mut self, lines: &mut VecDeque<Logged>, now: &Time) -> io::Result<()> {
        while !lines.is_empty() {
            if self.lines.bytes() >= self.place.rotate {
                self.rotate(now)?;
            }
            let (written, result) = self.lines.append(lines);
            lines.drain(..written).for_each(|logged| count(&mut self.sums, &logged));
            result?;
        }
        Ok(())
    }

    /// Makes what was written last.
    ///
    /// # Errors
    ///
    /// Those of the disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.lines.sync()
    }

    /// Writes the closing line.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub(crate) fn end(&mut self, time: Time, kernel: Option<KernelCounters>) -> io::Result<()> {
        let end = self.closing(EndReason::Stopped, time, kernel);
        self.lines.append(&VecDeque::from([end])).1?;
        self.anchors.push(self.anchor());
        self.sync()
    }

    /// Returns what adds up so far.
    pub(crate) fn counters(&self, kernel: Option<KernelCounters>) -> Counters {
        Counters { kernel, ..self.sums.clone() }
    }

    /// Returns the chain of the last line.
    pub(crate) fn anchor(&self) -> Anchor {
        let Start { boot_id, file, .. } = &self.start;
        let (line, chain) = (self.lines.number(), self.lines.head());
        Anchor { boot_id: boot_id.clone(), file: *file, line, seq: self.sums.seq, chain }
    }

    /// Returns the anchors of ends and beginnings of files that nobody has taken yet.
    pub(crate) fn take_anchors(&mut self) -> Vec<Anchor> {
        std::mem::take(&mut self.anchors)
    }

    /// Returns the size of the file that is written.
    pub(crate) fn bytes(&self) -> u64 {
        self.lines.bytes()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.place.path
    }

    fn closing(&self, why: EndReason, time: Time, kernel: Option<KernelCounters>) -> Logged {
        Logged::End(End { why, time, lines: self.lines.number(), counters: self.counters(kernel) })
    }

    /// Ends the file and begins the next one. That one is made ready first, so that a full disk leaves all as it was.
    fn rotate(&mut self, now: &Time) -> io::Result<()> {
        let end = self.closing(EndReason::Rotated, now.clone(), None);
        let head = self.lines.after(&end);
        let numbered = self.place.numbered(self.start.file);
        if numbered.exists() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                format!("{} is there already", numbered.display()),
            ));
        }
        let Counters { seq, read, lost, .. } = self.sums;
        let previous = Some(Previous { chain: head.to_hex(), closed: true });
        let start =
            Start { file: self.start.file + 1, time: now.clone(), seq, read, lost, previous, ..self.start.clone() };
        let path = self.place.next();
        let next = self.lines.next(&path, &start).and_then(|next| {
            self.lines.append(&VecDeque::from([end])).1?;
            Ok(next)
        });
        let next = next.inspect_err(|_| drop(fs::remove_file(&path)))?;
        self.lines.sync()?;
        self.anchors.push(self.anchor());
        fs::rename(&self.place.path, numbered)?;
        fs::rename(&path, &self.place.path)?;
        self.place.sync_folder()?;
        self.lines.replace(next);
        self.start = start;
        self.anchors.push(self.anchor());
        self.place.prune()
    }
}

/// Takes a line into account, as the check of a log does.
fn count(sums: &mut Counters, logged: &Logged) {
    match logged {
        Logged::Record(line) if line.seq >= sums.seq => {
            sums.seq = line.seq + 1;
            sums.read += 1;
        }
        // It came after all.
        Logged::Record(_) => {
            sums.read += 1;
            sums.lost = sums.lost.saturating_sub(1);
        }
        Logged::Gap(gap) => {
            sums.seq = gap.first + gap.count;
            sums.lost += gap.count;
        }
        Logged::Start(_) | Logged::Counters(_) | Logged::End(_) => {}
    }
}

/// Reads the last file of the log.
fn before(place: &Place) -> Result<Option<Before>> {
    let is_there = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.len() > 0);
    let folder = || format!("cannot list {}", place.folder().display());
    let last = place.numbers().with_context(folder)?.last().map(|number| place.numbered(*number));
    let Some(path) = [place.path.clone()].into_iter().chain(last).find(is_there) else { return Ok(None) };
    let shown = path.display().to_string();
    let mut verifier = Verifier::new(Anchors::default());
    let file = File::open(&path).with_context(|| format!("cannot open {shown}"))?;
    verifier.file(&shown, BufReader::new(file)).with_context(|| format!("cannot read {shown}"))?;
    let verified = verifier.finish(true);
    let Some(state) = verified.state.clone() else {
        bail!("{shown} is no log of bpf-guard: move it away, or give another --log");
    };
    Ok(Some(Before { path, state, verified }))
}

/// Cuts off a line that was not finished, and returns what there is to say.
fn cut_torn_line(before: &Before) -> Result<Option<String>> {
    let shown = before.path.display();
    let findings = &before.verified.findings;
    match &findings[..] {
        [] => Ok((!before.state.closed)
            .then(|| format!("{shown} has no closing line: the daemon before was killed, or could not write it"))),
        [torn] if torn.wrong == Wrong::Torn => {
            let file =
                File::options().write(true).open(&before.path).with_context(|| format!("cannot open {shown}"))?;
            file.set_len(before.state.bytes).with_context(|| format!("cannot cut {shown}"))?;
            Ok(Some(format!("{torn}; the rest of that line was cut off")))
        }
        [first, ..] => Ok(Some(format!("the log so far is not whole: {first}"))),
    }
}
