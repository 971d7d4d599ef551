//! Mutation testing: finds out which scenarios notice the bug of a mutant.

mod mutation_run;
pub mod page;
pub mod score;

use std::fmt;

use harness_protocol::name::ScenarioName;

pub use mutation_run::{MutationRun, MutationRunError, Subject};

use crate::{
    launch::LaunchError,
    report::{RunStatus, ScenarioResult, Status, counted, difference},
    scenario_runner::RunnerError,
    session::SessionError,
};

/// How a scenario noticed a bug, the strongest evidence last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// The scenario could not be judged.
    Fault,
    /// The VM died or hung.
    Crash,
    /// A verdict differs.
    Verdict,
}

/// A scenario that noticed a bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The scenario.
    pub scenario: ScenarioName,
    /// The kind of evidence.
    pub evidence: Evidence,
    /// The first difference, in a line or two.
    pub first: String,
}

/// The result for a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detection {
    /// Scenarios noticed the bug.
    Noticed(Vec<Notice>),
    /// The mutant does not boot, which cannot go unnoticed; no scenario was needed.
    NoBoot(String),
    /// The mutant does not compile, which says nothing about the scenarios.
    NoKernel(String),
    /// No scenario noticed the bug.
    Survived,
}

impl Detection {
    /// Derives the result for a mutant from the results of its scenarios.
    ///
    /// # Errors
    /// An error of the host, from which nothing follows.
    pub fn of(results: Result<Vec<ScenarioResult>, RunnerError>) -> Result<Self, RunnerError> {
        match results {
            Ok(results) => {
                let notices = notices(&results);
                Ok(if notices.is_empty() { Self::Survived } else { Self::Noticed(notices) })
            }
            Err(RunnerError::Launch(LaunchError::Session {
                source: SessionError::NothingStarted { how, .. }, ..
            })) => Ok(Self::NoBoot(how)),
            Err(other) => Err(other),
        }
    }

    /// Returns the scenarios that noticed the bug.
    pub fn notices(&self) -> &[Notice] {
        match self {
            Self::Noticed(notices) => notices,
            Self::NoBoot(_) | Self::NoKernel(_) | Self::Survived => &[],
        }
    }
}

impl fmt::Display for Detection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Noticed(notices) if notices.iter().all(|notice| notice.evidence != Evidence::Verdict) => {
                write!(f, "noticed by {}, but not by a verdict", counted(notices.len(), "scenario"))
            }
            Self::Noticed(notices) => write!(f, "noticed by {}", counted(notices.len(), "scenario")),
            Self::NoBoot(how) => write!(f, "does not boot: {how}"),
            Self::NoKernel(how) => write!(f, "no kernel: {}", line(how)),
            Self::Survived => f.write_str("SURVIVED"),
        }
    }
}

/// Returns the scenarios that noticed the bug, those with a different verdict first.
fn notices(results: &[ScenarioResult]) -> Vec<Notice> {
    let mut notices: Vec<Notice> = results.iter().filter_map(notice).collect();
    notices.sort_by_key(|notice| std::cmp::Reverse(notice.evidence));
    notices
}

fn notice(result: &ScenarioResult) -> Option<Notice> {
    if result.run_status() == RunStatus::AsRecorded {
        return None;
    }
    let (evidence, first) = match &result.status {
        Status::Skipped { .. } => return None,
        Status::Fault { message } => (Evidence::Fault, line(message)),
        Status::NotRun { cause } => (Evidence::Fault, line(cause)),
        Status::Judged { judgement, comparison } => {
            let changed = first_difference(comparison.recorded().unwrap_or_default(), comparison.now());
            match (&judgement.crash, changed, judgement.new_splats().next()) {
                (Some(crash), ..) => (Evidence::Crash, line(&crash.how)),
                (None, Some(changed), _) => (Evidence::Verdict, changed),
                (None, None, Some(splat)) => (Evidence::Crash, splat.text.clone()),
                (None, None, None) => {
                    (Evidence::Verdict, result.complaints().first().map(|text| line(text)).unwrap_or_default())
                }
            }
        }
    };
    Some(Notice { scenario: result.scenario.clone(), evidence, first })
}

