//! Scenario results as reports for people and for programs. Each report format is a function of the results.

pub mod again;
mod baseline;
pub mod brief;
mod comparison;
mod counts;
pub mod difference;
mod failure;
mod failure_group;
#[cfg(test)]
mod foreign;
pub mod github;
mod html;
mod json;
mod junit;
mod kcidb;
mod ktap;
mod mark;
mod markdown;
mod naming;
mod omission;
mod reference;
mod results;
#[cfg(test)]
mod sample;
mod table;

use std::{sync::Arc, time::Duration};

use harness_protocol::name::{Environment, ScenarioName};
use harness_scenario::layout::AttemptRole;
use harness_verdict::judgement::{Judgement, Row};
use rayon::prelude::*;

pub use baseline::{BadBaseline, Baseline, baseline_text};
pub use comparison::Comparison;
pub use counts::{Counts, counted};
pub use failure::{Failure, Standing};
use guest_text::harmless;
use harness_page::harmless as guest_text;
pub use html::{Page, html, site};
pub use json::{FORMAT, json_lines, results_schema};
pub use junit::junit;
pub use kcidb::{BadOrigin, Origin, kcidb};
pub use ktap::ktap;
pub use mark::Mark;
pub use markdown::{By, markdown};
pub use naming::Naming;
pub use omission::{Omission, omissions};
pub use reference::keys;
pub use results::{EnvironmentLabel, HARNESS, Results};
pub use table::{blocks, omitted, table};

/// One scenario in one environment, judged and compared with its snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioResult {
    /// The kernel and the image.
    pub environment: Environment,
    /// The scenario's name.
    pub scenario: ScenarioName,
    /// The scenario's summary.
    pub summary: String,
    /// How long it took in the guest; `None` if it did not finish or the time is unknown.
    pub took: Option<Duration>,
    /// The result itself.
    pub status: Status,
}

/// The status of a scenario in an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The scenario is not meant for this environment, or the environment's image can no longer be built.
    Skipped {
        /// The reason.
        reason: String,
    },
    /// No verdict: the scenario could not be carried out. The kernel is not to blame.
    Fault {
        /// The reason.
        message: String,
    },
    /// No verdict: the scenario was not run, because its kernel is unusable or no outcome is stored.
    NotRun {
        /// The reason; scenarios that were not run for the same reason share one value.
        cause: Arc<str>,
    },
    /// Judged.
    Judged {
        /// The verdicts.
        judgement: Judgement,
        /// How they compare with the snapshot that applies to this environment.
        comparison: Box<Comparison>,
    },
}

/// The status of a run, which determines its exit code; the most serious comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunStatus {
    /// Everything is as recorded.
    AsRecorded,
    /// A verdict differs from its snapshot or from what the scenario's author expects.
    Differs,
    /// Something could not be judged.
    Fault,
}

impl Status {
    /// Returns the status of a judgement, compared with the snapshot that applies, if there is one.
    pub fn judged(judgement: Judgement, recorded: Option<String>) -> Self {
        let comparison = Comparison::of(&judgement, recorded).into();
        Self::Judged { judgement, comparison }
    }

    /// Returns whether it is as recorded, differs, or could not be judged.
    pub fn run_status(&self) -> RunStatus {
        match self {
            Self::Skipped { .. } => RunStatus::AsRecorded,
            Self::Fault { .. } | Self::NotRun { .. } => RunStatus::Fault,
            Self::Judged { judgement, comparison } if comparison.is_same() && judgement.is_sound() => {
                RunStatus::AsRecorded
            }
            Self::Judged { .. } => RunStatus::Differs,
        }
    }
}

/// Returns the most serious status of the results that count; `None` if there are none.
pub fn worst(results: &[ScenarioResult], counts: impl Fn(&ScenarioResult) -> bool + Sync) -> Option<RunStatus> {
    results.par_iter().filter(|result| counts(result)).map(ScenarioResult::run_status).max()
}

impl ScenarioResult {
    /// Returns whether it is as recorded, differs, or could not be judged.
    pub fn run_status(&self) -> RunStatus {
        self.status.run_status()
    }

    /// Returns every problem, each as one or more lines. Text that comes from a guest is made safe to print.
    pub fn complaints(&self) -> Vec<String> {
        self.raw_complaints().iter().map(|text| harmless(text)).collect()
    }

