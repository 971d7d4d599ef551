//! Results for KernelCI's database: one document of KCIDB's schema 5.3, with a build per kernel and a test per scenario
//! (<https://github.com/kernelci/kcidb-io>).
//!
//! Nothing is sent: `kcidb-submit`, or `curl` with a token, does that.

use harness_builder::digest::Sha256;
use serde::Serialize;

use super::{EnvironmentLabel, HARNESS, Mark, Results, ScenarioResult, guest_text::harmless, json_lines};

/// The most characters of an excerpt (`maxLength` of `log_excerpt`).
const LONGEST_EXCERPT: usize = 16_384;

/// The system that the results are from, as KernelCI knows it: lower-case letters, digits and `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

/// Why a text is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot be an origin of KernelCI; use lower-case letters, digits and `_`")]
pub struct BadOrigin(String);

impl std::str::FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let is_origin = !text.is_empty() && text.bytes().all(good);
        if is_origin { Ok(Self(text.to_owned())) } else { Err(BadOrigin(text.to_owned())) }
    }
}

#[derive(Serialize)]
struct Document<'a> {
    version: Version,
    checkouts: Vec<Checkout<'a>>,
    builds: Vec<Build<'a>>,
    tests: Vec<Test<'a>>,
}

#[derive(Serialize)]
struct Version {
    major: u32,
    minor: u32,
}

#[derive(Serialize)]
struct Checkout<'a> {
    id: String,
    origin: &'a str,
    comment: String,
}

#[derive(Serialize)]
struct Build<'a> {
    checkout_id: String,
    id: String,
    origin: &'a str,
    comment: String,
    architecture: &'static str,
    config_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
}

#[derive(Serialize)]
struct Test<'a> {
    build_id: String,
    id: String,
    origin: &'a str,
    path: String,
    comment: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_excerpt: Option<String>,
    misc: Misc<'a>,
}

#[derive(Serialize)]
struct Misc<'a> {
    image: &'a str,
    harness: &'a str,
    mark: &'static str,
}

/// Returns the results as a document of KCIDB. The same results have the same identifiers, so that sending them twice adds
/// nothing.
///
/// # Errors
/// If the results cannot be serialized.
pub fn kcidb(results: &Results, origin: &Origin) -> Result<String, serde_json::Error> {
    let run = Sha256::of_parts([json_lines(results)?.as_bytes()]).short();
    let origin = origin.0.as_str();
    let id = |label: &EnvironmentLabel| format!("{origin}:{run}-{}", label.environment);
    let checkout = |label: &EnvironmentLabel| Checkout { id: id(label), origin, comment: comment(label) };
    let build = |label: &EnvironmentLabel| Build {
        checkout_id: id(label),
        id: id(label),
        origin,
        comment: comment(label),
        architecture: std::env::consts::ARCH,
        config_name: label.environment.kernel.to_string(),
        status: label.release.is_some().then_some("PASS"),
    };
    let tests = results.environments.iter().flat_map(|label| {
        let build = id(label);
        results.of(label).map(move |result| test(result, &build, origin))
    });
    let document = Document {
        version: Version { major: 5, minor: 3 },
        checkouts: results.environments.iter().map(checkout).collect(),
        builds: results.environments.iter().map(build).collect(),
        tests: tests.collect(),
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn comment(label: &EnvironmentLabel) -> String {
    let release = label.release.as_deref().unwrap_or("never ran");
    harmless(&format!("kernel {} ({release})", label.environment.kernel))
}

fn test<'a>(result: &'a ScenarioResult, build: &str, origin: &'a str) -> Test<'a> {
    let mark = Mark::of(result);
    let complaints = result.complaints().join("\n");
    let excerpt: String = complaints.chars().take(LONGEST_EXCERPT).collect();
    Test {
        build_id: build.to_owned(),
        id: format!("{build}/{}", result.scenario),
        origin,
        path: path(result.scenario.as_str()),
        comment: harmless(&result.summary),
        status: match mark {
            Mark::AsRecorded => "PASS",
            Mark::Skipped => "SKIP",
            Mark::Differs | Mark::Splat | Mark::Crashed => "FAIL",
            Mark::NotRun => "MISS",
            Mark::Fault => "ERROR",
        },
        duration: result.took.map(|took| took.as_secs_f64()),
        log_excerpt: (!excerpt.is_empty()).then_some(excerpt),
        misc: Misc { image: result.environment.image.as_str(), harness: HARNESS, mark: mark.as_str() },
    }
}

/// Returns the path in KCIDB's tree of tests: words of letters, digits, `-` and `_`, separated by dots.
fn path(scenario: &str) -> String {
    let word = |word: &str| -> String {
        word.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
    };
    let words: Vec<String> = std::iter::once("bpf-token").chain(scenario.split('/')).map(word).collect();
    words.join(".")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::sample;

    fn document() -> Value {
        let mut results = sample::results();
        results.results.push(sample::not_run("7.3", "vm/none"));
        serde_json::from_str(&kcidb(&results, &"bpf_token".parse().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn every_scenario_is_a_test_of_its_kernel() {
        let document = document();
        let builds: Vec<&str> =
            document["builds"].as_array().unwrap().iter().map(|build| build["id"].as_str().unwrap()).collect();
        assert_eq!((builds.len(), document["checkouts"].as_array().unwrap().len()), (2, 2));
        let tests: Vec<String> = document["tests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|test| {
                let kernel = builds.iter().position(|build| test["build_id"] == **build).unwrap();
                format!("{kernel} {} {}", test["path"].as_str().unwrap(), test["status"].as_str().unwrap())
            })
            .collect();
        insta::assert_snapshot!(tests.join("\n"), @r"
        0 bpf-token.maps.one PASS
        0 bpf-token.token.new SKIP
        0 bpf-token.vm.broken ERROR
        0 bpf-token.vm.killer PASS
        1 bpf-token.maps.one PASS
        1 bpf-token.token.new FAIL
        1 bpf-token.vm.broken ERROR
        1 bpf-token.vm.killer FAIL
        1 bpf-token.vm.none MISS
        ");
    }

    #[test]
    fn what_guests_wrote_stays_within_the_schema() {
        let document = document();
        let text = document.to_string();
        assert!(!text.contains("\\u0000") && !text.contains("\\u001b"), "{text}");
        let long = sample::fault("6.12", "a/b", &"x".repeat(100_000));
        let results = Results { results: vec![long], ..sample::results() };
        let document: Value = serde_json::from_str(&kcidb(&results, &"a".parse().unwrap()).unwrap()).unwrap();
        assert_eq!(document["tests"][0]["log_excerpt"].as_str().unwrap().chars().count(), LONGEST_EXCERPT);
    }

    #[test]
    fn the_same_results_have_the_same_identifiers() {
        assert_eq!(document(), document());
        assert!("Bad origin".parse::<Origin>().is_err() && "".parse::<Origin>().is_err());
    }
}
