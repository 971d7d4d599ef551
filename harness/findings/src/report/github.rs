//! Findings as annotations for GitHub Actions.
//!
//! Workflow commands and their escapes:
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>.

use harness_diagnostics::workflow;

use super::{ConfigurationReport, KernelReport, PROOF};
use crate::{code::Level, finding::Finding};

/// Formats one workflow command per finding, and up to two for the result of each kernel in a VM.
pub fn annotations(report: &ConfigurationReport) -> String {
    let findings = report.findings.iter().map(|finding| annotation(finding, report));
    findings.chain(report.kernels.iter().map(|kernel| proof(kernel, report))).collect()
}

fn proof(kernel: &KernelReport, report: &ConfigurationReport) -> String {
    let Some(proved) = &kernel.proved else { return String::new() };
    let file = workflow::property(report.sources.get(0).label());
    let command = |command: &str, lines: &[String]| {
        let message = workflow::data(&format!("on {}: {}", kernel.name, lines.join("\n")));
        format!("::{command} file={file},line=1,col=1,title={PROOF}::{message}\n")
    };
    let disagreements = (!proved.disagreements.is_empty()).then(|| command("error", &proved.disagreements));
    command("notice", &proved.lines()) + &disagreements.unwrap_or_default()
}

fn annotation(finding: &Finding, report: &ConfigurationReport) -> String {
    let command = match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "notice",
    };
    let mut text = format!("{}\nwhy: {}", finding.message, finding.why);
    if let Some(fix) = &finding.fix {
        text = format!("{text}\nfix: {}", fix.words);
    }
    let (source, line, column) = match &finding.location {
        Some(location) => {
            let (line, column) = report.sources.position(location);
            (location.source, line, column)
        }
        None => (0, 1, 1),
    };
    let file = workflow::property(report.sources.get(source).label());
    let (title, message) = (workflow::property(finding.code.id()), workflow::data(&text));
    format!("::{command} file={file},line={line},col={column},title={title}::{message}\n")
}
