//! Sample results with every status, with hostile text wherever a guest's text can appear.

use std::time::Duration;

use harness_builder::pins::Repinned;
use harness_protocol::{errno::Errno, name::Environment, outcome::Splat};
use harness_scenario::{expect::Expect, layout::AttemptRole};
use harness_snapshot::render;
use harness_verdict::{
    judgement::{Case, Crash, JudgedSplat, Judgement, Row},
    object::{Step, StepResult},
    reason::Reason,
    verdict::{Refusal, Verdict},
};

use super::{Comparison, EnvironmentLabel, Results, ScenarioResult, Status};
use crate::identity::ReplacedPins;

/// Text with which a guest could attack whatever reads or displays it.
pub(super) const HOSTILE: &str = "\u{1b}[31mred\u{9b}2J\u{0}\r\n::error file=x::owned\n  ::add-mask::a\n##[group]x\n\
    not ok 99 owned\n1..7\n]]></failure><script>&amp;\n```\n| a | b |\n# Heading <img src=x>\u{202e}\u{ffff}";

pub(super) fn row(text: &str, expect: Option<Expect>, verdict: Verdict) -> Row {
    let (op, container, steps) = ("map_create".into(), "container".into(), Vec::new());
    Row {
        text: text.into(),
        op,
        container,
        expect,
        verdict,
        cause: None,
        part: AttemptRole::Line,
        steps,
        guard: Vec::new(),
    }
}

pub(super) fn allowed() -> Verdict {
    Verdict::Allowed { detail: None }
}

pub(super) fn denied() -> Verdict {
    Verdict::Denied(Refusal { errno: Errno::EPERM, step: None })
}

/// Parses an environment: `6.12@systemd-262`; `6.12` has the image `minimal`.
pub(super) fn environment(text: &str) -> Environment {
    let (kernel, image) = text.split_once('@').unwrap_or((text, "minimal"));
    Environment { kernel: kernel.parse().unwrap(), image: image.parse().unwrap() }
}

/// A scenario with these verdicts, which are also recorded.
pub(super) fn as_recorded(kernel: &str, scenario: &str, rows: Vec<Row>) -> ScenarioResult {
    let case =
        Case { label: String::new(), mounted: vec![], disagreements: vec![], units: vec![], tokens: vec![], rows };
    let scenario: harness_protocol::name::ScenarioName = scenario.parse().unwrap();
    let judgement = Judgement {
        scenario: scenario.clone(),
        cases: vec![case],
        grid: None,
        helpers: None,
        crash: None,
        splats: vec![],
    };
    let recorded = Some(render::render(&judgement));
    ScenarioResult {
        environment: environment(kernel),
        scenario,
        summary: "Says | so".to_owned(),
        took: Some(Duration::from_micros(1_234_567)),
        status: Status::judged(judgement, recorded),
    }
}

/// Changes a judgement, which is then compared with its snapshot again.
pub(super) fn change(result: &mut ScenarioResult, change: impl FnOnce(&mut Judgement)) {
    let Status::Judged { judgement, comparison } = &mut result.status else { panic!("not judged") };
    change(judgement);
    **comparison = Comparison::of(judgement, comparison.recorded().map(str::to_owned));
}

fn bare(kernel: &str, scenario: &str, status: Status) -> ScenarioResult {
    ScenarioResult { took: None, status, ..as_recorded(kernel, scenario, vec![]) }
}

pub(super) fn fault(kernel: &str, scenario: &str, message: &str) -> ScenarioResult {
    bare(kernel, scenario, Status::Fault { message: message.to_owned() })
}

pub(super) fn not_run(kernel: &str, scenario: &str) -> ScenarioResult {
    bare(kernel, scenario, Status::NotRun { cause: HOSTILE.into() })
}

