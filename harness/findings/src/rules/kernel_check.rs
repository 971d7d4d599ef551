//! Checks a configuration on one kernel.

use harness_frontend::{Configuration, Element, Location, Meaning};
use harness_uapi::{permission::Element as GrantElement, vocabulary::Kind};

use crate::{finding::Finding, input::KernelFacts};

/// A configuration on one kernel, and the findings so far.
pub(super) struct KernelCheck<'a> {
    pub(super) configuration: &'a Configuration,
    pub(super) kernel: &'a KernelFacts,
    pub(super) findings: Vec<Finding>,
}

impl<'a> KernelCheck<'a> {
    pub(super) const fn new(configuration: &'a Configuration, kernel: &'a KernelFacts) -> Self {
        Self { configuration, kernel, findings: Vec::new() }
    }

    /// Adds a finding for this kernel.
    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding.on(&self.kernel.name));
    }

    /// Returns where an option is set: its last assignment, or what requests the bpffs.
    pub(super) fn option(&self, kind: Kind) -> Option<&'a Location> {
        option(self.configuration, kind)
    }

    /// Returns where the bpffs is requested.
    pub(super) fn bpffs(&self) -> Option<&'a Location> {
        self.configuration.bpffs.as_ref().map(|bpffs| &bpffs.location)
    }

    /// Returns where an element of a grant is to be added: its option or the bounding set, or else what requests the bpffs.
    pub(super) fn place_of(&self, element: &GrantElement) -> Option<&'a Location> {
        let location = match element {
            GrantElement::Bit(bit) => self.option(bit.kind),
            GrantElement::Capability(_) => self.configuration.execution_context.bounding_set.location.as_ref(),
        };
        location.or(self.bpffs())
    }

    /// Returns where an option has the name of this number.
    pub(super) fn element(&self, kind: Kind, number: u32) -> Option<&'a Location> {
        location_of(self.configuration, kind, |element| element.read_as == Some(Meaning::Name(number)))
    }
}

/// Returns where an option is `any`.
pub(super) fn any(configuration: &Configuration, kind: Kind) -> Option<&Location> {
    location_of(configuration, kind, |element| element.read_as == Some(Meaning::Any))
}

fn location_of(configuration: &Configuration, kind: Kind, matches: impl Fn(&Element) -> bool) -> Option<&Location> {
    let taken = configuration.delegated(kind).iter().filter(|assignment| assignment.taken);
    let mut elements = taken.flat_map(|assignment| &assignment.elements);
    elements.find(|element| matches(element)).map(|element| &element.location)
}

/// Returns where an option is set: its last assignment, or what requests the bpffs.
pub(super) fn option(configuration: &Configuration, kind: Kind) -> Option<&Location> {
    let last = configuration.delegated(kind).iter().rfind(|assignment| assignment.taken);
    last.map(|assignment| &assignment.value).or_else(|| configuration.bpffs.as_ref().map(|bpffs| &bpffs.location))
}
