//! Findings as one HTML page that loads nothing.

use harness_page::{
    Heading, document,
    harmless::one_line,
    parts::{self, Tone},
};
use maud::{Markup, html};

use super::{ConfigurationReport, KernelReport, human};
use crate::{code::Level, finding::Finding};

/// A configuration on the page.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    /// Its report.
    pub report: &'a ConfigurationReport,
    /// What its token grants, as `grants` says it; `None` if a value is not known.
    pub grants: Option<String>,
}

/// Returns the findings, how each kernel treats each configuration, and what its token grants.
pub fn page(shown: &[Shown<'_>], version: &str) -> String {
    let count = |level: Level| shown.iter().map(|one| one.report.count(level)).sum::<usize>();
    let counts = [Level::Error, Level::Warning, Level::Note].map(|level| (count(level), level.name()));
    let counts: Vec<String> =
        counts.into_iter().filter(|(count, _)| *count > 0).map(|(count, name)| human::plural(count, name)).collect();
    let lead = if counts.is_empty() { "Nothing found.".to_owned() } else { format!("{}.", counts.join(", ")) };
    let links: Vec<(String, &str)> =
        shown.iter().enumerate().map(|(at, one)| (format!("#configuration-{}", at + 1), one.report.name())).collect();
    let links = if links.len() > 1 { links } else { Vec::new() };
    let contents = html! {
        @for (at, one) in shown.iter().enumerate() { (configuration(at + 1, one)) }
        footer { "Written by " (harness_program::NAME) " validate, harness " (version) ". This page loads nothing." }
    };
    let facts = vec![("configurations", shown.len().to_string())];
    document(&Heading { title: "Delegations of BPF", lead: &lead, facts, links }, &contents)
}

fn configuration(number: usize, shown: &Shown<'_>) -> Markup {
    let report = shown.report;
    let files: Vec<&str> = report.sources.iter().map(|source| source.label()).collect();
    html! {
        section id=(format!("configuration-{number}")) {
            h2 { (one_line(report.name())) }
            p.hint { (report.front_end()) ": " (one_line(&files.join(", "))) }
            @if report.findings.is_empty() { p { (parts::mark(Tone::Good, "nothing found")) } }
            @for finding in &report.findings { (one(finding, report)) }
            @if !report.kernels.is_empty() { (kernels(report)) }
            @if let Some(tried) = &report.tried_unit {
                h3 { "How it was tried" }
                p { "Started by the systemd of image " (tried.image.as_str()) " as it is written, except:" }
                ul { @for line in tried.lines(&report.sources) { li { (one_line(&line)) } } }
            }
            @if let Some(grants) = &shown.grants {
                details { summary { "What its token grants" } (parts::lines(grants)) }
            }
        }
    }
}

fn one(finding: &Finding, report: &ConfigurationReport) -> Markup {
    let tone = match finding.level {
        Level::Error => Tone::Bad,
        Level::Warning => Tone::Notice,
        Level::Note => Tone::Quiet,
    };
    let place = finding.location.as_ref().map(|location| report.sources.shown(location));
    html! {
        details open[finding.level != Level::Note] {
            summary {
                (parts::mark(tone, finding.level.name())) " " (one_line(&finding.message)) (one_line(&human::on(finding, report)))
            }
            p { code { (finding.code.to_string()) } @if let Some(place) = place { " at " code { (one_line(&place)) } } }
            p { (one_line(&finding.why)) }
            @if let Some(fix) = &finding.fix { p { b { "Fix: " } (one_line(&fix.words)) } }
        }
    }
}

/// Returns how each kernel treats a configuration.
fn kernels(report: &ConfigurationReport) -> Markup {
    let table = html! {
        table {
            thead {
                tr {
                    @for head in ["kernel", "token", "delegates", "capabilities", "in the VM"] { th scope="col" { (head) } }
                }
            }
            tbody { @for kernel in &report.kernels { (row(kernel)) } }
        }
    };
    html! {
        h3 { "On each kernel" }
        (parts::wide(&format!("Kernels and {}", report.name()), &table))
    }
}

fn row(kernel: &KernelReport) -> Markup {
    let (tone, token) = match (kernel.is_known, kernel.delegation.is_some() && kernel.makes_token()) {
        (false, _) => (Tone::Notice, "not judged"),
        (true, true) => (Tone::Good, "yes"),
        (true, false) => (Tone::Bad, "no"),
    };
    let capabilities: Vec<String> = kernel.grant.capabilities.iter().map(ToString::to_string).collect();
    html! {
        tr {
            th scope="row" { (kernel.name.as_str()) small { (kernel.release.to_string()) } }
            td { (parts::mark(tone, token)) }
            td.prose { (one_line(&super::options(&kernel.shown))) }
            td.prose { @for capability in &capabilities { span.chip { (capability) } " " } }
            td.prose {
                @match &kernel.proved {
                    None => span.quiet { "– not tried" },
                    Some(proved) => {
                        (one_line(&proved.summary))
                        @for object in &proved.objects { br; code { (one_line(&object.name)) } " " (one_line(&object.verdict)) }
                        @for line in &proved.disagreements { br; (parts::mark(Tone::Bad, &format!("the kernel disagrees: {line}"))) }
                    }
                }
            }
        }
    }
}
