//! Comments that allow a finding.

use harness_frontend::{Configuration, Location, Sources, Suppression};

use crate::{code::Code, finding::Finding};

/// The findings without those that a comment allows, and with those about comments that allow nothing.
pub(super) fn applied(findings: Vec<Finding>, configuration: &Configuration, sources: &Sources) -> Vec<Finding> {
    let mut used = vec![false; configuration.suppressions.len()];
    let mut left = Vec::new();
    for finding in findings {
        let allows = |suppression: &Suppression| {
            suppression.code == finding.code.id()
                && !suppression.reason.is_empty()
                && is_about(suppression, &finding, sources)
        };
        match configuration.suppressions.iter().position(allows) {
            Some(at) => used[at] = true,
            None => left.push(finding),
        }
    }
    let idle = configuration.suppressions.iter().zip(used).filter(|(_, used)| !used);
    left.extend(idle.map(|(suppression, _)| useless(suppression)));
    left
}

/// Whether a finding is of a line that a comment applies to.
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
        Ok(_) if suppression.reason.is_empty() => "an allowance needs a reason after its code".to_owned(),
        Ok(code) => format!("there is no {code} to allow there"),
    };
    let why = "a comment `bpf-token: allow CODE reason` is about its own line, or about the next if it stands alone";
    Finding::new(Code::UselessAllowance, message, why)
        .at(Some(&suppression.location))
        .advice("mend or remove the comment")
}
