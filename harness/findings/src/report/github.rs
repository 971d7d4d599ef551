//! Findings as annotations of GitHub Actions.
//!
//! Workflow commands and their escapes:
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>.

use harness_model::workflow;

use super::Judgement;
use crate::{code::Level, finding::Finding};

/// One command a finding.
pub fn annotations(judgement: &Judgement) -> String {
    judgement.findings.iter().map(|finding| annotation(finding, judgement)).collect()
}

fn annotation(finding: &Finding, judgement: &Judgement) -> String {
    let command = match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "notice",
    };
    let mut text = format!("{}\nwhy: {}", finding.message, finding.why);
    if let Some(fix) = &finding.fix {
        text = format!("{text}\nfix: {}", fix.words);
    }
    let (source, line, column) = match &finding.place {
        Some(place) => {
            let (line, column) = judgement.sources.position(place);
            (place.source, line, column)
        }
        None => (0, 1, 1),
    };
    let file = workflow::property(judgement.sources.get(source).label());
    let (title, message) = (workflow::property(finding.code.id()), workflow::data(&text));
    format!("::{command} file={file},line={line},col={column},title={title}::{message}\n")
}
