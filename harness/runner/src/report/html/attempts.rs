//! The verdicts of a scenario: one column for kernels that gave the same.

use harness_page::parts::{self, Tone};
use harness_scenario::layout::SweepLayout;
use harness_snapshot::table::{self, Emphasis};
use harness_verdict::{
    judgement::{Judgement, Row},
    verdict::Class,
};
use maud::{Markup, html};

use super::{
    super::{Mark, Results, ScenarioResult, Status, guest_text::one_line, table::align},
    alike::Scenario,
    tone,
};

/// Returns a scenario's verdicts, which a reader unfolds.
pub(super) fn details(results: &Results, scenario: &Scenario<'_>) -> Markup {
    html! {
        details data-find=(scenario.found_by()) data-differs[scenario.differs()] {
            summary {
                span.name { (scenario.leaf()) }
                span.marks { @for group in &scenario.alike { (group_mark(group)) } }
                small { (scenario.summary()) }
            }
            div id=(scenario.name()) {
                @for group in &scenario.alike { (unjudged(results, group)) }
                (judged(results, scenario))
                @for group in &scenario.alike { (remarks(results, group)) }
                (explanations(results, scenario))
            }
        }
    }
}

fn group_mark(group: &[&ScenarioResult]) -> Markup {
    let mark = Mark::of(group[0]);
    let count = if group.len() == 1 { String::new() } else { format!("{} ", group.len()) };
    parts::mark(tone(mark), &format!("{count}{}", mark.as_str()))
}

fn names(results: &Results, group: &[&ScenarioResult]) -> String {
    let names: Vec<String> = group.iter().map(|result| results.naming().name(&result.environment)).collect();
    one_line(&names.join(", "))
}

/// Returns why results have no verdicts.
fn unjudged(results: &Results, group: &[&ScenarioResult]) -> Markup {
    let why = match &group[0].status {
        Status::Judged { .. } => return html! {},
        Status::Skipped { reason } => reason.as_str(),
        Status::Fault { message } => message,
        Status::NotRun { cause } => cause,
    };
    html! { h4 { (names(results, group)) ": " (Mark::of(group[0]).as_str()) } (parts::lines(why)) }
}

fn judged(results: &Results, scenario: &Scenario<'_>) -> Markup {
    let groups = scenario.alike.iter().filter_map(|group| match &group[0].status {
        Status::Judged { judgement, .. } => Some((group, judgement)),
        _ => None,
    });
    let (sweeps, rows): (Vec<_>, Vec<_>) = groups.partition(|(_, judgement)| judgement.grid.is_some());
    let columns: Vec<(String, &ScenarioResult)> =
        rows.iter().map(|(group, _)| (column(results, scenario, group), group[0])).collect();
    html! {
        @if !columns.is_empty() { (parts::wide(&format!("Attempts of {}", scenario.name()), &attempts(&columns))) }
        @for (group, judgement) in sweeps {
            @if let Some(grid) = &judgement.grid {
                h4 { (column(results, scenario, group)) }
                (sweep(grid, judgement))
            }
        }
    }
}

/// Returns the kernels of a group, with its letter.
fn column(results: &Results, scenario: &Scenario<'_>, group: &[&ScenarioResult]) -> String {
    let letter = scenario.letters().find(|(_, other)| std::ptr::eq(other[0], group[0]));
    let letter = letter.map_or(String::new(), |(letter, _)| format!("{letter}: "));
    format!("{letter}{}", names(results, group))
}

fn attempts(columns: &[(String, &ScenarioResult)]) -> Markup {
    html! {
        table {
            thead { tr { th scope="col" { "attempt" } @for (name, _) in columns { th scope="col" { (name) } } } }
            tbody {
                @for line in align(columns) {
                    tr {
                        th scope="row" { (line.title) }
                        @for cell in &line.cells {
                            td.prose { @match cell { Some(row) => (verdict(row)), None => span.quiet { "·" } } }
                        }
                    }
                }
            }
        }
    }
}

/// Returns a verdict with everything that is known about it.
fn verdict(row: &Row) -> Markup {
    let tone = if !row.matches() { Tone::Bad } else { tone_of(row.verdict.class()) };
    let errno = row.verdict.errno().map(|errno| format!(" {errno}")).unwrap_or_default();
    html! {
        (parts::mark(tone, &format!("{}{errno}", row.verdict.class().as_str())))
        @if let Some(detail) = row.verdict.detail() { " " (one_line(detail)) }
        @if let Some(cause) = &row.cause { " (" (one_line(&cause.to_string())) ")" }
        @if let Some(expect) = row.expect.filter(|_| !row.matches()) {
            " – expected " (Class::from(expect).as_str())
        }
        @for step in &row.steps { br; code { (one_line(&step.text)) } " " (one_line(&step.result.to_string())) }
        @for answer in &row.guard { br; "guard: " (one_line(answer)) }
    }
}

const fn tone_of(class: Class) -> Tone {
    match class {
        Class::Allowed => Tone::Good,
        Class::Denied => Tone::Notice,
        Class::Unsupported | Class::NotMade | Class::Malformed => Tone::Quiet,
        Class::Crashed => Tone::Bad,
    }
}

/// Returns a sweep's table as snapshots have it.
fn sweep(grid: &SweepLayout, judgement: &Judgement) -> Markup {
    let disagreements = judgement.cases.iter().flat_map(|case| &case.disagreements);
    html! {
        pre tabindex="0" {
            @for line in disagreements { (one_line(line)) "\n" }
            @for line in table::layout(grid, judgement) {
                @for piece in line {
                    @match piece.emphasis {
                        Emphasis::Wrong => b.bad { (one_line(&piece.text)) },
                        _ => (one_line(&piece.text)),
                    }
                }
                "\n"
            }
        }
    }
}

/// Returns what is wrong with results, and what the kernel's reports of a delegation contradict.
fn remarks(results: &Results, group: &[&ScenarioResult]) -> Markup {
    let Status::Judged { judgement, .. } = &group[0].status else { return html! {} };
    let complaints = group[0].complaints();
    let disagreements = judgement.cases.iter().flat_map(|case| &case.disagreements);
    let disagreements: Vec<String> =
        disagreements.filter(|_| judgement.grid.is_none()).map(|line| one_line(line)).collect();
    let allowed = judgement.splats.iter().filter_map(|splat| Some((&splat.splat.text, splat.allowed.as_ref()?)));
    html! {
        @if !complaints.is_empty() || !disagreements.is_empty() { h4 { (names(results, group)) } }
        @for line in &disagreements { p.bad { (line) } }
        @for complaint in &complaints { (parts::lines(complaint)) }
        @for (text, why) in allowed { p { "Allowed splat: " (one_line(text)) " – " (one_line(why)) } }
    }
}

/// Returns the recorded reasons why kernels and images differ.
fn explanations(results: &Results, scenario: &Scenario<'_>) -> Markup {
    let all: Vec<_> = scenario
        .alike
        .iter()
        .flatten()
        .filter_map(|result| {
            let known = results.explanations.get(&(result.scenario.clone(), result.environment.clone()))?;
            Some((results.naming().name(&result.environment), known))
        })
        .collect();
    if all.is_empty() {
        return html! {};
    }
    html! {
        h4 { "Why kernels and images differ" }
        ul {
            @for (name, known) in all {
                @for explanation in known { li { (one_line(&name)) ": " (super::permissions::reason(explanation)) } }
            }
        }
    }
}
