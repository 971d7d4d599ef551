use super::*;
use crate::{
    Anchor, Chain, End, EndReason, Gap, Line, NoNames, Previous, Record, Time,
    layout::{Hook, Verdict},
};

const BOOT: &str = "0123abcd-0000-4000-8000-000000000000";
const OTHER: &str = "ffff0000-0000-4000-8000-000000000000";

/// A writer of logs.
struct Log {
    chain: Chain,
    start: Start,
    lines: Vec<String>,
    seq: u64,
    read: u64,
    lost: u64,
}

impl Log {
    fn begin(boot_id: &str) -> Self {
        Self::start(Start {
            version: VERSION,
            program: "bpf-guard 0".into(),
            kernel: "6.12.107".into(),
            boot_id: boot_id.into(),
            guard: 3,
            file: 1,
            time: Time { boot_ns: 1, utc: None },
            seq: 0,
            read: 0,
            lost: 0,
            previous: None,
        })
    }

    fn start(start: Start) -> Self {
        let (chain, line) = Chain::begin(&start);
        let Start { seq, read, lost, .. } = start;
        Self { chain, start, lines: vec![line], seq, read, lost }
    }

    /// The next file of the same guard.
    fn next(&self, closed: bool) -> Self {
        let previous = Some(Previous { chain: self.chain.head().to_hex(), closed });
        let Self { seq, read, lost, .. } = *self;
        Self::start(Start { file: self.start.file + 1, seq, read, lost, previous, ..self.start.clone() })
    }

    /// The next file, of another boot.
    fn next_boot(&self, closed: bool, boot_id: &str) -> Self {
        let previous = Some(Previous { chain: self.chain.head().to_hex(), closed });
        let file = self.start.file + 1;
        Self::start(Start { file, seq: 0, read: 0, lost: 0, boot_id: boot_id.into(), previous, ..self.start.clone() })
    }

    fn add(&mut self, logged: &Logged) {
        let (chain, line) = self.chain.then(logged);
        self.chain = chain;
        self.lines.push(line);
    }

    fn record(&mut self, seq: u64) {
        let hook = [Hook::Bpf, Hook::ProgLoad, Hook::Map][seq as usize % 3];
        let record = Record { verdict: Verdict::Denied, call: seq, cmd: 5, ..Record::of(seq, hook) };
        self.add(&Logged::Record(Line::of(&record, &NoNames)));
        self.read += 1;
        self.seq = self.seq.max(seq + 1);
    }

    fn records(mut self, count: u64) -> Self {
        (0..count).for_each(|_| self.record(self.seq));
        self
    }

    fn gap(mut self, count: u64, why: GapReason) -> Self {
        self.add(&Logged::Gap(Gap { first: self.seq, count, why }));
        self.seq += count;
        self.lost += count;
        self
    }

    fn sums(&self) -> Counters {
        Counters { seq: self.seq, read: self.read, lost: self.lost, kernel: None }
    }

    fn counters(mut self) -> Self {
        self.add(&Logged::Counters(self.sums()));
        self
    }

    fn end(mut self) -> Self {
        let (lines, counters) = (self.lines.len() as u64, self.sums());
        self.add(&Logged::End(End { why: EndReason::Stopped, time: Time { boot_ns: 9, utc: None }, lines, counters }));
        self
    }

    fn text(&self) -> String {
        self.lines.concat()
    }

    /// What is wrong with the log once its lines are changed.
    fn after(&self, change: impl FnOnce(&mut Vec<String>)) -> Vec<String> {
        let mut lines = self.lines.clone();
        change(&mut lines);
        said(&[&lines.concat()])
    }

    fn anchor(&self) -> Anchor {
        let line = self.lines.len() as u64;
        Anchor {
            boot_id: self.start.boot_id.clone(),
            file: self.start.file,
            line,
            seq: self.seq,
            chain: self.chain.head(),
        }
    }
}

fn check(files: &[&str], anchors: Anchors, may_be_open: bool) -> Verified {
    let named = files.iter().enumerate().map(|(number, text)| (format!("log.{}", number + 1), text.as_bytes()));
    verify(named, anchors, may_be_open).unwrap()
}

fn said(files: &[&str]) -> Vec<String> {
    check(files, Anchors::default(), false).findings.iter().map(ToString::to_string).collect()
}

fn anchors(all: &[Anchor]) -> Anchors {
    let text: String = all.iter().map(|anchor| format!("<5>[    1.0] {anchor}\n")).collect();
    let mut anchors = Anchors::default();
    anchors.read(text.as_bytes()).unwrap();
    anchors
}

/// Ten records after a starting line: record N is at line N + 2.
fn ten() -> Log {
    Log::begin(BOOT).records(10).end()
}

