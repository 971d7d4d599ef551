//! The rules, each group in its own module.

mod container;
pub(crate) mod kernel_check;
mod kernels;
mod masks;
mod objects;
mod reach;
mod spelling;
pub(crate) mod suppressions;
mod unit;

pub use unit::does_not_run;

use crate::{
    finding::{Finding, merged},
    guard::delegation,
    input::CheckInput,
};
use kernel_check::KernelCheck;

/// Checks a configuration and returns its findings in the order of its text.
///
/// Findings that a comment suppresses are left out; `sources` are the texts it was read from.
pub fn check(input: &CheckInput<'_>, sources: &harness_frontend::Sources) -> Vec<Finding> {
    let mut findings = spelling::check(input);
    findings.extend(container::check(input));
    findings.extend(masks::any_options(input));
    for kernel in input.kernels {
        let mut check = KernelCheck::new(input.configuration, kernel);
        kernels::check(&mut check);
        objects::check(&mut check, input.objects);
        for policy in input.policies {
            delegation::check(&mut check, policy);
        }
        findings.extend(check.findings);
    }
    suppressions::applied(merged(findings), &input.configuration.suppressions, sources)
}
