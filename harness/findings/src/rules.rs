//! The rules, each group in its own module.

mod container;
mod kernel_check;
mod kernels;
mod masks;
mod objects;
mod policy;
mod programs;
mod reach;
mod spelling;
mod unit;

pub use unit::does_not_run;

use crate::{
    finding::{Finding, merged},
    input::CheckInput,
    suppressions,
};
use kernel_check::KernelCheck;

/// Checks a configuration and returns its findings in the order of its text.
///
/// Findings that a comment suppresses are left out; `sources` are the texts it was read from.
pub fn check(input: &CheckInput<'_>, sources: &harness_frontend::Sources) -> Vec<Finding> {
    let mut findings = spelling::check(input, sources);
    findings.extend(container::check(input));
    findings.extend(masks::any_options(input));
    // What is not known can be anything, and what only hides the host's bpffs depends on no kernel.
    let only_hides = input.configuration.only_hides()
        && input.objects.is_empty()
        && input.programs.is_empty()
        && input.policies.is_empty();
    let judged = input.configuration.unknown.is_empty() && !only_hides;
    for kernel in input.kernels.iter().filter(|_| judged) {
        let mut check = KernelCheck::new(input.configuration, kernel);
        kernels::check(&mut check);
        let of_programs = programs::check(&mut check, input.programs);
        objects::check(&mut check, input.objects, input.elsewhere, &of_programs);
        for policy in input.policies {
            policy::check(&mut check, policy);
        }
        findings.extend(check.findings);
    }
    suppressions::applied(merged(findings), &input.configuration.suppressions, sources)
}
