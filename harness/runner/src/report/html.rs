//! Results as one HTML page: what needs attention, a matrix of scenarios and environments, the verdicts of each scenario, and
//! what each operation needs on each kernel.

mod alike;
mod attempts;
mod needs;
mod permissions;
mod site;

use harness_page::{
    Heading, document,
    parts::{self, Tone},
};
use maud::{Markup, html};

use super::{
    Failure, HARNESS, Mark, Results, ScenarioResult, Standing,
    failure_group::{FailureGroup, failures},
    guest_text::one_line,
};
use alike::{Scenario, scenarios};
use needs::Sweep;

pub use site::{Page, site};

/// Returns the results as one HTML page that loads nothing.
pub fn html(results: &Results) -> String {
    let sweeps = needs::sweeps(results);
    let contents = html! {
        (outcomes(results))
        @if !sweeps.is_empty() {
            section #permissions {
                h2 { "What operations need" }
                (permissions::hint())
                @for sweep in &sweeps { (permissions::table(sweep, None)) }
            }
        }
        (footer())
    };
    let mut links = links();
    if !sweeps.is_empty() {
        links.push(("#permissions".to_owned(), "What operations need"));
    }
    document(&heading(results, &results.counts().sentence(), links), &contents)
}

fn links() -> Vec<(String, &'static str)> {
    [("#attention", "Result"), ("#scenarios", "Scenarios"), ("#verdicts", "Verdicts")]
        .map(|(target, words)| (target.to_owned(), words))
        .to_vec()
}

fn heading<'a>(results: &Results, lead: &'a str, links: Vec<(String, &'a str)>) -> Heading<'a> {
    let naming = results.naming();
    let environments = results.environments.iter().map(|label| {
        let name = naming.name(&label.environment);
        label.release.as_ref().map_or(name.clone(), |release| format!("{name} ({release})"))
    });
    let environments: Vec<String> = environments.collect();
    let images: Vec<&str> = results.images().into_iter().map(|image| image.as_str()).collect();
    let mut facts = vec![("kernels", environments.join(", ")), ("images", images.join(", "))];
    facts.push(("harness", HARNESS.to_owned()));
    facts.extend(results.guard_line().map(|line| ("guard", line)));
    facts.extend(results.retried_line().map(|line| ("retried", line)));
    facts.extend(results.replaced_pins().into_iter().map(|line| ("replaced pin", line)));
    Heading { title: "BPF token verdicts", lead, facts, links }
}

fn footer() -> Markup {
    html! { footer { "Written by " (harness_program::NAME.as_str()) ", harness " (HARNESS) ". This page loads nothing." } }
}

/// Returns what needs attention, the matrix and the verdicts.
fn outcomes(results: &Results) -> Markup {
    let scenarios = scenarios(results);
    html! {
        section #attention { (attention(results)) }
        section #scenarios {
            h2 { "Scenarios" }
            (parts::filter("scenarios", Some("only what differs: from a snapshot, or between kernels")))
            p.hint {
                "Kernels with the same letter gave the same verdicts; no letter: all did. A scenario's name leads to its verdicts."
            }
            (parts::wide("Scenarios by kernel", &matrix(results, &scenarios)))
        }
        section #verdicts {
            h2 { "Verdicts" }
            @for folder in scenarios.chunk_by(|a, b| a.folder() == b.folder()) {
                section data-group="" {
                    h3 { (folder[0].folder()) }
                    @for scenario in folder { (attempts::details(results, scenario)) }
                }
            }
        }
    }
}

const fn tone(mark: Mark) -> Tone {
    match mark {
        Mark::Skipped => Tone::Quiet,
        Mark::AsRecorded => Tone::Good,
        Mark::NotRun => Tone::Notice,
        Mark::Differs | Mark::Splat | Mark::Crashed | Mark::Fault => Tone::Bad,
    }
}

fn attention(results: &Results) -> Markup {
    let (failures, all) = (failures(results), &results.results);
    let count = |mark: Mark| all.iter().filter(|result| Mark::of(result) == mark).count();
    html! {
        h2 { "Result" }
        ul.tally {
            @for mark in Mark::ALL.into_iter().rev().filter(|mark| count(*mark) > 0) {
                li { (parts::mark(tone(mark), &mark.counted(count(mark)))) }
            }
        }
        @if failures.is_empty() { p { "Every verdict is as recorded." } }
        @if let Some(compared) = &results.compared { (groups(compared)) }
        @for failure in &failures { (failed(failure)) }
    }
}

/// Returns the failures by whether the baseline had them.
fn groups(compared: &[Failure]) -> Markup {
    html! {
        h3 { "Compared with the baseline" }
        @for standing in Standing::ALL {
            @let group: Vec<&Failure> = compared.iter().filter(|failure| failure.standing == standing).collect();
            @let tone = match standing {
                Standing::New => Tone::Bad,
                Standing::Mended => Tone::Good,
                Standing::Still => Tone::Notice,
            };
            @if group.is_empty() { p { (parts::mark(Tone::Quiet, &format!("0 {}", standing.as_str()))) } } @else {
                details open[standing == Standing::New] {
                    summary { (parts::mark(tone, &format!("{} {}", group.len(), standing.as_str()))) }
                    ul {
                        @for Failure { kernel, image, scenario, what, .. } in group {
                            li { (one_line(&format!("{scenario} on {kernel}@{image}: {what}"))) }
                        }
                    }
                }
            }
        }
    }
}

fn failed(failure: &FailureGroup<'_>) -> Markup {
    html! {
        details open {
            summary { (parts::mark(tone(failure.mark), failure.mark.as_str())) " " (one_line(&failure.subject())) }
            (parts::lines(&failure.text))
        }
    }
}

fn matrix(results: &Results, scenarios: &[Scenario<'_>]) -> Markup {
    let naming = results.naming();
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "scenario" }
                    @for label in &results.environments {
                        th scope="col" {
                            (one_line(&naming.name(&label.environment)))
                            @if let Some(release) = &label.release { small { (one_line(release)) } }
                        }
                    }
                }
            }
            @for folder in scenarios.chunk_by(|a, b| a.folder() == b.folder()) {
                tbody data-group="" {
                    tr { th scope="rowgroup" colspan=(results.environments.len() + 1) { (folder[0].folder()) } }
                    @for scenario in folder { (row(results, scenario)) }
                }
            }
        }
    }
}

fn row(results: &Results, scenario: &Scenario<'_>) -> Markup {
    html! {
        tr data-find=(scenario.found_by()) data-differs[scenario.differs()] {
            th scope="row" { a.name href=(format!("#{}", scenario.name())) { (scenario.leaf()) } }
            @for label in &results.environments {
                td {
                    @match scenario.on(&label.environment) {
                        Some((result, letter)) => (cell(result, letter)),
                        None => span.quiet { "·" },
                    }
                }
            }
        }
    }
}

fn cell(result: &ScenarioResult, letter: Option<char>) -> Markup {
    let mark = Mark::of(result);
    html! {
        (parts::mark(tone(mark), mark.as_str()))
        @if let Some(letter) = letter { span.letter { (letter) } }
    }
}

#[cfg(test)]
mod tests;
