//! Results as JUnit XML: one suite per environment, one test case per scenario.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

use super::{
    EnvironmentLabel, HARNESS, Mark, Results, ScenarioResult, Status,
    guest_text::{harmless, one_line},
};

/// Returns the results as JUnit XML.
///
/// # Errors
/// If the results cannot be serialized.
pub fn junit(results: &Results) -> Result<String, SerializeError> {
    let mut report = Report::new("bpf-token-harness");
    report.add_test_suites(results.environments.iter().map(|label| suite(results, label)));
    report.set_time(results.results.iter().filter_map(|result| result.took).sum());
    let text = report.to_string()?;
    Ok(without_skipped(&text))
}

/// Returns the document without the attribute `skipped` of its root, which the schema of Jenkins does not have there: each suite
/// has its own.
fn without_skipped(text: &str) -> String {
    let end = text.find("<testsuite ").unwrap_or(text.len());
    let (head, rest) = text.split_at(end);
    let skipped = head.find(" skipped=\"").and_then(|from| {
        let value = from + " skipped=\"".len();
        Some(from..value + head[value..].find('"')? + 1)
    });
    skipped.map_or_else(|| text.to_owned(), |range| format!("{}{}{rest}", &head[..range.start], &head[range.end..]))
}

fn suite(results: &Results, label: &EnvironmentLabel) -> TestSuite {
    let name = results.naming().name(&label.environment);
    let mut suite = TestSuite::new(&name);
    let release = label.release.as_deref().map(|release| ("kernel.release", release));
    let image = ("image", label.environment.image.as_str());
    let properties = [("kernel", label.environment.kernel.as_str()), image, ("harness.version", HARNESS)];
    suite.add_properties(properties.into_iter().chain(release).map(|(key, value)| Property::new(key, one_line(value))));
    let replaced = label.replaced().map(|(of, pin)| Property::new("pin.replaced", one_line(&format!("{of}: {pin}"))));
    suite.add_properties(replaced);
    suite.add_test_cases(results.of(label).map(|result| case(&name, result)));
    let took: Duration = results.of(label).filter_map(|result| result.took).sum();
    suite.set_time(took);
    suite
}

/// Returns the test case of a result. Readers group test cases by the part of the class name before its last dot, so
/// the environment and the folder form the class name.
fn case(environment: &str, result: &ScenarioResult) -> TestCase {
    let name = result.scenario.as_str();
    let (folder, leaf) = name.rsplit_once('/').unwrap_or(("", name));
    let folders = folder.split('/').filter(|part| !part.is_empty());
    let class: Vec<&str> = std::iter::once(environment).chain(folders).collect();
    let mut case = TestCase::new(leaf, status(result));
    case.set_classname(class.join("."));
    if let Some(took) = result.took {
        case.set_time(took);
    }
    case
}

