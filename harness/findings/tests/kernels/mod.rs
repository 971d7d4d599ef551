//! Kernels by their committed vocabularies, and configurations judged for them.

use harness_findings::{
    input::{CheckInput, KernelFacts, Origin},
    judge,
    report::{ConfigurationReport, KernelReport},
};
use harness_frontend::{Frontend, Names, Sources, SystemdRelease};
use harness_uapi::vocabulary::{KnownNames, Vocabulary};

const VOCABULARIES: [(&str, &str); 3] = [
    ("6.1-debian", include_str!("../../../../kernels/vocabulary/6.1-debian.json")),
    ("6.12", include_str!("../../../../kernels/vocabulary/6.12.json")),
    ("7.3", include_str!("../../../../kernels/vocabulary/7.3.json")),
];

fn kernel(name: &str) -> KernelFacts {
    let (_, text) = VOCABULARIES.into_iter().find(|(known, _)| *known == name).unwrap();
    let vocabulary: Vocabulary = serde_json::from_str(text).unwrap();
    let origin = if name.contains("debian") { Origin::Debian } else { Origin::Built };
    KernelFacts { name: name.parse().unwrap(), release: name.parse().unwrap(), vocabulary, origin }
}

/// What is found in the one configuration of a text.
pub(crate) fn judged(label: &str, text: &str, kernels: &[&str]) -> ConfigurationReport {
    let known = KnownNames::from_json(VOCABULARIES).unwrap();
    let names = Names::new(&known, SystemdRelease::V262);
    let sources = Sources::of(label, text.as_bytes()).unwrap();
    let frontend = Frontend::detect(sources.get(0)).unwrap();
    let [configuration] = harness_frontend::read(frontend, &sources, &names).unwrap().try_into().unwrap();
    let kernels: Vec<KernelFacts> = kernels.iter().map(|name| kernel(name)).collect();
    let findings =
        judge(&CheckInput { configuration: &configuration, kernels: &kernels, names, objects: &[] }, &sources);
    let kernels = kernels.iter().map(|kernel| KernelReport::of(kernel, &configuration)).collect();
    ConfigurationReport { sources, configuration, findings, kernels, rehearsed: None }
}
