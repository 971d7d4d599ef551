//! Verdicts as KTAP version 1, the kernel's own form (Documentation/dev-tools/ktap.rst): a test a kernel, a subtest a
//! scenario.

use std::fmt::Write;

use super::{Finding, HARNESS, KernelLabel, Mark, Results, Standing, guest_text::one_line};

const INDENT: &str = "  ";

/// The results as KTAP. Names of kernels and scenarios hold neither spaces nor `#` by their types.
pub fn ktap(results: &Results) -> String {
    let mut text = format!("KTAP version 1\n1..{}\n", results.kernels.len());
    for (index, kernel) in results.kernels.iter().enumerate() {
        subtests(&mut text, results, kernel);
        let good = !results.of(kernel).any(|finding| Mark::of(finding).is_bad());
        let _ = writeln!(text, "{} {} {}", if good { "ok" } else { "not ok" }, index + 1, kernel.name);
    }
    text
}

fn subtests(text: &mut String, results: &Results, kernel: &KernelLabel) {
    let release = kernel.release.as_deref().map(one_line).unwrap_or_else(|| "unknown".to_owned());
    let _ = writeln!(text, "{INDENT}KTAP version 1\n{INDENT}# Subtest: {}", kernel.name);
    let _ = writeln!(text, "{INDENT}# release {release}, image {}, harness {HARNESS}", results.image);
    let _ = writeln!(text, "{INDENT}1..{}", results.of(kernel).count());
    for (index, finding) in results.of(kernel).enumerate() {
        for line in finding.complaints().iter().flat_map(|complaint| complaint.lines()) {
            let _ = writeln!(text, "{INDENT}# {line}");
        }
        let _ = writeln!(text, "{INDENT}{}", result(index + 1, finding));
    }
}

/// A result line; what is wrong stands in the diagnostic lines before it.
fn result(number: usize, finding: &Finding) -> String {
    let name = &finding.scenario;
    match (&finding.standing, Mark::of(finding)) {
        (Standing::Skipped { reason }, _) => format!("ok {number} {name} # SKIP {}", one_line(reason).replace('#', "")),
        (_, Mark::Fault) => format!("not ok {number} {name} # ERROR no verdict"),
        (_, mark) => format!("{} {number} {name}", if mark.is_bad() { "not ok" } else { "ok" }),
    }
}