/// A scenario whose second verdict differs from its snapshot, with a detail and steps.
pub(super) fn differs(kernel: &str, scenario: &str) -> ScenarioResult {
    let mut result = as_recorded(kernel, scenario, vec![row("one", None, allowed()), row("two", None, denied())]);
    change(&mut result, |judgement| {
        let rows = &mut judgement.cases[0].rows;
        rows[1].verdict = Verdict::Allowed { detail: Some(HOSTILE.to_owned()) };
        rows[1].steps = vec![Step { text: HOSTILE.to_owned(), result: StepResult::Lost, probe: false }];
        judgement.cases[0].disagreements = vec![HOSTILE.to_owned()];
    });
    result
}

fn crashed(kernel: &str, scenario: &str) -> ScenarioResult {
    let mut result = as_recorded(kernel, scenario, vec![row("one", Some(Expect::Denied), Verdict::Crashed)]);
    change(&mut result, |judgement| {
        let console = HOSTILE.lines().map(str::to_owned).collect();
        judgement.crash = Some(Crash { how: format!("the VM died {HOSTILE}"), console });
    });
    ScenarioResult { took: None, ..result }
}

/// A scenario during which the kernel printed a splat, on a kernel where it is not allowed and on one where it is.
pub(super) fn splats() -> Results {
    let splatted = |kernel: &str, allowed: Option<&str>| {
        let mut result = as_recorded(kernel, "vm/splat", vec![row("one", None, self::allowed())]);
        change(&mut result, |judgement| {
            let text = "UBSAN: shift-out-of-bounds in kernel/bpf/inode.c:721:23".to_owned();
            let lines = vec![format!("[    5.1] {text}"), HOSTILE.to_owned()];
            judgement.splats = vec![JudgedSplat { splat: Splat { text, lines }, allowed: allowed.map(str::to_owned) }];
        });
        result
    };
    Results {
        guard: None,
        results: vec![splatted("6.12", None), splatted("7.3", Some("it fails safe"))],
        environments: results().environments,
        ..Results::default()
    }
}

/// Results with every status but "not run", on two kernels.
pub(super) fn results() -> Results {
    let label = |name: &str, release: Option<&str>| EnvironmentLabel {
        environment: environment(name),
        release: release.map(str::to_owned),
        replaced: ReplacedPins::default(),
    };
    let refused = || Row { cause: Some(Reason::NotDelegable), ..row("two", Some(Expect::Denied), denied()) };
    let both = || vec![row("one", None, allowed()), refused()];
    let skipped = Status::Skipped { reason: format!("it is for #1 >=7.0 {HOSTILE}") };
    Results {
        guard: None,
        environments: vec![label("6.12", Some("6.12.107")), label("7.3", None)],
        results: vec![
            as_recorded("6.12", "maps/one", both()),
            as_recorded("7.3", "maps/one", both()),
            bare("6.12", "token/new", skipped),
            differs("7.3", "token/new"),
            fault("6.12", "vm/broken", HOSTILE),
            fault("7.3", "vm/broken", HOSTILE),
            as_recorded("6.12", "vm/killer", both()),
            crashed("7.3", "vm/killer"),
        ],
        ..Results::default()
    }
}

/// Results on one kernel with two images.
pub(super) fn two_images() -> Results {
    let mut results = results();
    results.results.retain(|result| result.environment.kernel.as_str() == "6.12");
    results.results.push(differs("6.12@systemd-262", "vm/killer"));
    results.environments.remove(1);
    let environment = environment("6.12@systemd-262");
    let (release, replaced) = (Some("6.12.107".to_owned()), ReplacedPins::default());
    results.environments.push(EnvironmentLabel { environment, release, replaced });
    results
}

/// Results on one kernel with two images, where the pins of the kernel and of one image have left the mirror.
pub(super) fn replaced_pins() -> Results {
    let repinned = |package: &str, pinned: Option<&str>| Repinned {
        package: package.to_owned(),
        pinned: pinned.map(str::to_owned),
        used: Some("2".to_owned()),
    };
    let mut results = two_images();
    for label in &mut results.environments {
        label.replaced.kernel = vec![repinned("linux-source-6.12", Some("1"))];
    }
    results.environments[1].replaced.image = vec![repinned("libc6", Some("1")), repinned("liba", None)];
    results
}
