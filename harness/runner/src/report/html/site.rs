//! A folder of pages that a web server can serve as it is: the results, and a page for each operation.

use std::{collections::BTreeSet, fmt::Write};

use harness_page::{Heading, document, parts};
use maud::{Markup, html};

use super::{
    super::{Results, counted, guest_text::one_line},
    Sweep, footer, heading, html as results_page,
    needs::{self, Operation},
    permissions,
};

/// A page of the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its path within the site: names of lower-case letters, digits, `-` and `_`, separated by `/`, with `.html`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Returns all pages: `index.html` with the results, `permissions/index.html` with what operations need, and a page for each
/// operation under an address that stays the same.
pub fn site(results: &Results) -> Vec<Page> {
    let sweeps = needs::sweeps(results);
    let mut pages = vec![Page { path: "index.html".to_owned(), text: results_page(results) }];
    let addresses: Vec<Vec<String>> = addresses(&sweeps);
    pages.push(Page { path: "permissions/index.html".to_owned(), text: index(results, &sweeps, &addresses) });
    for (sweep, addresses) in sweeps.iter().zip(&addresses) {
        for (operation, address) in sweep.operations.iter().zip(addresses) {
            let path = format!("permissions/{address}");
            pages.push(Page { path, text: page(results, sweep, operation) });
        }
    }
    pages
}

/// Returns the address of each operation within `permissions/`. Names come from kernels, so that they are made harmless, and
/// two of them stay two.
fn addresses(sweeps: &[Sweep]) -> Vec<Vec<String>> {
    let mut taken: BTreeSet<String> = BTreeSet::from(["index.html".to_owned()]);
    let mut address = |sweep: &Sweep, operation: &Operation| {
        let stem = format!("{}/{}", slug(&sweep.of), slug(&operation.name));
        let numbered = (1..).map(|number| match number {
            1 => format!("{stem}.html"),
            _ => format!("{stem}-{number}.html"),
        });
        let free = numbered.into_iter().find(|address| taken.insert(address.clone()));
        free.unwrap_or_default()
    };
    sweeps.iter().map(|sweep| sweep.operations.iter().map(|operation| address(sweep, operation)).collect()).collect()
}

/// The most characters of a file's name.
const LONGEST: usize = 80;

fn slug(name: &str) -> String {
    let name = name.to_lowercase();
    let kept = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' });
    let slug: String = kept.take(LONGEST).collect();
    if slug.trim_matches('-').is_empty() { "unnamed".to_owned() } else { slug }
}

fn index(results: &Results, sweeps: &[Sweep], addresses: &[Vec<String>]) -> String {
    let contents = html! {
        (permissions::hint())
        (parts::filter("operations", Some("only what differs between kernels")))
        @for (sweep, addresses) in sweeps.iter().zip(addresses) {
            section data-group="" { (permissions::table(sweep, Some(&|operation: &Operation| {
                let at = sweep.operations.iter().position(|other| other.name == operation.name);
                at.map(|at| addresses[at].clone()).unwrap_or_default()
            }))) }
        }
        @if sweeps.is_empty() { p { "No sweep was carried out." } }
        (footer())
    };
    let operations: usize = sweeps.iter().map(|sweep| sweep.operations.len()).sum();
    let lead = format!("{} by kernel: which bits and capabilities each needs.", counted(operations, "operation"));
    let links = vec![("../index.html".to_owned(), "All verdicts")];
    let heading = Heading { title: "What operations need of a BPF token", ..heading(results, &lead, links) };
    document(&heading, &contents)
}

fn page(results: &Results, sweep: &Sweep, operation: &Operation) -> String {
    let table = html! {
        table {
            thead { tr { th scope="col" { "kernel" } th scope="col" { "result" } th scope="col" { "notes" } } }
            tbody {
                @for ((name, release), need) in sweep.kernels.iter().zip(&operation.needs) {
                    tr {
                        th scope="row" { (one_line(name)) @if let Some(release) = release { small { (one_line(release)) } } }
                        td { (permissions::need(need.as_ref())) }
                        td.prose { @for note in need.iter().flat_map(|need| &need.notes) { (one_line(note)) " " } }
                    }
                }
            }
        }
    };
    let contents = html! {
        (parts::wide("Needs by kernel", &table))
        (history(sweep, operation))
        (footer())
    };
    let title = format!("{}: {}", sweep.of, operation.name);
    let lead = lead(sweep, operation);
    let links = vec![("../index.html".to_owned(), "All operations"), ("../../index.html".to_owned(), "All verdicts")];
    let facts = heading(results, "", Vec::new()).facts.into_iter().filter(|(name, _)| *name == "harness").collect();
    document(&Heading { title: &title, lead: &lead, facts, links }, &contents)
}

/// Returns since when there is an operation, and what it needs on the newest kernel.
fn lead(sweep: &Sweep, operation: &Operation) -> String {
    let mut lead = String::new();
    let works = |need: &Option<needs::Need>| need.as_ref().is_some_and(|need| need.tone != parts::Tone::Quiet);
    let first = operation.needs.iter().position(works);
    match first.and_then(|at| sweep.kernels.get(at).map(|kernel| (at, &kernel.0))) {
        Some((0, name)) => drop(write!(lead, "In {name}, the oldest kernel here, and later")),
        Some((at, name)) => drop(write!(lead, "Since {name}; not in {}", sweep.kernels[at - 1].0)),
        None => lead.push_str("In no kernel here"),
    }
    if let Some(Some(need)) = operation.needs.last() {
        let _ = write!(lead, ". On the newest: {}", need.words);
        if !need.parts.is_empty() {
            let _ = write!(lead, ": {}", need.parts.join(" + "));
        }
    }
    lead.push('.');
    lead
}

fn history(sweep: &Sweep, operation: &Operation) -> Markup {
    let changed = |at: &usize| operation.needs[*at] != operation.needs[at - 1];
    let changes: Vec<usize> = (1..operation.needs.len()).filter(changed).collect();
    html! {
        h2 { "Changes" }
        @if changes.is_empty() { p { "The same on all of these kernels." } }
        @for at in changes {
            h3 { (one_line(&sweep.kernels[at - 1].0)) " → " (one_line(&sweep.kernels[at].0)) }
            p { (permissions::need(operation.needs[at - 1].as_ref())) " → " (permissions::need(operation.needs[at].as_ref())) }
            @if let (Some(before), Some(after)) = (&operation.needs[at - 1], &operation.needs[at]) {
                @if before.notes != after.notes {
                    (parts::lines(&format!("-{}\n+{}", before.notes.join(" "), after.notes.join(" "))))
                }
            }
            @let reasons = reasons(operation, at);
            @if reasons.is_empty() { p.hint { "No reason is recorded." } }
            @else { ul { @for reason in reasons { li { (permissions::reason(reason)) } } } }
        }
    }
}

/// Returns the recorded reasons of the two kernels that only one of them has.
fn reasons(operation: &Operation, at: usize) -> Vec<&harness_snapshot::reasons::Explanation> {
    let (before, after) = (&operation.reasons[at - 1], &operation.reasons[at]);
    let only =
        |one: &[_], other: &[_]| -> Vec<usize> { (0..one.len()).filter(|at| !other.contains(&one[*at])).collect() };
    let new = only(after, before).into_iter().map(|at| &after[at]);
    new.chain(only(before, after).into_iter().map(|at| &before[at])).collect()
}
