//! The page of a log: whether it is whole, what was refused, and who asked for what.

use std::collections::{BTreeMap, BTreeSet};

use guard_record::{Line, Logged, Named, Time, Verdict, Verified};
use harness_page::{
    Heading, document,
    harmless::one_line,
    parts::{self, Tone},
};
use maud::{Markup, html};

/// The most refusals that are listed; a page with more would not open in a browser.
const MOST_REFUSALS: usize = 2_000;

/// The most callers that are told apart. A log may have any number.
const MOST_CALLERS: usize = 1_000;

/// What a page says of the records of a log. It takes bounded memory, whatever the log has.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    kernels: BTreeSet<String>,
    boots: BTreeSet<String>,
    first: Option<Time>,
    last: Option<Time>,
    all: Tally,
    callers: BTreeMap<Caller, Tally>,
    /// Records of callers that are too many to be told apart.
    others: Tally,
    /// The first refusals.
    refusals: Vec<Line>,
}

/// Who made calls, as far as the page tells callers apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Caller {
    program: String,
    uid: u32,
    loader: Option<String>,
}

/// How many records have each verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    allowed: u64,
    would_deny: u64,
    denied: u64,
}

impl Tally {
    fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Allowed => self.allowed += 1,
            Verdict::WouldDeny => self.would_deny += 1,
            Verdict::Denied => self.denied += 1,
        }
    }

    const fn sum(self) -> u64 {
        self.allowed + self.would_deny + self.denied
    }

    /// Returns the counts that are not 0, each with its sign.
    fn shown(self) -> Markup {
        let counts =
            [(Verdict::Denied, self.denied), (Verdict::WouldDeny, self.would_deny), (Verdict::Allowed, self.allowed)];
        html! {
            ul.tally {
                @for (verdict, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
                    li { (parts::mark(tone(verdict), &format!("{count} {}", words(verdict)))) }
                }
            }
        }
    }
}

const fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Allowed => Tone::Good,
        Verdict::WouldDeny => Tone::Notice,
        Verdict::Denied => Tone::Bad,
    }
}

const fn words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allowed => "allowed",
        Verdict::WouldDeny => "would be denied",
        Verdict::Denied => "denied",
    }
}

impl Seen {
    /// Takes a line of the log.
    pub(crate) fn see(&mut self, logged: &Logged) {
        match logged {
            Logged::Start(start) => {
                self.kernels.insert(start.kernel.clone());
                self.boots.insert(start.boot_id.clone());
            }
            Logged::Record(line) => self.record(line),
            Logged::Gap(_) | Logged::Counters(_) | Logged::End(_) => {}
        }
    }

    fn record(&mut self, line: &Line) {
        self.first.get_or_insert_with(|| line.time.clone());
        self.last = Some(line.time.clone());
        self.all.count(line.verdict);
        let caller = Caller::of(line);
        let tally = if self.callers.len() < MOST_CALLERS || self.callers.contains_key(&caller) {
            self.callers.entry(caller).or_default()
        } else {
            &mut self.others
        };
        tally.count(line.verdict);
        if line.verdict != Verdict::Allowed && self.refusals.len() < MOST_REFUSALS {
            self.refusals.push(line.clone());
        }
    }

    /// Returns the page of a log with these records.
    pub(crate) fn page(&self, verified: &Verified, running: bool) -> String {
        let lead = if verified.findings.is_empty() { "The log is whole." } else { "The log is NOT whole." };
        let join = |texts: &BTreeSet<String>| texts.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let mut facts = vec![("kernel", join(&self.kernels)), ("boot", join(&self.boots))];
        let times = [("first record", &self.first), ("last record", &self.last)];
        facts.extend(times.into_iter().filter_map(|(name, time)| Some((name, when(time.as_ref()?)))));
        let links = [("#log", "The log"), ("#refusals", "Refusals"), ("#callers", "Callers")];
        let links = links.map(|(target, words)| (target.to_owned(), words)).into();
        let contents = html! {
            section #log { h2 { "The log" } (self.all.shown()) (whole(verified, running)) }
            section #refusals { h2 { "Refusals" } (self.refusals()) }
            section #callers { h2 { "Callers" } (self.callers()) }
            footer { "Written by bpf-guard " (env!("CARGO_PKG_VERSION")) ". This page loads nothing." }
        };
        document(&Heading { title: "Records of bpf(2)", lead, facts, links }, &contents)
    }