    fn raw_complaints(&self) -> Vec<String> {
        match &self.status {
            Status::Skipped { .. } => Vec::new(),
            Status::Fault { message } => vec![message.clone()],
            Status::NotRun { cause } => vec![format!("not run: {cause}")],
            Status::Judged { judgement, comparison } => {
                let mut lines = problem_lines(judgement);
                lines.extend(judgement.new_splats().map(|splat| format!("splat: {}", splat.lines.join("\n"))));
                lines.extend(
                    judgement
                        .crash
                        .iter()
                        .map(|crash| format!("{}; the console's last lines:\n{}", crash.how, crash.console.join("\n"))),
                );
                if judgement.crash.is_none() {
                    lines.extend(record_complaint(comparison));
                }
                lines
            }
        }
    }
}

/// Returns the problems of a judgement that do not depend on the snapshot, one per line.
fn problem_lines(judgement: &Judgement) -> Vec<String> {
    judgement.problems().into_iter().map(|problem| format!("{}: {}", problem.subject, problem.what)).collect()
}

fn record_complaint(comparison: &Comparison) -> Option<String> {
    match comparison.recorded() {
        None => {
            let name = &harness_program::NAME;
            Some(format!("there is no snapshot yet; review the verdicts and accept them with `{name} bless`"))
        }
        Some(_) if comparison.is_same() => None,
        Some(text) => {
            Some(format!("differs from the snapshot (- recorded, + now):\n{}", difference(text, comparison.now())))
        }
    }
}

/// Returns the lines that differ between two texts, with context, safe to print.
pub fn difference(old: &str, new: &str) -> String {
    let lines = |text: &str| text.trim_end().lines().map(|line| format!("{line}\n")).collect::<String>();
    let (old, new) = (lines(old), lines(new));
    let diff = similar::TextDiff::from_lines(&old, &new);
    harmless(&diff.unified_diff().context_radius(2).to_string())
}

/// Returns all attempts that have a verdict, each with the label of its case and its number in the case.
fn numbered(judgement: &Judgement) -> impl Iterator<Item = (&str, usize, &Row)> {
    let all = judgement
        .cases
        .iter()
        .flat_map(|case| case.rows.iter().enumerate().map(move |(index, row)| (case.label.as_str(), index + 1, row)));
    all.filter(|(_, _, row)| row.part != AttemptRole::Preparation)
}

#[cfg(test)]
mod tests {
    use harness_protocol::errno::Errno;
    use harness_scenario::{
        expect::Expect,
        layout::{Column, SweepLayout},
    };
    use harness_snapshot::render;
    use harness_verdict::{
        judgement::Case,
        reason::Reason,
        verdict::{Refusal, Verdict},
    };

    use super::{
        sample::{allowed, denied, row},
        *,
    };

