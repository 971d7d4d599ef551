//! Examples and tests that others publish: the findings in each are recorded, and `docs/published.md` lists them.

#[allow(dead_code, reason = "each test uses a part of it")]
mod kernels;

use std::{collections::BTreeSet, fs, path::PathBuf};

use harness_findings::{
    code::Code,
    report::{self, ConfigurationReport},
};

const KERNELS: [&str; 3] = ["6.1-debian", "6.12", "7.3"];
/// Found in each of them on the first kernel, which has no tokens; the page mentions it once.
const OF_OLD_KERNELS: Code = Code::KernelWithoutTokens;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/published"))
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn checked(name: &str) -> ConfigurationReport {
    kernels::checked(name, &read(name), &KERNELS)
}

#[test]
fn findings_of_published_examples_are_as_recorded() {
    harness_fixtures::compare(&kernels::fixtures(&folder()), &folder(), |fixture| {
        report::plain(&checked(fixture.file_name().unwrap().to_str().unwrap()))
    });
}

#[test]
fn each_example_names_its_source() {
    for name in kernels::fixtures(&folder()).into_keys() {
        assert!(read(&name).starts_with("# https://"), "{name}");
    }
}

#[test]
fn the_page_lists_the_findings_of_each_example() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/published.md")).unwrap();
    for name in kernels::fixtures(&folder()).into_keys() {
        let link = format!("](../harness/findings/tests/published/{name}) |");
        let row = page.lines().find(|line| line.contains(&link)).unwrap_or_else(|| panic!("no row of {name}"));
        let listed: BTreeSet<Code> = row.split('`').filter_map(|word| word.parse().ok()).collect();
        let mut found: BTreeSet<Code> = checked(&name).findings.iter().map(|finding| finding.code).collect();
        let only_hides = checked(&name).configuration.unwrap().only_hides();
        assert!(found.remove(&OF_OLD_KERNELS) || only_hides, "{name}");
        assert_eq!(listed, found, "{name}");
    }
}