fn line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Returns the first removed and the first added line.
fn first_difference(recorded: &str, now: &str) -> Option<String> {
    let text = difference(recorded, now);
    let first = |sign: char| text.lines().find(|line| line.starts_with(sign));
    let lines: Vec<&str> = [first('-'), first('+')].into_iter().flatten().collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use harness_protocol::{errno::Errno, name::Environment};
    use harness_scenario::{expect::Expect, layout::AttemptRole};
    use harness_snapshot::render;
    use harness_verdict::{
        judgement::{Case, Crash, Judgement, Row},
        verdict::{Refusal, Verdict},
    };

    use super::*;

    const DENIED: Verdict = Verdict::Denied(Refusal { errno: Errno::EPERM, step: None });

    fn judgement(verdict: Verdict, crash: Option<Crash>) -> Judgement {
        let [text, op, container] = ["x", "map_create", "container"].map(str::to_owned);
        let expect = Some(Expect::Denied);
        let row = Row {
            text,
            op,
            container,
            expect,
            verdict,
            cause: None,
            part: AttemptRole::Line,
            steps: Vec::new(),
            guard: Vec::new(),
        };
        let case = Case {
            label: String::new(),
            mounted: vec![],
            disagreements: vec![],
            units: vec![],
            tokens: vec![],
            rows: vec![row],
        };
        Judgement {
            scenario: "a/b".parse().unwrap(),
            grid: None,
            helpers: None,
            cases: vec![case],
            crash,
            splats: vec![],
        }
    }

    fn result(status: Status) -> ScenarioResult {
        let environment = Environment { kernel: "6.12".parse().unwrap(), image: "minimal".parse().unwrap() };
        ScenarioResult { environment, scenario: "a/b".parse().unwrap(), summary: String::new(), took: None, status }
    }

    fn judged(verdict: Verdict, crash: Option<Crash>) -> ScenarioResult {
        let recorded = Some(render::render(&judgement(DENIED, None)));
        result(Status::judged(judgement(verdict, crash), recorded))
    }

    fn crash() -> Option<Crash> {
        Some(Crash { how: "the kernel panicked".into(), console: vec![] })
    }

    fn fault() -> ScenarioResult {
        result(Status::Fault { message: "no bpffs\nat all".into() })
    }

    #[test]
    fn a_bug_that_changes_nothing_survives() {
        let skipped = result(Status::Skipped { reason: "too old".into() });
        assert_eq!(Detection::of(Ok(vec![judged(DENIED, None), skipped])).unwrap(), Detection::Survived);
        assert_eq!(Detection::Survived.to_string(), "SURVIVED");
    }

    #[test]
    fn kinds_of_evidence_are_distinguished_and_verdicts_come_first() {
        let allowed = Verdict::Allowed { detail: None };
        let results = vec![fault(), judged(DENIED, crash()), judged(allowed, None)];
        let detection = Detection::of(Ok(results)).unwrap();
        let evidence: Vec<Evidence> = detection.notices().iter().map(|notice| notice.evidence).collect();
        assert_eq!(evidence, [Evidence::Verdict, Evidence::Crash, Evidence::Fault]);
        insta::assert_snapshot!(detection.notices()[0].first, @"
        -1  x  denied EPERM
        +1  x  allowed
        ");
        assert_eq!(detection.notices()[2].first, "no bpffs");
        assert_eq!(detection.to_string(), "noticed by 3 scenarios");
    }

    #[test]
    fn a_bug_noticed_only_by_a_fault_is_marked() {
        let detection = Detection::of(Ok(vec![fault()])).unwrap();
        assert_eq!(detection.to_string(), "noticed by 1 scenario, but not by a verdict");
    }

    #[test]
    fn a_kernel_that_does_not_boot_is_noticed_and_a_failing_host_is_an_error() {
        let session = |source| RunnerError::Launch(LaunchError::Session { kernel: "6.12".into(), source });
        let silent = SessionError::NothingStarted { how: "it hung".into(), console: vec![] };
        assert_eq!(Detection::of(Err(session(silent))).unwrap(), Detection::NoBoot("it hung".into()));
        assert!(Detection::of(Err(session(SessionError::Refused("no".into())))).is_err());
        let (kernel, needs_mib, free_mib) = ("6.12".parse().unwrap(), 768, 512);
        let full = LaunchError::Memory { kernel, needs_mib, free_mib };
        assert!(Detection::of(Err(RunnerError::Launch(full))).is_err());
    }
}
