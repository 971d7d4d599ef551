//! Configurations with the settings that others publish as examples or tests: what is found in each is recorded, and
//! `docs/published.md` tells it.

mod kernels;

use std::{collections::BTreeSet, fs, path::PathBuf};

use harness_findings::{
    code::Code,
    report::{self, ConfigurationReport},
};

const KERNELS: [&str; 3] = ["6.1-debian", "6.12", "7.3"];
/// Found in each of them on the first kernel, which has no tokens; the page tells it once.
const OF_OLD_KERNELS: Code = Code::KernelWithoutTokens;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/published"))
}

/// The names of the files with this ending, or of those without it.
fn names(are_snapshots: bool) -> BTreeSet<String> {
    let entries = fs::read_dir(folder()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains(".snap") == are_snapshots).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

fn judged(name: &str) -> ConfigurationReport {
    kernels::judged(name, &read(name), &KERNELS)
}

#[test]
fn what_is_found_in_each_is_as_recorded() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder());
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for name in names(false) {
        settings.set_input_file(folder().join(&name));
        settings.bind(|| insta::assert_snapshot!(name.clone(), report::plain(&judged(&name))));
    }
}

#[test]
fn every_record_has_its_file_and_every_file_says_where_it_is_published() {
    let expected: BTreeSet<String> = names(false).iter().map(|name| format!("{name}.snap")).collect();
    assert_eq!(names(true), expected);
    for name in names(false) {
        assert!(read(&name).starts_with("# https://"), "{name}");
    }
}

#[test]
fn the_page_tells_of_each_what_is_found() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/published.md")).unwrap();
    for name in names(false) {
        let link = format!("](../harness/findings/tests/published/{name}) |");
        let row = page.lines().find(|line| line.contains(&link)).unwrap_or_else(|| panic!("no row of {name}"));
        let told: BTreeSet<Code> = row.split('`').filter_map(|word| word.parse().ok()).collect();
        let mut found: BTreeSet<Code> = judged(&name).findings.iter().map(|finding| finding.code).collect();
        assert!(found.remove(&OF_OLD_KERNELS), "{name}");
        assert_eq!(told, found, "{name}");
    }
}
