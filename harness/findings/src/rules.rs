//! The rules, each group in a module of its own.

mod container;
mod kernel_check;
mod kernels;
mod masks;
mod objects;
mod reach;
mod spelling;
mod suppressions;
mod unit;

pub use unit::does_not_run;

use crate::{
    finding::{Finding, merged},
    input::CheckInput,
};
use kernel_check::KernelCheck;

/// Everything there is to say of a configuration, in the order of its text.
///
/// What a comment in it allows is left out; `sources` are the texts it was read from.
pub fn judge(subject: &CheckInput<'_>, sources: &harness_frontend::Sources) -> Vec<Finding> {
    let mut findings = spelling::judge(subject);
    findings.extend(container::judge(subject));
    findings.extend(masks::everything(subject));
    for kernel in subject.kernels {
        let mut judged = KernelCheck::new(subject.configuration, kernel);
        kernels::judge(&mut judged);
        objects::judge(&mut judged, subject.objects);
        findings.extend(judged.findings);
    }
    suppressions::applied(merged(findings), subject.configuration, sources)
}
