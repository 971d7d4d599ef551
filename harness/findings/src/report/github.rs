//! Findings as annotations of GitHub Actions.
//!
//! Workflow commands and their escapes:
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>.

use harness_diagnostics::workflow;

use super::{ConfigurationReport, KernelReport, PROOF};
use crate::{code::Level, finding::Finding};

/// One command a finding, and two at most for what each kernel made of it in a VM.
pub fn annotations(judgement: &ConfigurationReport) -> String {
    let findings = judgement.findings.iter().map(|finding| annotation(finding, judgement));
    findings.chain(judgement.kernels.iter().map(|kernel| proof(kernel, judgement))).collect()
}

fn proof(kernel: &KernelReport, judgement: &ConfigurationReport) -> String {
    let Some(proved) = &kernel.proved else { return String::new() };
    let file = workflow::property(judgement.sources.get(0).label());
    let told = |command: &str, lines: &[String]| {
        let message = workflow::data(&format!("on {}: {}", kernel.name, lines.join("\n")));
        format!("::{command} file={file},line=1,col=1,title={PROOF}::{message}\n")
    };
    let disagreements = (!proved.disagreements.is_empty()).then(|| told("error", &proved.disagreements));
    told("notice", &proved.lines()) + &disagreements.unwrap_or_default()
}

fn annotation(finding: &Finding, judgement: &ConfigurationReport) -> String {
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
            let (line, column) = judgement.sources.position(location);
            (location.source, line, column)
        }
        None => (0, 1, 1),
    };
    let file = workflow::property(judgement.sources.get(source).label());
    let (title, message) = (workflow::property(finding.code.id()), workflow::data(&text));
    format!("::{command} file={file},line={line},col={column},title={title}::{message}\n")
}
