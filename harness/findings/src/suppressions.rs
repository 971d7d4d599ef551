//! Comments that suppress findings.

use std::ops::RangeInclusive;

use harness_frontend::{Location, Sources, Suppression};

use crate::{code::Code, finding::Finding};

/// Removes findings that a comment suppresses, and adds findings about comments that suppress nothing.
pub(crate) fn applied(findings: Vec<Finding>, all: &[Suppression], sources: &Sources) -> Vec<Finding> {
    let mut used = vec![false; all.len()];
    let mut remaining = Vec::new();
    let with_lines: Vec<_> = all.iter().map(|one| (one, lines(sources, &one.applies_to))).collect();
    for finding in findings {
        let line = finding.location.as_ref().map(|location| (location.source, sources.position(location).0));
        let suppresses = |(suppression, lines): &(&Suppression, RangeInclusive<usize>)| {
            suppression.code == finding.code.id()
                && !suppression.reason.is_empty()
                && line.is_some_and(|(source, line)| source == suppression.applies_to.source && lines.contains(&line))
        };
        match with_lines.iter().position(suppresses) {
            Some(at) => used[at] = true,
            None => remaining.push(finding),
        }
    }
    let unused = all.iter().zip(used).filter(|(_, used)| !used);
    remaining.extend(unused.map(|(suppression, _)| useless(suppression)));
    remaining
}

/// Returns the lines that a location covers.
fn lines(sources: &Sources, location: &Location) -> RangeInclusive<usize> {
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
