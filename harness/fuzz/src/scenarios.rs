//! Scenarios, and what a guest says about them.

use std::sync::OnceLock;

use harness_planner::{
    check::check,
    expand::{self, Expansion},
};
use harness_protocol::{
    outcome::{Event, Record, ScenarioOutcome},
    plan::{ExpectedKernel, FORMAT, Plan},
};
use harness_scenario::{expanded::Expanded, file};
use harness_snapshot::render::render;
use harness_uapi::{configuration::Configuration, resolver::KernelProfile, vocabulary::Vocabulary};

use crate::known;

/// The scenario that the seeds of `record` and `outcome` are about.
const SCENARIO: &str = include_str!("../data/scenario.toml");

fn vocabulary() -> &'static Vocabulary {
    static VOCABULARY: OnceLock<Vocabulary> = OnceLock::new();
    let text = include_str!("../../../kernels/vocabulary/7.3.json");
    VOCABULARY.get_or_init(|| serde_json::from_str(text).expect("it is committed"))
}

/// Reads a scenario up to its plan; every problem must have a position in the file.
pub fn expand(bytes: &[u8]) -> Option<Expanded> {
    let read = || {
        let scenario = file::parse_bytes("x.toml", "a/b".parse().expect("it is a name"), bytes)?;
        let checked = check(&scenario, known())?;
        let (name, release) = ("7.3".parse().expect("it is a name"), "7.3".parse().expect("it is a release"));
        let (image, configuration) = ("minimal".parse().expect("it is a name"), Configuration::default());
        let (image, configuration, vocabulary) = (&image, &configuration, vocabulary());
        expand::expand(&checked, KernelProfile { name: &name, image, release, vocabulary, configuration })
    };
    match read() {
        Ok(Expansion::Run(expanded)) => Some(*expanded),
        Ok(Expansion::Skipped { reason }) => {
            assert!(!reason.is_empty());
            None
        }
        Err(report) => {
            assert!(!report.problems().is_empty());
            report.problems().iter().for_each(|problem| assert!(report.position(problem).0 >= 1));
            assert!(!report.to_string().is_empty());
            None
        }
    }
}

/// The scenario of `data/`, expanded.
pub fn scenario() -> &'static Expanded {
    static EXPANDED: OnceLock<Expanded> = OnceLock::new();
    EXPANDED.get_or_init(|| expand(SCENARIO.as_bytes()).expect("it is committed"))
}

/// The plan of two such scenarios.
pub fn plan() -> &'static Plan {
    static PLAN: OnceLock<Plan> = OnceLock::new();
    PLAN.get_or_init(|| {
        let first = scenario().plan.clone();
        let second = harness_protocol::plan::Scenario { name: "a/c".parse().expect("it is a name"), ..first.clone() };
        let scenarios = vec![first, second];
        Plan { format: FORMAT, kernel: ExpectedKernel::default(), marks_console: false, guard: None, scenarios }
    })
}

/// The line that a record begins with.
pub fn hello() -> &'static [u8] {
    static HELLO: OnceLock<Vec<u8>> = OnceLock::new();
    HELLO.get_or_init(|| {
        let event = Event::Hello { format: FORMAT, release: "7.3.4".to_owned() };
        let mut line = serde_json::to_vec(&Record { seq: 0, event }).expect("it is JSON");
        line.push(b'\n');
        line
    })
}

/// Judges an outcome of the scenario, and renders the verdicts.
pub fn judge(outcome: &ScenarioOutcome) {
    match harness_verdict::judge::judge(scenario(), outcome, vocabulary()) {
        Ok(judgement) => assert!(render(&judgement).ends_with('\n')),
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
}
