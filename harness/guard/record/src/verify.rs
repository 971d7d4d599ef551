//! Whether a log is whole, and if not, at which line.
//!
//! Lines are read once, in order, and only some before the current one are remembered, so time is linear and memory bounded.
//! Whoever can write the file can compute a new chain for all lines after an edited one; anchors, which are kept elsewhere, show that.

mod intervals;
#[cfg(test)]
mod tests;
mod wrong;

use std::{
    collections::{BTreeMap, VecDeque},
    io::{self, BufRead, Read as _},
};

use crate::{
    anchor::Anchors,
    chain::{Counters, GapReason, Head, LONGEST_LINE, Logged, Parts, Start, VERSION, boot_of},
};
use intervals::Intervals;
pub use wrong::{Finding, Place, Wrong};

/// How many lines before a wrong one are searched for its true place.
const REMEMBERED: usize = 1024;

/// The most findings; after these, the rest of the log is not read.
const MOST_FINDINGS: usize = 100;

/// What a log says, and what is wrong with it.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// What is wrong, in the order of lines.
    pub findings: Vec<Finding>,
    /// Whether there may be more, as reading ended early.
    pub more: bool,
    /// Files that were read.
    pub files: u64,
    /// Lines that were read.
    pub lines: u64,
    /// Records among them.
    pub records: u64,
    /// Records that the log says are missing, by reason.
    pub missing: BTreeMap<GapReason, u64>,
    /// Files without a closing line that another one follows: their daemon was killed, or the machine stopped.
    pub killed: u64,
    /// Anchors that were met.
    pub anchors: u64,
    /// Where the log ends; `None` if no file begins well.
    pub state: Option<State>,
}

/// Where a log ends: what its next file must continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Id of the boot.
    pub boot_id: String,
    /// Number of the guard within the boot.
    pub guard: u64,
    /// Number of the file.
    pub file: u64,
    /// Lines of that file.
    pub lines: u64,
    /// Where its last whole line ends, in bytes.
    pub bytes: u64,
    /// Chain of its last line.
    pub head: Head,
    /// Whether that is a closing line.
    pub closed: bool,
    /// Number of the record that comes next.
    pub seq: u64,
    /// Records of this guard.
    pub read: u64,
    /// Records of this guard that the log says are missing.
    pub lost: u64,
}

/// Reads a log. Files are given one after the other, in order.
#[derive(Debug, Default)]
pub struct Verifier {
    so_far: Verified,
    anchors: Anchors,
    /// Number of the first file.
    first: Option<u64>,
    place: Option<Place>,
    /// What the next line may continue: the chain that the line before has, and the one it should have. Empty: anything.
    heads: Vec<Head>,
    remembered: VecDeque<Remembered>,
    /// Heads of the files before.
    ends: Vec<(Head, String)>,
    /// Records that lines say are missing.
    gaps: Intervals,
    /// Records that are missing though no line says so.
    cut: Intervals,
    /// Set by a line before which records seem to be cut.
    suspect: Option<Suspect>,
    /// The next number of a record is not known, as the line before is not what was written.
    is_number_unknown: bool,
    /// Counters cannot be checked: something is wrong with this guard's records.
    is_count_unknown: bool,
}

/// A line before which records seem to be cut. If the next one has the number that was due after it, none are: its own
/// number was edited.
#[derive(Debug)]
struct Suspect {
    /// Index of the finding.
    finding: usize,
    /// The number that was due.
    expected: u64,
}

#[derive(Debug)]
struct Remembered {
    head: Head,
    file: String,
    line: u64,
}

/// Reads a log and holds it against anchors. `may_be_open`: the last file may lack its closing line, as while the daemon runs.
///
/// # Errors
///
/// Those of reading, with the file's name.
pub fn verify<R: BufRead>(
    files: impl IntoIterator<Item = (String, R)>,
    anchors: Anchors,
    may_be_open: bool,
) -> io::Result<Verified> {
    verify_each(files, anchors, may_be_open, |_| {})
}

/// As [`verify()`], and hands over what each line says. It is to be trusted only if nothing is found in the end.
///
/// # Errors
///
/// Those of reading, with the file's name.
pub fn verify_each<R: BufRead>(
    files: impl IntoIterator<Item = (String, R)>,
    anchors: Anchors,
    may_be_open: bool,
    mut each: impl FnMut(&Logged),
) -> io::Result<Verified> {
    let mut verifier = Verifier::new(anchors);
    for (name, reader) in files {
        verifier
            .file_each(&name, reader, &mut each)
            .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
    }
    Ok(verifier.finish(may_be_open))
}