fn status(result: &ScenarioResult) -> TestCaseStatus {
    let mark = Mark::of(result);
    let mut status = match (&result.status, mark) {
        (Status::Skipped { reason }, _) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(harmless(reason));
            return status;
        }
        (_, Mark::AsRecorded | Mark::Skipped) => return TestCaseStatus::success(),
        (_, Mark::Differs | Mark::Splat) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        (_, Mark::Crashed | Mark::NotRun | Mark::Fault) => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let complaints = result.complaints().join("\n");
    let first = complaints.lines().next().unwrap_or_default().to_owned();
    status.set_type(mark.as_str()).set_message(first).set_description(complaints);
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn xml() -> String {
        junit(&sample::results()).unwrap()
    }

    #[test]
    fn a_junit_parser_finds_suites_cases_and_their_status() {
        let report = junit_parser::from_reader(xml().as_bytes()).unwrap();
        let [old, new] = &report.suites[..] else { panic!("{report:#?}") };
        assert_eq!((old.name.as_str(), old.tests, old.failures, old.errors, old.skipped), ("6.12", 4, 0, 1, 1));
        assert_eq!((new.name.as_str(), new.tests, new.failures, new.errors, new.skipped), ("7.3", 4, 1, 2, 0));
        assert_eq!((report.tests, report.failures, report.errors), (8, 1, 3));
        assert_eq!(old.properties.hashmap["kernel.release"], "6.12.107");
        assert_eq!(old.properties.hashmap["image"], "minimal");
        assert!(!new.properties.hashmap.contains_key("kernel.release"));
        let differs = &new.cases[1];
        assert_eq!((differs.classname.as_deref(), differs.original_name.as_str()), (Some("7.3.token"), "new"));
        let failure = differs.status.failure_as_ref();
        assert_eq!(failure.failure_type, "differs");
        let crash = new.cases[3].status.error_as_ref();
        assert_eq!(crash.error_type, "crashed");
        assert!((old.cases[0].time - 1.235).abs() < 0.01, "{}", old.cases[0].time);
    }

    #[test]
    fn the_document() {
        insta::assert_snapshot!("junit", xml().replace(HARNESS, "VERSION"));
    }

    #[test]
    fn suites_are_named_with_their_image_if_there_are_several() {
        let xml = junit(&sample::two_images()).unwrap();
        let report = junit_parser::from_reader(xml.as_bytes()).unwrap();
        let names: Vec<&str> = report.suites.iter().map(|suite| suite.name.as_str()).collect();
        assert_eq!(names, ["6.12@minimal", "6.12@systemd-262"]);
        let [_, suite] = &report.suites[..] else { panic!("{report:#?}") };
        assert_eq!((suite.properties.hashmap["image"].as_str(), suite.tests), ("systemd-262", 1));
        assert_eq!(suite.cases[0].classname.as_deref(), Some("6.12@systemd-262.vm"));
    }

    /// Checks the rules of the schema that Jenkins' plug-in validates against, as far as this report uses it: nesting
    /// and order of elements, attributes, and counts.
    #[test]
    fn the_document_follows_the_junit_schema() {
        let xml = xml();
        let document = roxmltree::Document::parse(&xml).unwrap();
        let root = document.root_element();
        assert_eq!(root.tag_name().name(), "testsuites");
        let rules: [(&str, &[&str], &[&str]); 8] = [
            ("testsuites", &["testsuite"], &["name", "time", "tests", "failures", "errors"]),
            ("testsuite", &["properties", "testcase"], &["name", "time", "tests", "failures", "errors", "skipped"]),
            ("properties", &["property"], &[]),
            ("property", &[], &["name", "value"]),
            ("testcase", &["skipped", "error", "failure"], &["name", "classname", "time"]),
            ("skipped", &[], &["message"]),
            ("error", &[], &["message", "type"]),
            ("failure", &[], &["message", "type"]),
        ];
        for node in document.descendants().filter(roxmltree::Node::is_element) {
            let name = node.tag_name().name();
            let (_, children, attributes) =
                rules.iter().find(|rule| rule.0 == name).unwrap_or_else(|| panic!("{name}"));
            let positions = node.children().filter(roxmltree::Node::is_element).map(|child| {
                let child = child.tag_name().name();
                children.iter().position(|known| *known == child).unwrap_or_else(|| panic!("{child} in {name}"))
            });
            assert!(positions.is_sorted(), "the children of {name}");
            assert!(node.attributes().all(|attribute| attributes.contains(&attribute.name())), "{node:?}");
            assert!(name == "properties" || node.has_attribute(attributes[0]), "{node:?}");
            if name == "testsuite" {
                let count = |tag| node.descendants().filter(|node| node.has_tag_name(tag)).count().to_string();
                for (key, tag) in
                    [("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")]
                {
                    assert_eq!(node.attribute(key), Some(count(tag).as_str()), "{key}");
                }
            }
        }
    }

    #[test]
    fn guest_text_cannot_escape_its_element() {
        let xml = xml();
        assert!(xml.contains("]]&gt;&lt;/failure&gt;&lt;script&gt;"), "{xml}");
        assert!(!xml.contains(|c: char| c.is_control() && c != '\n'), "{xml:?}");
        assert!(!xml.lines().any(|line| line.trim_start().starts_with("::")) && !xml.contains("##["), "{xml}");
    }
}
