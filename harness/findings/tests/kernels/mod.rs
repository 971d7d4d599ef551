//! Kernels by their committed vocabularies, and configurations checked for them.

use std::{collections::BTreeSet, fs, path::Path};

use harness_findings::{
    check,
    input::{CheckInput, KernelFacts, Origin},
    report::{ConfigurationReport, KernelReport},
};
use harness_frontend::{Frontend, Names, Sources, SystemdRelease};
use harness_objects::Object;
use harness_uapi::vocabulary::{KnownNames, Vocabulary};

const VOCABULARIES: [(&str, &str); 4] = [
    ("6.1-debian", include_str!("../../../../kernels/vocabulary/6.1-debian.json")),
    ("6.12", include_str!("../../../../kernels/vocabulary/6.12.json")),
    ("6.18-debian", include_str!("../../../../kernels/vocabulary/6.18-debian.json")),
    ("7.3", include_str!("../../../../kernels/vocabulary/7.3.json")),
];

fn kernel(name: &str) -> KernelFacts {
    let (_, text) = VOCABULARIES.into_iter().find(|(known, _)| *known == name).unwrap();
    let vocabulary: Vocabulary = serde_json::from_str(text).unwrap();
    let origin = if name.contains("debian") { Origin::Debian } else { Origin::Built };
    KernelFacts { name: name.parse().unwrap(), release: name.parse().unwrap(), vocabulary, origin }
}

/// Checks the one configuration of a text.
pub(crate) fn checked(label: &str, text: &str, kernels: &[&str]) -> ConfigurationReport {
    checked_with(label, text, kernels, &[])
}

/// Checks the one configuration of a text, with objects to load under it.
pub(crate) fn checked_with(
    label: &str,
    text: &str,
    kernels: &[&str],
    objects: &[(String, Object)],
) -> ConfigurationReport {
    let known = KnownNames::from_json(VOCABULARIES).unwrap();
    let names = Names::new(&known, SystemdRelease::V262);
    let sources = Sources::of(label, text.as_bytes()).unwrap();
    let frontend = Frontend::detect(sources.get(0)).unwrap();
    let [configuration] = harness_frontend::read(frontend, &sources, &names).unwrap().try_into().unwrap();
    let kernels: Vec<KernelFacts> = kernels.iter().map(|name| kernel(name)).collect();
    let findings = check(&CheckInput { configuration: &configuration, kernels: &kernels, names, objects }, &sources);
    let kernels = kernels.iter().map(|kernel| KernelReport::of(kernel, &configuration)).collect();
    ConfigurationReport { sources, configuration, findings, kernels, tried_unit: None }
}

/// Returns the names of the fixtures in a folder, each of which must have a snapshot `NAME.snap`, and no snapshot must be
/// without its fixture.
pub(crate) fn fixtures(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let (snapshots, fixtures): (BTreeSet<String>, BTreeSet<String>) = names.partition(|name| name.contains(".snap"));
    let expected: BTreeSet<String> = fixtures.iter().map(|name| format!("{name}.snap")).collect();
    assert!(!fixtures.is_empty(), "{}", folder.display());
    if std::env::var("INSTA_UPDATE").as_deref() == Ok("no") {
        assert_eq!(snapshots, expected);
    }
    fixtures
}

/// Compares a text with the snapshot of a fixture.
pub(crate) fn assert_snapshot(folder: &Path, name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_input_file(folder.join(name));
    settings.bind(|| insta::assert_snapshot!(name, text));
}
