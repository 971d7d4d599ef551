//! The rules, each group in a module of its own.

mod allowances;
mod container;
mod kernels;
mod masks;
mod objects;
mod reach;
mod spelling;
mod unit;

use harness_frontend::{Configuration, Element, Meaning, Place};
use harness_model::vocabulary::Kind;

use crate::{
    finding::{Finding, merged},
    subject::{KernelFacts, Subject},
};

pub use unit::does_not_run;

/// A configuration on one kernel, and what was found of it.
pub(crate) struct Judged<'a> {
    configuration: &'a Configuration,
    kernel: &'a KernelFacts,
    findings: Vec<Finding>,
}

impl<'a> Judged<'a> {
    /// Adds a finding that holds on this kernel.
    fn tell(&mut self, finding: Finding) {
        self.findings.push(finding.on(&self.kernel.name));
    }

    /// Where an option is set: its last assignment, or what asks for the bpffs.
    fn option(&self, kind: Kind) -> Option<&'a Place> {
        option(self.configuration, kind)
    }

    /// Where an option names this number.
    fn element(&self, kind: Kind, number: u32) -> Option<&'a Place> {
        place_of(self.configuration, kind, |element| element.read_as == Some(Meaning::Name(number)))
    }
}

/// Where an option says `any`.
fn any(configuration: &Configuration, kind: Kind) -> Option<&Place> {
    place_of(configuration, kind, |element| element.read_as == Some(Meaning::Any))
}

fn place_of(configuration: &Configuration, kind: Kind, is_meant: impl Fn(&Element) -> bool) -> Option<&Place> {
    let taken = configuration.delegated(kind).iter().filter(|assignment| assignment.taken);
    let mut elements = taken.flat_map(|assignment| &assignment.elements);
    elements.find(|element| is_meant(element)).map(|element| &element.place)
}

/// Where an option is set: its last assignment, or what asks for the bpffs.
fn option(configuration: &Configuration, kind: Kind) -> Option<&Place> {
    let last = configuration.delegated(kind).iter().rfind(|assignment| assignment.taken);
    last.map(|assignment| &assignment.value).or_else(|| configuration.bpffs.as_ref().map(|bpffs| &bpffs.place))
}

/// Everything there is to say of a configuration, in the order of its text.
///
/// What a comment in it allows is left out; `sources` are the texts it was read from.
pub fn judge(subject: &Subject<'_>, sources: &harness_frontend::Sources) -> Vec<Finding> {
    let mut findings = spelling::judge(subject);
    findings.extend(container::judge(subject));
    findings.extend(masks::everything(subject));
    for kernel in subject.kernels {
        let mut judged = Judged { configuration: subject.configuration, kernel, findings: Vec::new() };
        kernels::judge(&mut judged);
        objects::judge(&mut judged, subject.objects);
        findings.extend(judged.findings);
    }
    allowances::applied(merged(findings), subject.configuration, sources)
}