#[test]
fn a_log_that_was_not_touched_is_whole() {
    let log = Log::begin(BOOT).records(4).gap(3, GapReason::Lost).counters().records(2).end();
    let verified = check(&[&log.text()], anchors(&[log.anchor()]), false);
    assert_eq!(verified.findings, []);
    assert_eq!((verified.records, verified.lines, verified.anchors), (6, 10, 1));
    assert_eq!(verified.missing, BTreeMap::from([(GapReason::Lost, 3)]));
    let state = verified.state.unwrap();
    assert_eq!((state.seq, state.read, state.lost, state.closed), (9, 6, 3, true));
    assert_eq!((state.bytes, state.head), (log.text().len() as u64, log.chain.head()));
}

#[test]
fn an_edited_line_is_named() {
    let said = ten().after(|lines| lines[5] = lines[5].replace("denied", "allowed"));
    assert_eq!(said, ["log.1, line 6: record 4 was edited: its chain does not fit"]);
    let said = ten().after(|lines| lines[0] = lines[0].replace("6.12.107", "6.12.108"));
    assert_eq!(said, ["log.1, line 1: this line was edited: its chain does not fit"]);
    let said = ten().after(|lines| lines[5] = lines[5].replace("\"seq\":4", "\"seq\":3"));
    assert_eq!(said, ["log.1, line 6: record 3 was edited: its chain does not fit"]);
    for number in [5, 40] {
        let said = ten().after(|lines| lines[5] = lines[5].replace("\"seq\":4", &format!("\"seq\":{number}")));
        assert_eq!(said, [format!("log.1, line 6: record {number} was edited: its chain does not fit")]);
    }
    let said = ten().after(|lines| lines[5] = lines[5].replace("\"verdict\"", "\"Verdict\""));
    assert_eq!(said, ["log.1, line 6: this line was edited: its chain does not fit"]);
}

#[test]
fn an_edited_chain_is_named_once() {
    let said = ten().after(|lines| {
        let digit = if &lines[5][20..21] == "0" { "1" } else { "0" };
        lines[5].replace_range(20..21, digit);
    });
    assert_eq!(said, ["log.1, line 6: record 4 was edited: its chain does not fit"]);
}

#[test]
fn lines_cut_from_the_middle_are_numbered() {
    let said = ten().after(|lines| drop(lines.drain(4..7)));
    assert_eq!(
        said,
        ["log.1, line 5: records 3 to 5 were cut before this line: its chain does not fit the line before"]
    );
    let said = ten().after(|lines| drop(lines.remove(9)));
    assert_eq!(said, ["log.1, line 10: record 8 was cut before this line: its chain does not fit the line before"]);
    let said = ten().after(|lines| drop(lines.remove(10)));
    assert_eq!(said, ["log.1, line 11: record 9 was cut before this line: its chain does not fit the line before"]);
    let said = ten().after(|lines| drop(lines.drain(..3)));
    assert!(said[0].contains("log.1, line 1: the file does not begin with a starting line"), "{said:?}");
}

#[test]
fn a_record_cut_before_a_line_without_one_is_numbered() {
    let log = Log::begin(BOOT).records(5).counters().records(3).end();
    let said = log.after(|lines| drop(lines.remove(5)));
    assert_eq!(said, ["log.1, line 6: record 4 was cut before this line: its chain does not fit the line before"]);
}

#[test]
fn a_tail_that_was_cut_is_missed() {
    let said = ten().after(|lines| lines.truncate(7));
    assert_eq!(
        said,
        [
            "log.1, line 7: the log has no closing line after record 5: its tail was cut, or its daemon was killed or is still running"
        ]
    );
    let said = ten().after(|lines| lines.clear());
    assert_eq!(said, ["log.1: the file is empty"]);
    let said = ten().after(|lines| {
        lines.truncate(7);
        let half = lines[6].len() / 2;
        lines[6].truncate(half);
    });
    assert!(said[0].contains("line 7: the last line is not finished"), "{said:?}");
}

#[test]
fn an_anchor_shows_that_the_tail_of_an_open_log_was_cut() {
    let log = Log::begin(BOOT).records(10);
    let anchor = log.anchor();
    let cut = log.lines[..8].concat();
    assert_eq!(check(&[&cut], Anchors::default(), true).findings, []);
    assert_eq!(check(&[&log.text()], anchors(std::slice::from_ref(&anchor)), true).findings, []);
    let found = check(&[&cut], anchors(&[anchor]), true).findings;
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].to_string(),
        "log.1, line 8: line 11 of file 1 (before record 10) was anchored, but is not there: the tail was cut"
    );
}