impl Verifier {
    /// Begins.
    pub fn new(anchors: Anchors) -> Self {
        Self { anchors, ..Self::default() }
    }

    /// Reads the next file.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub fn file(&mut self, name: &str, reader: impl BufRead) -> io::Result<()> {
        self.file_each(name, reader, &mut |_| {})
    }

    fn file_each(&mut self, name: &str, mut reader: impl BufRead, each: &mut impl FnMut(&Logged)) -> io::Result<()> {
        if self.is_full() {
            return Ok(());
        }
        self.so_far.files += 1;
        let mut place = Place { file: name.to_owned(), line: 0 };
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let most = LONGEST_LINE as u64 + 1;
            if reader.by_ref().take(most).read_until(b'\n', &mut bytes)? == 0 || self.is_full() {
                break;
            }
            place.line += 1;
            self.so_far.lines += 1;
            self.place = Some(place.clone());
            let size = bytes.len() as u64;
            if bytes.pop_if(|last| *last == b'\n').is_some() {
                self.line(&bytes, &place).iter().for_each(&mut *each);
                self.ended(&place, size);
            } else if size == most {
                self.wrong(&place, Wrong::TooLong);
                self.lose_track();
                reader.skip_until(b'\n')?;
            } else {
                self.wrong(&place, Wrong::Torn);
            }
        }
        self.file_ended(&place);
        Ok(())
    }

    /// Ends, and returns what was found.
    pub fn finish(mut self, may_be_open: bool) -> Verified {
        let place = self.place.clone();
        if let (Some(state), Some(place), false) = (&self.so_far.state, &place, may_be_open)
            && !state.closed
            && !self.is_full()
        {
            let wrong = Wrong::NotClosed { seq: state.seq.checked_sub(1) };
            self.wrong(place, wrong);
        }
        if let (Some(first), false) = (self.first, self.is_full()) {
            let place = Place { line: 0, ..place.unwrap_or(Place { file: String::new(), line: 0 }) };
            for anchor in std::mem::take(&mut self.anchors).left(first) {
                self.wrong(&place, Wrong::AnchoredElsewhere(anchor));
            }
        }
        self.so_far.more = self.is_full();
        self.settle();
        self.so_far
    }

    /// Records that seemed to be cut, and came after all, were not: lines are in the wrong order.
    fn settle(&mut self) {
        let moved = |finding: &Finding| if let Wrong::Moved { seq, .. } = finding.wrong { seq } else { None };
        let moved: Vec<u64> = self.so_far.findings.iter().filter_map(moved).collect();
        self.so_far.findings.retain_mut(|finding| {
            let (Wrong::Cut { first, last } | Wrong::Missing { first, last }) = finding.wrong else { return true };
            if self.cut.meets(first, last) {
                return true;
            }
            finding.wrong = Wrong::Early { first, last };
            !moved.iter().any(|seq| (first..=last).contains(seq))
        });
    }

    fn is_full(&self) -> bool {
        self.so_far.findings.len() >= MOST_FINDINGS
    }

    fn wrong(&mut self, place: &Place, wrong: Wrong) {
        self.is_count_unknown = true;
        if !self.is_full() {
            self.so_far.findings.push(Finding { place: place.clone(), wrong });
        }
    }

    /// After a line that is not what was written: the next one may continue anything, with any number.
    fn lose_track(&mut self) {
        self.heads.clear();
        self.is_number_unknown = true;
    }

    /// Returns what the line says, if it can be read.
    fn line(&mut self, bytes: &[u8], place: &Place) -> Option<Logged> {
        let parts = match std::str::from_utf8(bytes) {
            Ok(text) => Parts::of(text).ok_or_else(|| "it does not begin with a chain and a boot".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let parts = match parts {
            Ok(parts) => parts,
            Err(why) => {
                self.wrong(place, Wrong::Unreadable { why });
                self.lose_track();
                return None;
            }
        };
        let logged = parts.logged();
        if place.line == 1 {
            self.begin(logged.as_ref().ok(), place);
        }
        let is_chained =
            self.heads.is_empty() || self.heads.iter().any(|head| head.link(parts.body.as_bytes()) == parts.chain);
        match (&logged, is_chained) {
            (Ok(logged), true) => self.chained(logged, &parts, place),
            (Err(error), true) => {
                self.wrong(place, Wrong::Unreadable { why: error.to_string() });
                self.is_number_unknown = true;
            }
            (logged, false) if self.unchained(logged.as_ref().ok(), &parts, place) => {
                self.heads.clear();
                return None;
            }
            (_, false) => {}
        }
        self.remember(&parts, is_chained, place);
        logged.ok()
    }

    /// Makes the line one that the next may continue.
    fn remember(&mut self, parts: &Parts<'_>, is_chained: bool, place: &Place) {
        let computed = self.heads.first().map(|head| head.link(parts.body.as_bytes()));
        self.heads = vec![parts.chain];
        self.heads.extend(computed.filter(|_| !is_chained));
        if self.remembered.len() == REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back(Remembered { head: parts.chain, file: place.file.clone(), line: place.line });
        if let Some(state) = &mut self.so_far.state {
            state.head = parts.chain;
        }
    }

    /// The first line of a file.
    fn begin(&mut self, logged: Option<&Logged>, place: &Place) {
        let Some(Logged::Start(start)) = logged else {
            self.wrong(place, Wrong::NoStart);
            if self.so_far.state.is_none() {
                self.lose_track();
            }
            return;
        };
        if start.version != VERSION {
            self.wrong(place, Wrong::Version(start.version));
        }
        let previous = start.previous.as_ref().map(|previous| Head::of(&previous.chain).unwrap_or_default());
        self.heads = vec![previous.unwrap_or_default()];
        self.check_order(start, previous, place);
        self.first.get_or_insert(start.file);
        let before =
            self.so_far.state.take().filter(|state| state.boot_id == start.boot_id && state.guard == start.guard);
        if before.is_none() {
            self.gaps.clear();
            self.is_number_unknown = false;
            self.is_count_unknown = false;
        }
        let says = (start.seq, start.read, start.lost);
        let known = match &before {
            Some(state) => (state.seq, state.read, state.lost),
            None if self.so_far.files > 1 => (0, 0, 0),
            None => says,
        };
        let (seq, read, lost) = if says == known || self.is_count_unknown { says } else { known };
        if (seq, read, lost) != says || read.checked_add(lost) != Some(seq) {
            let text = |(seq, read, lost)| format!("{read} read and {lost} lost before record {seq}");
            self.wrong(place, Wrong::Counters { said: text(says), found: text(known) });
        }
        self.so_far.state = Some(State {
            boot_id: start.boot_id.clone(),
            guard: start.guard,
            file: start.file,
            lines: 0,
            bytes: 0,
            head: Head::default(),
            closed: false,
            seq,
            read,
            lost,
        });
    }

    /// Whether a file follows the one before it.
    fn check_order(&mut self, start: &Start, previous: Option<Head>, place: &Place) {
        let Some(state) = &self.so_far.state else { return };
        let before = self.ends.last().map(|(_, name)| name.clone()).unwrap_or_default();
        let other = previous.and_then(|head| self.ends.iter().find(|(end, _)| *end == head));
        let (number, expected) = (start.file, state.file.saturating_add(1));
        let is_killed = !state.closed;
        let why = match previous {
            None => Some("it begins a log".to_owned()),
            Some(head) if head != state.head => Some(match other {
                Some((_, name)) => format!("it continues {name}"),
                None => "it continues another file, or lines at that file's end were cut or edited".to_owned(),
            }),
            Some(_) if number != expected => Some(format!("it is file {number} instead of {expected}")),
            Some(_) => None,
        };
        match why {
            Some(why) => self.wrong(place, Wrong::Order { before, why }),
            None if is_killed => self.so_far.killed += 1,
            None => {}
        }
    }

    /// A line whose chain fits.
    fn chained(&mut self, logged: &Logged, parts: &Parts<'_>, place: &Place) {
        let Some(state) = &self.so_far.state else { return };
        let boot = boot_of(&state.boot_id);
        if boot != parts.boot {
            let wrong = Wrong::OtherBoot { seq: seq_of(logged), found: parts.boot.to_owned(), boot };
            return self.wrong(place, wrong);
        }
        if state.closed {
            self.wrong(place, Wrong::AfterEnd);
        }
        self.clear_suspect(logged);
        self.count(logged, place);
    }

    /// Whether the line before was edited rather than cut off from those before it.
    fn clear_suspect(&mut self, logged: &Logged) {
        let Some(Suspect { finding, expected }) = self.suspect.take() else { return };
        let Some(finding) = self.so_far.findings.get_mut(finding) else { return };
        let Wrong::Cut { first, last } = finding.wrong else { return };
        if next_of(logged) == expected.checked_add(1) {
            finding.wrong = Wrong::Edited { seq: last.checked_add(1) };
            self.cut.forget(first);
            self.so_far.state.as_mut().into_iter().for_each(|state| state.seq = expected + 1);
        }
    }

    /// A line whose chain does not fit. Returns whether it is foreign, so that the next one does not continue it.
    fn unchained(&mut self, logged: Option<&Logged>, parts: &Parts<'_>, place: &Place) -> bool {
        self.suspect = None;
        let state = self.so_far.state.as_ref();
        let seq = logged.and_then(seq_of);
        let expected = state.filter(|_| !self.is_number_unknown).map(|state| state.seq);
        let boot = state.map(|state| boot_of(&state.boot_id)).filter(|boot| boot != parts.boot);
        let known = self.remembered.iter().find(|known| known.head.link(parts.body.as_bytes()) == parts.chain);
        let twin = self.remembered.iter().find(|known| known.head == parts.chain);
        let wrong = match (boot, known, twin) {
            (Some(boot), ..) => Some(Wrong::OtherBoot { seq, found: parts.boot.to_owned(), boot }),
            (None, Some(_), Some(twin)) => Some(Wrong::Twice { seq, first: twin.line, file: twin.file.clone() }),
            (None, Some(known), None) if seq.is_none() || seq == expected || expected.is_none() => {
                let is_told = self.so_far.findings.iter().any(|found| {
                    found.place.file == place.file && (found.place.line > known.line || known.file != place.file)
                });
                (!is_told).then_some(Wrong::Inserted { after: known.line })
            }
            (None, Some(known), None) => Some(Wrong::Moved { seq, after: known.line, file: known.file.clone() }),
            (None, None, _) => match (expected, logged.and_then(next_of)) {
                (Some(expected), Some(next)) if next > expected => Some(Wrong::Cut { first: expected, last: next - 1 }),
                _ => Some(Wrong::Edited { seq }),
            },
        };
        let is_number_good =
            !matches!(wrong, Some(Wrong::Edited { .. } | Wrong::OtherBoot { .. } | Wrong::Twice { .. }));
        if let Some(Wrong::Cut { first, last }) = wrong {
            let suspect = Suspect { finding: self.so_far.findings.len(), expected: first };
            self.suspect = seq.map(|_| suspect);
            self.cut.push(first, last);
            self.so_far.state.as_mut().expect("it has a number").seq = last + 1;
        }
        let is_foreign = matches!(wrong, Some(Wrong::OtherBoot { .. }));
        if matches!(wrong, Some(Wrong::Edited { .. })) || is_foreign && seq == expected {
            self.is_number_unknown = true;
        }
        if let Some(wrong) = wrong {
            self.wrong(place, wrong);
        }
        if let (Some(logged), true) = (logged, is_number_good) {
            self.count(logged, place);
        }
        is_foreign
    }

    /// Takes what a line says into account.
    fn count(&mut self, logged: &Logged, place: &Place) {
        match logged {
            Logged::Start(_) if place.line == 1 => {}
            Logged::Start(_) => self.wrong(place, Wrong::StartWithin),
            Logged::Record(line) => self.record(line.seq, place),
            Logged::Gap(gap) => self.gap(gap.first, gap.count, gap.why, place),
            Logged::Counters(counters) => self.counters(counters, place),
            Logged::End(end) => {
                self.counters(&end.counters, place);
                let lines = place.line - 1;
                if end.lines != lines && !self.is_count_unknown {
                    let [said, found] = [end.lines, lines].map(|lines| format!("{lines} lines"));
                    self.wrong(place, Wrong::Counters { said, found });
                }
                self.so_far.state.as_mut().into_iter().for_each(|state| state.closed = true);
            }
        }
    }

    fn record(&mut self, seq: u64, place: &Place) {
        self.so_far.records += 1;
        let Some(expected) = self.arrive(seq, place) else { return };
        let Some(state) = &mut self.so_far.state else { return };
        if seq >= expected {
            state.seq = seq.saturating_add(1);
            state.read = state.read.saturating_add(1);
        } else if self.gaps.take(seq) {
            // It came after all, later than the daemon waits.
            state.read = state.read.saturating_add(1);
            state.lost = state.lost.saturating_sub(1);
        } else if !self.cut.take(seq) {
            self.once(place, Wrong::OutOfOrder { seq, expected });
        }
    }

    fn gap(&mut self, first: u64, count: u64, why: GapReason, place: &Place) {
        let Some(expected) = self.arrive(first, place) else { return };
        let Some(next) = first.checked_add(count).filter(|_| count > 0 && first >= expected) else {
            return self.once(place, Wrong::OutOfOrder { seq: first, expected });
        };
        let all = self.so_far.missing.entry(why).or_default();
        *all = all.saturating_add(count);
        self.gaps.push(first, next - 1);
        if let Some(state) = &mut self.so_far.state {
            state.seq = next;
            state.lost = state.lost.saturating_add(count);
        }
    }

    /// Reports it unless something is already said about the line.
    fn once(&mut self, place: &Place, wrong: Wrong) {
        if self.so_far.findings.last().is_none_or(|found| found.place != *place) {
            self.wrong(place, wrong);
        }
    }

    /// Reports records that are missing before `seq`, and returns the number that is due then.
    fn arrive(&mut self, seq: u64, place: &Place) -> Option<u64> {
        let state = self.so_far.state.as_mut()?;
        if std::mem::take(&mut self.is_number_unknown) {
            state.seq = seq;
        }
        let expected = state.seq;
        if seq > expected {
            state.seq = seq;
            self.cut.push(expected, seq - 1);
            self.wrong(place, Wrong::Missing { first: expected, last: seq - 1 });
        }
        Some(expected.max(seq))
    }

    fn counters(&mut self, counters: &Counters, place: &Place) {
        let Counters { seq, read, lost, .. } = *counters;
        if self.is_count_unknown {
            self.arrive(seq, place);
            return;
        }
        let Some(state) = &self.so_far.state else { return };
        let adds_up = read.checked_add(lost) == Some(seq);
        if (seq, read, lost) != (state.seq, state.read, state.lost) || !adds_up {
            let text = |seq, read, lost| format!("{read} read and {lost} lost of {seq}");
            let wrong = Wrong::Counters { said: text(seq, read, lost), found: text(state.seq, state.read, state.lost) };
            self.wrong(place, wrong);
        }
    }

    /// After a line with an end: it can be continued, and may have been anchored.
    fn ended(&mut self, place: &Place, size: u64) {
        let Some(state) = &mut self.so_far.state else { return };
        state.lines = place.line;
        state.bytes += size;
        let (file, head) = (state.file, state.head);
        let Some(anchor) = self.anchors.take(file, &state.boot_id, place.line) else { return };
        if anchor.chain == head {
            self.so_far.anchors += 1;
        } else {
            self.wrong(place, Wrong::Anchored);
        }
    }

    fn file_ended(&mut self, place: &Place) {
        if place.line == 0 {
            return self.wrong(place, Wrong::Empty);
        }
        let Some(state) = &self.so_far.state else { return };
        self.ends.push((state.head, place.file.clone()));
        let (file, boot_id, lines) = (state.file, state.boot_id.clone(), state.lines);
        if !self.is_full() {
            for anchor in self.anchors.take_after(file, &boot_id, lines) {
                self.wrong(place, Wrong::AnchoredTail(anchor));
            }
        }
    }
}

/// Returns the number of a line's record, or of the first that it says is missing.
fn seq_of(logged: &Logged) -> Option<u64> {
    match logged {
        Logged::Record(line) => Some(line.seq),
        Logged::Gap(gap) => Some(gap.first),
        Logged::Start(_) | Logged::Counters(_) | Logged::End(_) => None,
    }
}

/// Returns the number of the record that is due at a line.
fn next_of(logged: &Logged) -> Option<u64> {
    match logged {
        Logged::Counters(counters) => Some(counters.seq),
        Logged::End(end) => Some(end.counters.seq),
        Logged::Start(start) => Some(start.seq),
        Logged::Record(_) | Logged::Gap(_) => seq_of(logged),
    }
}