    fn refusals(&self) -> Markup {
        if self.refusals.is_empty() {
            return html! { p { (parts::mark(Tone::Good, "nothing was refused")) } };
        }
        let more = self.all.denied + self.all.would_deny - self.refusals.len() as u64;
        let table = html! {
            table {
                thead {
                    tr {
                        @for head in ["when", "verdict", "why", "program", "user", "what", "rule"] { th scope="col" { (head) } }
                    }
                }
                tbody { @for line in &self.refusals { (refusal(line)) } }
            }
        };
        html! {
            (parts::filter("refusals", None))
            (parts::wide("Refusals", &table))
            @if more > 0 { p { (parts::mark(Tone::Notice, &format!("{more} more are not listed"))) } }
        }
    }

    fn callers(&self) -> Markup {
        let mut callers: Vec<(&Caller, &Tally)> = self.callers.iter().collect();
        // Who was refused most first; then who asked most.
        callers.sort_by_key(|(_, tally)| std::cmp::Reverse((tally.denied + tally.would_deny, tally.sum())));
        let table = html! {
            table {
                thead {
                    tr {
                        @for head in ["program", "user", "known loader", "denied", "would be denied", "allowed"] {
                            th scope="col" { (head) }
                        }
                    }
                }
                tbody {
                    @for (caller, tally) in callers {
                        tr {
                            th scope="row" { (one_line(&caller.program)) }
                            td { (caller.uid) }
                            td { (one_line(caller.loader.as_deref().unwrap_or_default())) }
                            td { (tally.denied) }
                            td { (tally.would_deny) }
                            td { (tally.allowed) }
                        }
                    }
                }
            }
        };
        html! {
            (parts::wide("Callers", &table))
            @if self.others.sum() > 0 {
                p { (parts::mark(Tone::Notice, &format!("{} records are of further callers", self.others.sum()))) }
            }
        }
    }
}

impl Caller {
    fn of(line: &Line) -> Self {
        Self { program: program(line), uid: line.who.uid, loader: line.who.loader.as_ref().map(named) }
    }
}

/// Returns what is wrong with a log, or that nothing is, and what the log says itself is missing.
fn whole(verified: &Verified, running: bool) -> Markup {
    let is_open = running && verified.state.as_ref().is_some_and(|state| !state.closed);
    html! {
        p { (verified.lines) " lines in " (verified.files) " files, " (verified.records) " records, " (verified.anchors) " anchors met." }
        @if verified.findings.is_empty() { p { (parts::mark(Tone::Good, "nothing edited, cut, reordered or repeated")) } }
        @if !verified.findings.is_empty() {
            ul { @for finding in &verified.findings { li { (parts::mark(Tone::Bad, "wrong")) " " (one_line(&finding.to_string())) } } }
        }
        @if verified.more { p { (parts::mark(Tone::Notice, "the rest was not read")) } }
        @for (why, count) in &verified.missing {
            p { (parts::mark(Tone::Notice, &format!("{count} records {}", why.about()))) }
        }
        @if verified.killed > 0 {
            p { (parts::mark(Tone::Notice, &format!("{} files have no closing line", verified.killed))) }
        }
        @if is_open { p { (parts::mark(Tone::Quiet, "the last file is not closed")) } }
    }
}