#[test]
fn an_anchor_shows_a_log_that_was_written_again() {
    let mut forged = Log::begin(BOOT).records(1);
    forged.add(&Logged::Record(Line::of(&Record::of(1, Hook::Bpf), &NoNames)));
    forged.seq = 2;
    forged.read = 2;
    let forged = forged.records(8).end();
    assert_eq!(said(&[&forged.text()]), [""; 0], "the chain alone cannot show it");
    let found = check(&[&forged.text()], anchors(&[ten().anchor()]), false).findings;
    assert_eq!(
        found[0].to_string(),
        "log.1, line 12: this line was anchored with another chain: it or a line before it was rewritten"
    );
    let other = Log::begin(OTHER).records(10).end();
    let found = check(&[&other.text()], anchors(&[ten().anchor()]), false).findings;
    assert!(found[0].to_string().contains(BOOT) && matches!(found[0].wrong, Wrong::AnchoredElsewhere(_)), "{found:?}");
}

#[test]
fn two_lines_in_the_wrong_order_are_named() {
    let said = ten().after(|lines| lines.swap(5, 6));
    assert_eq!(said, ["log.1, line 7: record 4 is out of order: its place is after line 5 of log.1"]);
    let said = ten().after(|lines| {
        let line = lines.remove(3);
        lines.insert(8, line);
    });
    assert_eq!(said, ["log.1, line 9: record 2 is out of order: its place is after line 3 of log.1"]);
}

#[test]
fn a_line_that_stands_twice_is_named() {
    let said = ten().after(|lines| lines.insert(6, lines[5].clone()));
    assert_eq!(said, ["log.1, line 7: record 4 stands here again: it is at line 6 of log.1"]);
    let said = ten().after(|lines| lines.insert(9, lines[2].clone()));
    assert_eq!(said, ["log.1, line 10: record 1 stands here again: it is at line 3 of log.1"]);
}

#[test]
fn lines_that_were_put_in_with_a_chain_of_their_own_are_named() {
    let mut forged = Log::begin(BOOT).records(4);
    forged = forged.counters();
    let said = ten().after(|lines| lines.insert(5, forged.lines[5].clone()));
    assert_eq!(
        said,
        ["log.1, line 7: the lines between line 5 and this one were inserted: this one's place is after line 5"]
    );
}

#[test]
fn a_record_of_another_boot_is_named() {
    let other = Log::begin(OTHER).records(10).end();
    let said = ten().after(|lines| lines[6] = other.lines[6].clone());
    assert_eq!(said, ["log.1, line 7: record 5 comes from another boot (ffff0000 instead of 0123abcd)"]);
    let said = ten().after(|lines| lines.insert(6, other.lines[6].clone()));
    assert_eq!(said[0], "log.1, line 7: record 5 comes from another boot (ffff0000 instead of 0123abcd)");
}

#[test]
fn files_follow_each_other() {
    let first = Log::begin(BOOT).records(3).end();
    let second = first.next(true).records(3);
    let third = second.next(false).gap(2, GapReason::Restart).records(1).end();
    let fourth = third.next_boot(true, OTHER).records(2).end();
    let texts = [first.text(), second.text(), third.text(), fourth.text()];
    let [a, b, c, d] = texts.each_ref().map(String::as_str);
    let verified = check(&[a, b, c, d], anchors(&[first.anchor(), second.anchor(), fourth.anchor()]), false);
    assert_eq!(verified.findings, []);
    assert_eq!((verified.files, verified.killed, verified.anchors, verified.records), (4, 1, 3, 9));
    assert_eq!(said(&[c, d]), [""; 0], "older files may be gone");
    assert_eq!(said(&[b, a, c, d])[0], "log.2, line 1: the file does not follow log.1: it begins a log");
    let swapped = said(&[a, c, b, d]);
    assert!(
        swapped[0].starts_with("log.2, line 1: the file does not follow log.1: it continues another file"),
        "{swapped:?}"
    );
    assert!(
        swapped.contains(&"log.3, line 1: the file does not follow log.2: it continues log.1".to_owned()),
        "{swapped:?}"
    );
    assert_eq!(said(&[a, b, c, d, a]).len(), 1);
    assert!(said(&[a, c, d])[0].contains("it continues another file"));
    let cut = second.lines[..2].concat();
    assert!(said(&[a, &cut, c, d])[0].contains("lines at that file's end were cut"));
}

