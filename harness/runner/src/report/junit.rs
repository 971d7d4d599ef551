//! Verdicts as JUnit XML: a suite a kernel, a case a scenario.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::{
    Finding, HARNESS, KernelLabel, Mark, Results, Standing,
    guest_text::{harmless, one_line},
};

/// The results as JUnit XML.
///
/// # Errors
/// If they cannot be written as XML.
pub fn junit(results: &Results) -> Result<String, SerializeError> {
    let mut report = Report::new("bpf-token-harness");
    report.add_test_suites(results.kernels.iter().map(|kernel| suite(results, kernel)));
    report.set_time(results.findings.iter().filter_map(|finding| finding.took).sum());
    report.to_string()
}

fn suite(results: &Results, kernel: &KernelLabel) -> TestSuite {
    let mut suite = TestSuite::new(kernel.name.as_str());
    let release = kernel.release.as_deref().map(|release| ("kernel.release", release));
    let image = ("image", results.image.as_str());
    let properties = [("kernel", kernel.name.as_str()), image, ("harness.version", HARNESS)];
    suite.add_properties(properties.into_iter().chain(release).map(|(key, value)| Property::new(key, one_line(value))));
    suite.add_test_cases(results.of(kernel).map(case));
    let took: Duration = results.of(kernel).filter_map(|finding| finding.took).sum();
    suite.set_time(took);
    suite
}

/// Readers group cases by the part of the class before its last dot, so kernel and folder make the class.
fn case(finding: &Finding) -> TestCase {
    let name = finding.scenario.as_str();
    let (folder, leaf) = name.rsplit_once('/').unwrap_or(("", name));
    let folders = folder.split('/').filter(|part| !part.is_empty());
    let class: Vec<&str> = std::iter::once(finding.kernel.as_str()).chain(folders).collect();
    let mut case = TestCase::new(leaf, status(finding));
    case.set_classname(class.join("."));
    if let Some(took) = finding.took {
        case.set_time(took);
    }
    case
}

fn status(finding: &Finding) -> TestCaseStatus {
    let mark = Mark::of(finding);
    let mut status = match (&finding.standing, mark) {
        (Standing::Skipped { reason }, _) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(harmless(reason));
            return status;
        }
        (_, Mark::AsRecorded | Mark::Skipped) => return TestCaseStatus::success(),
        (_, Mark::Differs) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        (_, Mark::Crashed | Mark::Fault) => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let complaints = finding.complaints().join("\n");
    let first = complaints.lines().next().unwrap_or_default().to_owned();
    status.set_type(mark.as_str()).set_message(first).set_description(complaints);
    status
}