fn refusal(line: &Line) -> Markup {
    let reason = line.reason.map(word).unwrap_or_default();
    let what = line.what.as_ref().map(named).unwrap_or_default();
    let (program, about) = (program(line), about(line));
    let rule = line.rule.map(|rule| rule.to_string()).unwrap_or_default();
    let find = [&program, &reason, &what, &about].map(|text| one_line(text).to_lowercase()).join(" ");
    html! {
        tr data-find=(find) {
            td { (one_line(&when(&line.time))) }
            td { (parts::mark(tone(line.verdict), words(line.verdict))) }
            td { (one_line(&reason)) @if !what.is_empty() { small { " " (one_line(&what)) } } }
            td { (one_line(&program)) small { " " (line.who.tgid) } }
            td { (line.who.uid) }
            td { (one_line(&about)) }
            td { (rule) }
        }
    }
}

/// Returns what a call was about: its command or its hook, and the program or the map.
fn about(line: &Line) -> String {
    let mut text = line.command.as_ref().map_or_else(|| word(line.hook), named);
    if let Some(program) = &line.program {
        text.push_str(&format!(" {} `{}`", named(&program.r#type), program.name));
    }
    if let Some(map) = &line.map {
        text.push_str(&format!(" {} `{}`", named(&map.r#type), map.name));
    }
    text
}

/// Returns the executable of a caller, or the name that its thread chose.
fn program(line: &Line) -> String {
    let path = line.who.exe.as_ref().and_then(|exe| exe.path.clone());
    path.unwrap_or_else(|| format!("a thread that calls itself `{}`", line.who.comm))
}

fn named(named: &Named) -> String {
    named.name.clone().unwrap_or_else(|| named.number.to_string())
}

/// Returns the word that a log has for a hook or a reason.
fn word(value: impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn when(time: &Time) -> String {
    time.utc.clone().unwrap_or_else(|| format!("{:.3} s after the boot", time.boot_ns as f64 / 1e9))
}

#[cfg(test)]
mod tests {
    use guard_record::{Hook, NoNames, Reason, Record};

    use super::*;

    fn line(seq: u64, verdict: Verdict) -> Line {
        let reason = if verdict == Verdict::Allowed { Reason::NoReason } else { Reason::NoRule };
        Line::of(&Record { uid: 7, verdict, reason, ..Record::of(seq, Hook::Bpf) }, &NoNames)
    }

    fn seen(lines: impl IntoIterator<Item = Line>) -> Seen {
        let mut seen = Seen::default();
        lines.into_iter().for_each(|line| seen.see(&Logged::Record(line)));
        seen
    }

    #[test]
    fn a_page_has_the_refusals_and_who_asked() {
        let page = seen([line(0, Verdict::Allowed), line(1, Verdict::Denied), line(2, Verdict::WouldDeny)])
            .page(&Verified { records: 3, ..Verified::default() }, false);
        for text in ["The log is whole.", "1 denied", "1 would be denied", "1 allowed", "no-rule"] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert_eq!(page.matches("<tr data-find").count(), 2);
        assert!(seen([line(0, Verdict::Allowed)]).page(&Verified::default(), false).contains("nothing was refused"));
    }

    #[test]
    fn what_a_caller_chose_stays_text() {
        let mut hostile = line(0, Verdict::Denied);
        hostile.who.comm = "</td><script>alert(1)</script>\u{1b}[2J".to_owned();
        let page = seen([hostile]).page(&Verified::default(), false);
        assert!(!page.contains("alert(1)</script>") && !page.contains('\u{1b}'), "{page}");
    }

    #[test]
    fn a_page_is_bounded_and_says_so() {
        let refused = (0..MOST_REFUSALS as u64 + 3).map(|seq| {
            let mut line = line(seq, Verdict::Denied);
            line.who.uid = u32::try_from(seq).unwrap();
            line
        });
        let page = seen(refused).page(&Verified::default(), false);
        assert_eq!(page.matches("<tr data-find").count(), MOST_REFUSALS);
        assert!(page.contains("3 more are not listed"));
        let others = MOST_REFUSALS + 3 - MOST_CALLERS;
        assert!(page.contains(&format!("{others} records are of further callers")));
    }
}
