//! Whether programs do their work under a configuration, by what running them found out.

use std::collections::BTreeSet;

use harness_uapi::permission::{Element, Grant};

use super::{kernel_check::KernelCheck, objects::no_token};
use crate::{
    code::Code,
    finding::Finding,
    input,
    program::{ProgramNeeds, ProgramResult},
};

/// What the results rest on.
const WHY: &str = "found by running it in containers with less and less (`caps --exec`)";

/// Checks each program. Returns the elements that they need.
pub(super) fn check(check: &mut KernelCheck<'_>, programs: &[ProgramNeeds]) -> BTreeSet<Element> {
    let mut needed = BTreeSet::new();
    let Ok(delegation) = check.kernel.delegation(check.configuration) else { return needed };
    if !check.kernel.has_tokens() {
        return needed;
    }
    let grant = input::powers(check.configuration, delegation);
    let is_outside = input::is_outside(check.configuration);
    for program in programs {
        let name = &program.name;
        match program.kernels.get(check.kernel.name.as_str()) {
            None => unknown(check, name, "it was not run on this kernel"),
            Some(ProgramResult::Unknown { why }) => unknown(check, name, why),
            // What is refused to every container says nothing of a process in the host's namespace.
            Some(ProgramResult::NotDelegable { .. }) if is_outside => {}
            Some(ProgramResult::NotDelegable { why }) => {
                let message = format!("{name}: it does its work in no container: {}", why.join("; "));
                refused(check, message, "do this outside of the container");
            }
            Some(ProgramResult::Proved { elements, makes_token }) => {
                needed.extend(elements.keys().copied());
                if let Some(cause) = no_token(check, &grant).filter(|_| !elements.is_empty()) {
                    let message = format!("{name}: the processes cannot create a token: {cause}");
                    refused(check, message, "let them create a token");
                } else if !makes_token && !is_outside && !elements.is_empty() {
                    let message = format!("{name}: it makes no token, so nothing of the delegation reaches it");
                    refused(
                        check,
                        message,
                        "use a version whose loader makes one: libbpf does from 1.5 on, cilium/ebpf from 0.22 on",
                    );
                } else {
                    lacking(check, name, elements.iter().map(|(element, fails)| (*element, *fails)), &grant);
                }
            }
        }
    }
    needed
}

/// Reports what a program lacks: what it fails without, and what it does without.
fn lacking(check: &mut KernelCheck<'_>, name: &str, elements: impl Iterator<Item = (Element, bool)>, grant: &Grant) {
    let has = |element: &Element| match element {
        Element::Bit(bit) => grant.has_bit(*bit),
        Element::Capability(capability) => grant.is_capable(*capability),
    };
    let (fatal, other): (Vec<_>, Vec<_>) = elements.filter(|(element, _)| !has(element)).partition(|(_, fails)| *fails);
    for (element, _) in fatal {
        let location = check.place_of(&element);
        let message = format!("{name}: it would fail: it lacks {element}");
        check.add(Finding::new(Code::ProgramRefused, message, WHY).at(location).advice(format!("grant {element}")));
    }
    if !other.is_empty() {
        let names: Vec<String> = other.iter().map(|(element, _)| element.to_string()).collect();
        let message = format!("{name}: it would be refused what needs {}, and do without", names.join(", "));
        check.add(Finding::new(Code::SilentLoss, message, WHY).at(check.bpffs()));
    }
}

fn refused(check: &mut KernelCheck<'_>, message: String, advice: &str) {
    check.add(Finding::new(Code::ProgramRefused, message, WHY).at(check.bpffs()).advice(advice.to_owned()));
}

fn unknown(check: &mut KernelCheck<'_>, name: &str, why: &str) {
    let message = format!("{name}: what it needs is not known: {why}");
    let advice = format!("run `{} caps --exec --kernel {} -- PROGRAM`", harness_program::NAME, check.kernel.name);
    let why = "the document has a result only for kernels that it was run on";
    check.add(Finding::new(Code::ProgramNotKnown, message, why).at(check.bpffs()).advice(advice));
}
