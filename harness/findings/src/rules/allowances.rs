//! Comments that allow a finding.

use harness_frontend::{Allowance, Configuration, Place, Sources};

use crate::{code::Code, finding::Finding};

/// The findings without those that a comment allows, and with those about comments that allow nothing.
pub(super) fn applied(findings: Vec<Finding>, configuration: &Configuration, sources: &Sources) -> Vec<Finding> {
    let mut used = vec![false; configuration.allowances.len()];
    let mut left = Vec::new();
    for finding in findings {
        let allows = |allowance: &Allowance| {
            allowance.code == finding.code.id()
                && !allowance.reason.is_empty()
                && is_about(allowance, &finding, sources)
        };
        match configuration.allowances.iter().position(allows) {
            Some(at) => used[at] = true,
            None => left.push(finding),
        }
    }
    let idle = configuration.allowances.iter().zip(used).filter(|(_, used)| !used);
    left.extend(idle.map(|(allowance, _)| useless(allowance)));
    left
}

/// Whether a finding is of a line that a comment applies to.
fn is_about(allowance: &Allowance, finding: &Finding, sources: &Sources) -> bool {
    let Some(place) = &finding.place else { return false };
    place.source == allowance.applies_to.source
        && lines(sources, &allowance.applies_to).contains(&sources.position(place).0)
}

fn lines(sources: &Sources, place: &Place) -> std::ops::RangeInclusive<usize> {
    let first = sources.position(place).0;
    first..=first + sources.text(place).trim_end().matches('\n').count()
}

fn useless(allowance: &Allowance) -> Finding {
    let message = match allowance.code.parse::<Code>() {
        Err(error) => error,
        Ok(_) if allowance.reason.is_empty() => "an allowance needs a reason after its code".to_owned(),
        Ok(code) => format!("there is no {code} to allow there"),
    };
    let why = "a comment `bpf-token: allow CODE reason` is about its own line, or about the next if it stands alone";
    Finding::new(Code::UselessAllowance, message, why).at(Some(&allowance.place)).advice("mend or remove the comment")
}
