//! Comments that suppress findings.

use harness_frontend::{Configuration, Location, Sources, Suppression};

use crate::{code::Code, finding::Finding};

/// Removes findings that a comment suppresses, and adds findings about comments that suppress nothing.
pub(super) fn applied(findings: Vec<Finding>, configuration: &Configuration, sources: &Sources) -> Vec<Finding> {
    let mut used = vec![false; configuration.suppressions.len()];
    let mut remaining = Vec::new();
    for finding in findings {
        let suppresses = |suppression: &Suppression| {
            suppression.code == finding.code.id()
                && !suppression.reason.is_empty()
                && is_about(suppression, &finding, sources)
        };
        match configuration.suppressions.iter().position(suppresses) {
            Some(at) => used[at] = true,
            None => remaining.push(finding),
        }
    }
    let unused = configuration.suppressions.iter().zip(used).filter(|(_, used)| !used);
    remaining.extend(unused.map(|(suppression, _)| useless(suppression)));
    remaining
}

/// Whether a finding is on a line that a comment applies to.
fn is_about(suppression: &Suppression, finding: &Finding, sources: &Sources) -> bool {
    let Some(location) = &finding.location else { return false };
    location.source == suppression.applies_to.source
        && lines(sources, &suppression.applies_to).contains(&sources.position(location).0)
}

fn lines(sources: &Sources, location: &Location) -> std::ops::RangeInclusive<usize> {
    let first = sources.position(location).0;
    first..=first + sources.text(location).trim_end().matches('\n').count()
}

fn useless(suppression: &Suppression) -> Finding {
    let message = match suppression.code.parse::<Code>() {
        Err(error) => error,
        Ok(_) if suppression.reason.is_empty() => "a suppression needs a reason after its code".to_owned(),
        Ok(code) => format!("there is no finding {code} to suppress"),
    };
    let why = "a comment `bpf-token: allow CODE reason` applies to its own line, or to the next if it is on a line of its own";
    Finding::new(Code::UselessSuppression, message, why)
        .at(Some(&suppression.location))
        .advice("correct or remove the comment")
}
