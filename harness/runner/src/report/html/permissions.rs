//! What operations need, as tables and as pages of their own.

use harness_page::parts;
use harness_snapshot::reasons::Explanation;
use maud::{Markup, html};

use super::{
    super::guest_text::one_line,
    needs::{Need, Operation, Sweep},
};

/// Says how to read the tables.
pub(super) fn hint() -> Markup {
    html! {
        p.hint {
            "Tried in a container with a token of exactly the bits it takes, then with each bit and each capability left out: what is listed is what the kernel \
             refused to do without. Capabilities count in the user namespace of the token. A cell spans neighbouring kernels that agree."
        }
    }
}

/// Returns a recorded reason, with its commit.
pub(super) fn reason(explanation: &Explanation) -> Markup {
    html! {
        (one_line(&explanation.reason))
        @if let Some(commit) = &explanation.commit {
            " (" a href=(format!("https://git.kernel.org/torvalds/c/{}", commit.short())) { code { (commit.short()) } } ")"
        }
    }
}

/// Returns a sweep's operations by kernel; their names lead to pages whose addresses `page` returns.
pub(super) fn table(sweep: &Sweep, page: Option<&dyn Fn(&Operation) -> String>) -> Markup {
    let changed = sweep.operations.iter().filter(|operation| changes(operation)).count();
    let table = html! {
        table {
            thead { tr { th scope="col" { (one_line(&sweep.of)) } (heads(sweep)) } }
            tbody { @for operation in &sweep.operations { (row(operation, page)) } }
        }
    };
    html! {
        @if page.is_some() { h2 { (one_line(&sweep.of)) } } @else { h3 { (one_line(&sweep.of)) } }
        @if sweep.kernels.len() > 1 {
            p.hint { (changed) " of " (sweep.operations.len()) " differ between these kernels." }
        }
        (parts::wide(&format!("What {} need", sweep.of), &table))
        (reasons(sweep))
    }
}

/// Returns the columns' heads.
pub(super) fn heads(sweep: &Sweep) -> Markup {
    html! {
        @for (name, release) in &sweep.kernels {
            th scope="col" { (one_line(name)) @if let Some(release) = release { small { (one_line(release)) } } }
        }
    }
}

/// Whether an operation is not the same on all kernels.
pub(super) fn changes(operation: &Operation) -> bool {
    operation.needs.windows(2).any(|pair| pair[0] != pair[1])
}

fn row(operation: &Operation, page: Option<&dyn Fn(&Operation) -> String>) -> Markup {
    html! {
        tr data-find=(one_line(&operation.name).to_lowercase()) data-differs[changes(operation)] {
            th scope="row" {
                @match page {
                    Some(page) => a.name href=(page(operation)) { (one_line(&operation.name)) },
                    None => span.name { (one_line(&operation.name)) },
                }
            }
            @for cells in operation.needs.chunk_by(looks_alike) {
                td colspan=[(cells.len() > 1).then_some(cells.len())] {
                    (need(cells[0].as_ref()))
                    @if cells.windows(2).any(|pair| pair[0] != pair[1]) { " " span.note { "! differs in detail" } }
                }
            }
        }
    }
}

/// Whether two cells show the same; only the notes may differ.
fn looks_alike(one: &Option<Need>, other: &Option<Need>) -> bool {
    let shown = |need: &Option<Need>| need.as_ref().map(|need| (need.words.clone(), need.parts.clone()));
    shown(one) == shown(other)
}

/// Returns what an operation needs, in a cell.
pub(super) fn need(need: Option<&Need>) -> Markup {
    match need {
        None => html! { span.quiet { "· not there" } },
        Some(need) => html! {
            (parts::mark(need.tone, &need.words))
            @for part in &need.parts { " " span.chip { (one_line(part)) } }
        },
    }
}

/// Returns why operations changed, by kernel.
fn reasons(sweep: &Sweep) -> Markup {
    let mut all: Vec<(&str, &Explanation)> = Vec::new();
    for (at, (name, _)) in sweep.kernels.iter().enumerate() {
        for explanation in sweep.operations.iter().filter_map(|one| one.reasons.get(at)).flatten() {
            if !all.contains(&(name.as_str(), explanation)) {
                all.push((name, explanation));
            }
        }
    }
    html! {
        @if !all.is_empty() {
            p { b { "Why they differ" } }
            ul { @for (name, explanation) in all { li { (one_line(name)) ": " (reason(explanation)) } } }
        }
    }
}