#[test]
fn numbers_must_add_up_although_the_chain_fits() {
    let mut log = Log::begin(BOOT).records(3);
    log.seq += 2;
    let log = log.records(1).counters().end();
    assert_eq!(
        said(&[&log.text()]),
        ["log.1, line 5: records 3 to 4 are missing before this line, and no line says why"]
    );
    let mut log = Log::begin(BOOT).records(3);
    log.record(1);
    assert_eq!(said(&[&log.end().text()]), ["log.1, line 5: record 1 stands where record 3 is due"]);
    let mut log = Log::begin(BOOT).records(3);
    log.lost += 1;
    log.read -= 1;
    assert_eq!(
        said(&[&log.end().text()]),
        ["log.1, line 5: the counters say 2 read and 1 lost of 3, but up to here the log has 3 read and 0 lost of 3"]
    );
    let log = Log::begin(BOOT).records(3);
    let mut next = Log { read: 2, ..log.end() };
    next.lost = 1;
    let (first, second) = (Log::begin(BOOT).records(3).end(), next.next(true).end());
    assert!(said(&[&first.text(), &second.text()])[0].contains("the counters say 2 read and 1 lost before record 3"));
}

#[test]
fn lines_in_the_wrong_order_are_named_although_the_chain_fits() {
    let mut log = Log::begin(BOOT).records(3);
    [4, 3, 5].into_iter().for_each(|seq| log.record(seq));
    assert_eq!(
        said(&[&log.end().text()]),
        ["log.1, line 5: this line is out of order: record 3 comes before it, but stands after it"]
    );
}

#[test]
fn a_record_that_comes_after_all_is_no_fault() {
    let mut log = Log::begin(BOOT).records(2).gap(3, GapReason::Lost).records(1);
    log.record(3);
    log.lost -= 1;
    let log = log.counters().end();
    assert_eq!(said(&[&log.text()]), [""; 0]);
    let mut twice = Log::begin(BOOT).records(2).gap(3, GapReason::Lost);
    twice.record(3);
    twice.record(3);
    assert_eq!(said(&[&twice.end().text()]).len(), 1);
}

#[test]
fn lines_after_the_closing_line_are_named() {
    let log = ten().counters();
    assert_eq!(said(&[&log.text()]), ["log.1, line 13: there are lines after the closing line"]);
}

#[test]
fn a_line_without_end_takes_no_memory() {
    let text = format!("{}{}\n", ten().text(), "x".repeat(3 * LONGEST_LINE));
    assert_eq!(said(&[&text]), ["log.1, line 13: the line has more than 262144 bytes: it is none of a log"]);
}

#[test]
fn reading_ends_at_many_findings() {
    let verified = check(&[&"x\n".repeat(1_000_000)], Anchors::default(), false);
    assert_eq!((verified.findings.len(), verified.more), (MOST_FINDINGS, true));
    assert!(verified.lines <= 101);
}

#[test]
fn any_changed_byte_is_noticed() {
    let log = Log::begin(BOOT).records(6).gap(2, GapReason::Lost).counters().records(3).end();
    let text = log.text();
    let mut random = fastrand::Rng::with_seed(17);
    for position in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        let flip = if random.bool() { 1 << random.u8(0..8) } else { random.u8(1..) };
        bytes[position] ^= flip;
        let line = text[..position].matches('\n').count() as u64 + 1;
        let found = verify([("log.1".to_owned(), &bytes[..])], Anchors::default(), false).unwrap().findings;
        let place = found.first().unwrap_or_else(|| panic!("byte {position} ^ {flip:#x} was not noticed")).place.line;
        assert_eq!(place, line, "byte {position} ^ {flip:#x}: {found:?}");
    }
}

#[test]
fn any_removed_swapped_or_doubled_lines_are_noticed() {
    let log = Log::begin(BOOT).records(9).gap(2, GapReason::Lost).counters().records(8).counters().end();
    let mut random = fastrand::Rng::with_seed(4);
    for round in 0..3000 {
        let mut lines = log.lines.clone();
        let (a, b) = (random.usize(..lines.len()), random.usize(..lines.len()));
        match random.u8(..4) {
            0 => drop(lines.remove(a)),
            1 => lines.insert(b, lines[a].clone()),
            2 => drop(lines.drain(a.min(b)..=a.max(b))),
            _ if a == b => continue,
            _ => lines.swap(a, b),
        }
        assert!(!said(&[&lines.concat()]).is_empty(), "round {round}: {a} {b}");
    }
}

#[test]
fn time_grows_with_the_length_only() {
    let log = Log::begin(BOOT).records(20_000).end();
    let text = log.text();
    let start = std::time::Instant::now();
    assert_eq!(said(&[&text]), [""; 0]);
    // Each line before a wrong one is a candidate for its place; the number of both is bounded.
    let edited = text.replace("denied", "allowed");
    assert_eq!(said(&[&edited]).len(), MOST_FINDINGS);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