    #[test]
    fn every_form_shows_pins_that_have_left_the_mirror() {
        let results = sample::replaced_pins();
        let json = json_lines(&results).unwrap();
        insta::assert_snapshot!(json.lines().next().unwrap().replace(HARNESS, "VERSION"), @r#"{"kind":"start","format":3,"harness":"VERSION","images":["minimal","systemd-262"],"kernels":[{"name":"6.12","release":"6.12.107"}],"replaced":[{"of":"kernel 6.12","package":"linux-source-6.12","pinned":"1","used":"2"},{"of":"image systemd-262","package":"libc6","pinned":"1","used":"2"},{"of":"image systemd-262","package":"liba","used":"2"}]}"#);
        let texts = [junit(&results).unwrap(), ktap(&results), markdown(&results, By::Folder)];
        let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
        let shown: Vec<&str> = lines.filter(|line| line.contains("libc6") || line.contains("linux-source")).collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        <property name="pin.replaced" value="kernel 6.12: linux-source-6.12 1 -&gt; 2"/>
        <property name="pin.replaced" value="kernel 6.12: linux-source-6.12 1 -&gt; 2"/>
        <property name="pin.replaced" value="image systemd-262: libc6 1 -&gt; 2"/>
        # replaced pin of kernel 6.12: linux-source-6.12 1 -> 2
        # replaced pin of kernel 6.12: linux-source-6.12 1 -> 2
        # replaced pin of image systemd-262: libc6 1 -> 2
        - kernel 6.12: the pin has left the mirror: linux-source-6.12 1 -\> 2
        - image systemd-262: the pin has left the mirror: libc6 1 -\> 2
        "#);
        assert_eq!(results.replaced_pins().len(), 3);
        assert!(sample::results().replaced_pins().is_empty());
    }

    #[test]
    fn a_splat_is_in_every_form_and_fails_unless_it_is_allowed() {
        let results = sample::splats();
        let statuses: Vec<RunStatus> = results.results.iter().map(ScenarioResult::run_status).collect();
        assert_eq!(statuses, [RunStatus::Differs, RunStatus::AsRecorded]);
        insta::assert_snapshot!("splat_in_json", json_lines(&results).unwrap().replace(HARNESS, "VERSION"));
        insta::assert_snapshot!("splat_in_junit", junit(&results).unwrap().replace(HARNESS, "VERSION"));
        insta::assert_snapshot!("splat_in_ktap", ktap(&results));
        insta::assert_snapshot!("splat_in_markdown", markdown(&results, By::Folder));
        insta::assert_snapshot!("splat_in_complaints", results.results[0].complaints().join("\n"));
        insta::assert_snapshot!(results.counts().sentence(), @"2 scenarios judged, 2 attempts: 2 allowed; 1 not as recorded; 1 with a splat");
    }

    fn judgement(rows: Vec<Row>) -> Judgement {
        let case =
            Case { label: String::new(), mounted: vec![], disagreements: vec![], units: vec![], tokens: vec![], rows };
        Judgement {
            scenario: "a/b".parse().unwrap(),
            cases: vec![case],
            grid: None,
            helpers: None,
            crash: None,
            splats: vec![],
        }
    }

    fn result(kernel: &str, judgement: Judgement, recorded: Option<&str>) -> ScenarioResult {
        ScenarioResult {
            environment: sample::environment(kernel),
            scenario: judgement.scenario.clone(),
            summary: "Says so".to_owned(),
            took: None,
            status: Status::judged(judgement, recorded.map(str::to_owned)),
        }
    }

    fn as_recorded(kernel: &str, rows: Vec<Row>) -> ScenarioResult {
        let judgement = judgement(rows);
        let text = render::render(&judgement);
        result(kernel, judgement, Some(&text))
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn kernels_are_columns() {
        let kernels = ["6.12", "7.3"].map(sample::environment);
        let results = [
            as_recorded("6.12", vec![row("map_create hash", None, allowed()), row("map_create array", None, denied())]),
            as_recorded("7.3", vec![row("map_create hash", None, allowed()), row("map_create array", None, allowed())]),
        ];
        let expected = "a/b  Says so\n                    6.12          7.3\n  \
                        map_create hash   allowed       allowed\n  \
                        map_create array  denied EPERM  allowed\n\n";
        assert_eq!(plain(&table(&kernels, &results, None)), expected);
        assert_eq!(results[0].run_status(), RunStatus::AsRecorded);
    }

    #[test]
    fn headings_name_images_if_there_are_several_and_only_environments_that_ran_are_columns() {
        let environments = ["6.12", "7.3", "6.12@systemd-262"].map(sample::environment);
        let rows = |verdict| vec![row("map_create hash", None, verdict)];
        let both = [as_recorded("6.12", rows(allowed())), as_recorded("6.12@systemd-262", rows(denied()))];
        let expected = "a/b  Says so\n                   6.12@minimal  6.12@systemd-262\n  \
                        map_create hash  allowed       denied EPERM\n\n";
        assert_eq!(plain(&table(&environments, &both, None)), expected);
        let one = "a/b  Says so\n                   6.12\n  map_create hash  allowed\n\n";
        assert_eq!(plain(&table(&environments[..2], &both[..1], None)), one);
    }

    #[test]
    fn kernels_are_listed_below_each_other_on_a_narrow_terminal() {
        let kernels = ["6.12", "7.3", "7.4"].map(sample::environment);
        let rows = |verdict| vec![row("map_create hash with many words", None, verdict)];
        let mut results = [
            as_recorded("6.12", rows(denied())),
            as_recorded("7.3", rows(allowed())),
            as_recorded("7.4", rows(denied())),
        ];
        results[0].summary = "A summary of more words than fit beside the name".to_owned();
        let expected = "a/b  A summary of more words than\n    fit beside the name\n  \
                        map_create hash with many words\n      \
                        denied EPERM  6.12 7.4\n      \
                        allowed  7.3\n\n";
        let text = plain(&table(&kernels, &results, Some(34)));
        assert_eq!(text, expected);
        let narrow = plain(&table(&kernels, &results, Some(1)));
        assert!(narrow.lines().all(|line| line.chars().count() <= 36), "{narrow}");
        assert!(narrow.contains("6.12 7.4"), "everything is shown: {narrow}");
    }

    #[test]
    fn a_wrong_permission_differs_even_if_it_is_recorded() {
        let result = as_recorded("6.12", vec![row("map_create hash", Some(Expect::Denied), allowed())]);
        assert_eq!(result.run_status(), RunStatus::Differs);
        assert_eq!(result.complaints(), ["attempt 1 (map_create hash): expected denied, got allowed"]);
    }

    #[test]
    fn an_unexpected_malformed_verdict_differs() {
        let malformed = Verdict::Malformed(Refusal { errno: Errno::EINVAL, step: None });
        let result = as_recorded("6.12", vec![row("x", None, malformed.clone())]);
        assert_eq!(result.run_status(), RunStatus::Differs);
        let meant = as_recorded("6.12", vec![row("x", Some(Expect::Malformed), malformed)]);
        assert_eq!(meant.run_status(), RunStatus::AsRecorded);
    }

    #[test]
    fn a_changed_or_missing_record_differs_and_says_how() {
        let now = || judgement(vec![row("x", None, allowed())]);
        let changed = result("6.12", now(), Some("1  x  denied EPERM\n"));
        assert_eq!(changed.run_status(), RunStatus::Differs);
        insta::assert_snapshot!(changed.complaints().join("\n"), @"
        differs from the snapshot (- recorded, + now):
        @@ -1 +1 @@
        -1  x  denied EPERM
        +1  x  allowed
        ");
        let new = result("6.12", now(), None);
        assert_eq!(new.run_status(), RunStatus::Differs);
        insta::assert_snapshot!(new.complaints().join("\n"), @"there is no snapshot yet; review the verdicts and accept them with `cargo xtask bless`");
    }

    #[test]
    fn a_difference_from_nothing_only_adds() {
        assert_eq!(difference("", "a\n\n"), "@@ -0,0 +1 @@\n+a\n");
        assert_eq!(difference("a\n", "a"), "");
    }

    #[test]
    fn a_fault_is_more_serious_than_a_difference() {
        let status = Status::Fault { message: "no".into() };
        let fault = ScenarioResult { status, ..as_recorded("6.12", vec![]) };
        assert!(fault.run_status() > RunStatus::Differs);
    }

    #[test]
    fn everything_is_counted() {
        let results = [as_recorded("6.12", vec![row("x", None, allowed()), row("y", Some(Expect::Allowed), denied())])];
        let sentence = Counts::of(&results).sentence();
        assert_eq!(sentence, "1 scenario judged, 2 attempts: 1 allowed, 1 denied; 1 not as recorded");
    }

    /// A sweep with a single cell.
    fn swept(verdict: Verdict) -> Judgement {
        let column = Column { name: "no_token".into(), head: "-token".into(), meaning: "no token".into() };
        let (of, rows) = ("map types".to_owned(), vec!["hash".to_owned()]);
        let cause = Some(Reason::NotDelegable).filter(|_| matches!(verdict, Verdict::Denied(_)));
        let cell =
            Row { part: AttemptRole::Cell { row: 0, column: 0 }, cause, ..row("map_create hash", None, verdict) };
        Judgement {
            grid: Some(SweepLayout { of, rows, columns: vec![column], ..SweepLayout::default() }.into()),
            ..judgement(vec![cell])
        }
    }

    #[test]
    fn a_sweep_is_shown_once_where_kernels_answer_the_same() {
        let kernels = ["6.12", "7.3", "7.4"].map(sample::environment);
        let of = |kernel, verdict| {
            let judgement = swept(verdict);
            let text = render::render(&judgement);
            result(kernel, judgement, Some(&text))
        };
        let text = plain(&table(&kernels, &[of("6.12", denied()), of("7.3", denied()), of("7.4", allowed())], None));
        insta::assert_snapshot!(text, @"
        a/b  Says so
          6.12:
          1 map types under 1 circumstances, 1 attempts: 1 denied

          -token  no token
          ok: allowed; errno: denied

                -token
          hash  EPERM

          why denied:
          -token  not delegable: hash
          7.3: as 6.12
          7.4:
          1 map types under 1 circumstances, 1 attempts: 1 allowed

          -token  no token
          ok: allowed; errno: denied

                -token
          hash  ok
        ");
    }

    #[test]
    fn a_cell_is_one_json_object_with_its_row_and_arm() {
        let results = vec![result("6.12", swept(denied()), None)];
        let results = Results { results, ..Results::default() };
        let text = json_lines(&results).unwrap();
        let value: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
        assert_eq!((&value["row"], &value["arm"]), (&"hash".into(), &"no_token".into()));
        assert_eq!((&value["cause"], &value["errno"]), (&"not delegable".into(), &"EPERM".into()));
    }

    #[test]
    fn a_cause_is_shown_beside_its_verdict() {
        let cause = Some(Reason::Missing { gifts: vec!["maps array".into()], obstacles: vec![] });
        let result = as_recorded("6.12", vec![Row { cause, ..row("map_create array", None, denied()) }]);
        let text = plain(&table(&[sample::environment("6.12")], std::slice::from_ref(&result), None));
        insta::assert_snapshot!(text, @"
        a/b  Says so
                            6.12
          map_create array  denied EPERM (lacks maps array)
        ");
        let Status::Judged { comparison, .. } = &result.status else { panic!() };
        assert_eq!(comparison.recorded(), Some("1  map_create array  denied EPERM (lacks maps array)\n"));
    }
}
