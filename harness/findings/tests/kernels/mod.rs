//! Kernels by their committed vocabularies, and configurations checked for them.

use std::path::Path;

use guard_policy::Policy;
use harness_findings::{
    check, guard,
    input::{CheckInput, KernelFacts, Origin},
    program::ProgramNeeds,
    report::{ConfigurationReport, KernelReport},
};
use harness_fixtures::Fixtures;
use harness_frontend::{Frontend, Names, Sources, SystemdRelease};
use harness_objects::Object;
use harness_uapi::vocabulary::{KnownNames, Vocabulary};

const VOCABULARIES: [(&str, &str); 4] = [
    ("6.1-debian", include_str!("../../../../kernels/vocabulary/6.1-debian.json")),
    ("6.12", include_str!("../../../../kernels/vocabulary/6.12.json")),
    ("6.18-debian", include_str!("../../../../kernels/vocabulary/6.18-debian.json")),
    ("7.3", include_str!("../../../../kernels/vocabulary/7.3.json")),
];

/// What a configuration is checked with.
#[derive(Clone, Copy, Default)]
pub(crate) struct With<'a> {
    pub(crate) objects: &'a [(String, Object)],
    pub(crate) programs: &'a [ProgramNeeds],
    pub(crate) policies: &'a [(String, Policy)],
}

/// Returns the facts about a kernel.
pub(crate) fn kernel(name: &str) -> KernelFacts {
    let (_, text) = VOCABULARIES.into_iter().find(|(known, _)| *known == name).unwrap();
    let vocabulary: Vocabulary = serde_json::from_str(text).unwrap();
    let origin = if name.contains("debian") { Origin::Debian } else { Origin::Built };
    KernelFacts { name: name.parse().unwrap(), release: name.parse().unwrap(), vocabulary, origin }
}

/// Checks the one configuration of a text.
pub(crate) fn checked(label: &str, text: &str, kernels: &[&str]) -> ConfigurationReport {
    checked_with(label, text, kernels, With::default())
}

/// Checks the one configuration of a text, with all that is given.
pub(crate) fn checked_with(label: &str, text: &str, kernels: &[&str], with: With<'_>) -> ConfigurationReport {
    let [report] = all_checked(label, text, kernels, with).try_into().unwrap();
    report
}

/// Checks each configuration of a text, with all that is given.
pub(crate) fn all_checked(label: &str, text: &str, kernels: &[&str], with: With<'_>) -> Vec<ConfigurationReport> {
    let With { objects, programs, policies } = with;
    let known = KnownNames::from_json(VOCABULARIES).unwrap();
    let names = Names::new(&known, SystemdRelease::V262);
    let sources = Sources::of(label, text.as_bytes()).unwrap();
    let kernels: Vec<KernelFacts> = kernels.iter().map(|name| kernel(name)).collect();
    if guard::is_policy(sources.get(0)) {
        let findings = guard::check(&sources, &kernels, objects).unwrap();
        return vec![ConfigurationReport {
            sources,
            configuration: None,
            findings,
            kernels: Vec::new(),
            tried_unit: None,
        }];
    }
    let frontend = Frontend::detect(sources.get(0)).unwrap();
    let report = |configuration| {
        let elsewhere = &[];
        let input = CheckInput {
            configuration: &configuration,
            kernels: &kernels,
            names,
            objects,
            elsewhere,
            programs,
            policies,
        };
        let findings = check(&input, &sources);
        let kernels = kernels.iter().map(|kernel| KernelReport::of(kernel, &configuration)).collect();
        let configuration = Some(configuration);
        ConfigurationReport { sources: sources.clone(), configuration, findings, kernels, tried_unit: None }
    };
    harness_frontend::read(frontend, &sources, &names).unwrap().into_iter().map(report).collect()
}

/// Returns the fixtures in a folder, whose snapshots stand beside them as `NAME.snap`.
pub(crate) fn fixtures(folder: &Path) -> Fixtures {
    harness_fixtures::find(folder, |file| (!file.contains(".snap")).then_some(file))
}
