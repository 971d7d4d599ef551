//! Results for programs, as JSON lines.

mod line;

use std::fmt::Write;

use harness_protocol::name::Environment;
use harness_scenario::{
    layout::{AttemptRole, SweepLayout},
    schema,
};
use harness_verdict::{
    judgement::{Crash, JudgedSplat, Judgement, Row},
    verdict::Class,
};
use rayon::prelude::*;

use super::{
    Comparison, Counts, Failure, HARNESS, Mark, Results, ScenarioResult, Status, difference,
    guest_text::is_invisible_control, numbered, problem_lines,
};
use crate::guard::RunGuard;
use line::{Attempts, JudgedStatus, Kernel, Line, Record, ReplacedPin, Step};

/// The format's version. Raised when a key or a kind is removed or changes its meaning, but not when one is added.
pub const FORMAT: u32 = 3;

/// Returns the JSON Schema of a line, derived from the types.
pub fn results_schema() -> serde_json::Value {
    schema::settings().for_serialize().into_generator().into_root_schema_for::<Line<'static>>().to_value()
}

/// Returns the results as JSON lines: a start line, one line per attempt, one line per scenario and environment, and an
/// end line.
///
/// # Errors
/// If a line cannot be serialized.
pub fn json_lines(results: &Results) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    let kernels = results.kernels().into_iter().map(|(name, release)| Kernel { name, release }).collect();
    let replaced = results.replaced().into_iter().map(|(of, pin)| ReplacedPin {
        of,
        package: &pin.package,
        pinned: pin.pinned.as_deref(),
        used: pin.used.as_deref(),
    });
    let (images, replaced) = (results.images(), replaced.collect());
    let guard = results.guard.map(RunGuard::as_str);
    push(&mut text, &Line::Start { format: FORMAT, harness: HARNESS, images, kernels, guard, replaced })?;
    let lines: Vec<String> = results.results.par_iter().map(lines_of).collect::<Result<_, _>>()?;
    text.extend(lines);
    for failure in results.compared.iter().flatten() {
        let Failure { standing, kernel, image, scenario, what } = failure;
        push(&mut text, &Line::Baseline { kernel, image, scenario, group: *standing, what })?;
    }
    push(&mut text, &end(results.counts(), results.retried_vms))?;
    Ok(text)
}

/// Returns the lines of a scenario in an environment.
fn lines_of(result: &ScenarioResult) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    if let Status::Judged { judgement, .. } = &result.status {
        for (case, number, row) in numbered(judgement) {
            push(&mut text, &attempt(result, judgement.grid.as_deref(), (case, number), row))?;
        }
        for judged in &judgement.splats {
            push(&mut text, &splat(result, judged))?;
        }
    }
    push(&mut text, &status(result))?;
    Ok(text)
}

fn attempt<'a>(
    result: &'a ScenarioResult,
    grid: Option<&'a SweepLayout>,
    (case, attempt): (&'a str, usize),
    row: &'a Row,
) -> Line<'a> {
    let cell = cell(grid, row.part);
    Line::Attempt {
        kernel: &result.environment.kernel,
        image: &result.environment.image,
        scenario: &result.scenario,
        case,
        container: &row.container,
        attempt,
        op: &row.op,
        text: &row.text,
        verdict: row.verdict.class(),
        errno: row.verdict.errno().map(|errno| errno.to_string()),
        detail: row.verdict.detail(),
        cause: row.cause.as_ref().map(ToString::to_string),
        row: cell.map(|(row, _)| row),
        arm: cell.map(|(_, arm)| arm),
        expect: row.expect,
        matches: row.matches(),
        steps: row.steps.iter().map(|step| Step { text: &step.text, result: step.result.to_string() }).collect(),
        guard: &row.guard,
    }
}

fn splat<'a>(result: &'a ScenarioResult, judged: &'a JudgedSplat) -> Line<'a> {
    Line::Splat {
        kernel: &result.environment.kernel,
        image: &result.environment.image,
        scenario: &result.scenario,
        text: &judged.splat.text,
        lines: &judged.splat.lines,
        allowed: judged.allowed.as_deref(),
    }
}

/// Returns the names of a cell's row and column.
fn cell(grid: Option<&SweepLayout>, part: AttemptRole) -> Option<(&str, &str)> {
    let (grid, AttemptRole::Cell { row, column }) = (grid?, part) else { return None };
    Some((grid.rows.get(row)?, &grid.columns.get(column)?.name))
}

fn status(result: &ScenarioResult) -> Line<'_> {
    let ScenarioResult { environment: Environment { kernel, image }, scenario, summary, .. } = result;
    match &result.status {
        Status::Skipped { reason } => Line::Skipped { kernel, image, scenario, summary, reason },
        Status::Fault { message } => Line::Fault { kernel, image, scenario, summary, message },
        Status::NotRun { cause } => Line::NotRun { kernel, image, scenario, summary, cause },
        Status::Judged { judgement, comparison } => match &judgement.crash {
            Some(Crash { how, console }) => Line::Crash { kernel, image, scenario, summary, how, console },
            None => judged(result, judgement, comparison),
        },
    }
}

fn judged<'a>(result: &'a ScenarioResult, judgement: &Judgement, comparison: &Comparison) -> Line<'a> {
    let record = match comparison.recorded() {
        None => Record::None,
        Some(_) if comparison.is_same() => Record::Same,
        Some(_) => Record::Other,
    };
    Line::Judged {
        kernel: &result.environment.kernel,
        image: &result.environment.image,
        scenario: &result.scenario,
        summary: &result.summary,
        status: match Mark::of(result) {
            Mark::AsRecorded => JudgedStatus::AsRecorded,
            Mark::Splat => JudgedStatus::Splat,
            _ => JudgedStatus::Differs,
        },
        // Exactly the microseconds that the guest recorded, without the rounding error of a sum of floats.
        seconds: result.took.map(|took| took.as_micros() as f64 / 1e6),
        problems: problem_lines(judgement),
        difference: comparison
            .recorded()
            .filter(|_| matches!(record, Record::Other))
            .map(|text| difference(text, comparison.now())),
        record,
    }
}

fn end(counts: Counts, retried_vms: u64) -> Line<'static> {
    let of = |class: Class| counts.attempts[class as usize];
    Line::End {
        judged: counts.judged,
        differing: counts.differing,
        splats: counts.splats,
        skipped: counts.skipped,
        faults: counts.faults,
        not_run: counts.not_run,
        retried_vms,
        attempts: Attempts {
            allowed: of(Class::Allowed),
            denied: of(Class::Denied),
            unsupported: of(Class::Unsupported),
            malformed: of(Class::Malformed),
            not_made: of(Class::NotMade),
            crashed: of(Class::Crashed),
        },
    }
}

/// Adds a line. Terminal control characters and the prefix of GitHub's older commands are written as JSON escapes, so
/// that the value stays the same.
fn push(text: &mut String, line: &Line<'_>) -> Result<(), serde_json::Error> {
    for c in serde_json::to_string(line)?.replace("##[", "#\\u0023[").chars() {
        if c.is_control() || is_invisible_control(c) {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::report::{Baseline, EnvironmentLabel, sample};

    fn lines() -> Vec<Value> {
        let mut results = sample::results();
        results.results.push(sample::not_run("7.3", "vm/none"));
        results.results.extend(sample::splats().results);
        let empty = Baseline::read(&json_lines(&Results { results: vec![], ..results.clone() }).unwrap()).unwrap();
        results.compared = Some(Baseline::compare(&empty, &Baseline::read(&json_lines(&results).unwrap()).unwrap()));
        json_lines(&results).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns the schema without additional properties, so that a line cannot have an undocumented key.
    fn closed() -> Value {
        let mut schema = results_schema();
        let close = |part: &mut Value| {
            if part["properties"].is_object() {
                part["additionalProperties"] = false.into();
            }
        };
        schema["oneOf"].as_array_mut().unwrap().iter_mut().for_each(close);
        schema["$defs"].as_object_mut().unwrap().values_mut().for_each(close);
        schema
    }

    #[test]
    fn lines_of_every_kind_match_the_schema() {
        let schema = closed();
        jsonschema::meta::validate(&schema).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let lines = lines();
        for line in &lines {
            let errors: Vec<String> = validator.iter_errors(line).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{line}: {errors:?}");
        }
        for kind in schema["oneOf"].as_array().unwrap() {
            let kind = &kind["properties"]["kind"]["const"];
            let line = lines.iter().find(|line| line["kind"] == *kind).unwrap_or_else(|| panic!("no line is {kind}"));
            for key in line.as_object().unwrap().keys().filter(|key| !is_optional(&schema, kind, key)) {
                let mut less = line.clone();
                less.as_object_mut().unwrap().remove(key);
                assert!(!validator.is_valid(&less), "{kind} without {key}");
            }
            let mut more = line.clone();
            more["unheard_of"] = 1.into();
            assert!(!validator.is_valid(&more), "{more}");
        }
    }

    fn is_optional(schema: &Value, kind: &Value, key: &str) -> bool {
        let part = schema["oneOf"].as_array().unwrap().iter().find(|part| part["properties"]["kind"]["const"] == *kind);
        !part.unwrap()["required"].as_array().unwrap().iter().any(|required| required == key)
    }

    #[test]
    fn each_scenario_has_one_final_line_per_kernel() {
        let lines = lines();
        assert_eq!((&lines[0]["kind"], &lines[0]["format"]), (&"start".into(), &FORMAT.into()));
        assert_eq!(lines[0]["kernels"][0]["release"], "6.12.107");
        let last = lines.last().unwrap();
        assert_eq!((&last["kind"], &last["judged"], &last["differing"]), (&"end".into(), &7.into(), &3.into()));
        assert_eq!((&last["skipped"], &last["faults"], &last["attempts"]["denied"]), (&1.into(), &2.into(), &3.into()));
        let kinds = |kernel: &str, scenario: &str| -> Vec<&str> {
            let of = lines.iter().filter(|line| line["kernel"] == kernel && line["scenario"] == scenario);
            let of = of.filter(|line| line["kind"] != "baseline");
            of.map(|line| line["kind"].as_str().unwrap()).collect()
        };
        assert_eq!(kinds("6.12", "maps/one"), ["attempt", "attempt", "judged"]);
        assert_eq!(kinds("6.12", "token/new"), ["skipped"]);
        assert_eq!(kinds("7.3", "vm/broken"), ["fault"]);
        assert_eq!(kinds("7.3", "vm/killer"), ["attempt", "crash"]);
    }

    #[test]
    fn every_line_of_a_scenario_names_its_kernel_and_image() {
        let text = json_lines(&sample::two_images()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["images"], serde_json::json!(["minimal", "systemd-262"]));
        assert_eq!(lines[0]["kernels"].as_array().unwrap().len(), 1);
        let scenarios = lines.iter().filter(|line| line["scenario"].is_string());
        assert!(scenarios.clone().all(|line| line["kernel"] == "6.12" && line["image"].is_string()), "{text}");
        assert_eq!(scenarios.filter(|line| line["image"] == "systemd-262").count(), 3);
    }

    #[test]
    fn matches_is_about_expectations_and_record_about_the_snapshot() {
        let lines = lines();
        let of = |kind: &'static str| lines.iter().filter(move |line| line["kind"] == kind && line["kernel"] == "7.3");
        let changed: Vec<bool> = of("attempt")
            .filter(|line| line["scenario"] == "token/new")
            .map(|line| line["matches"].as_bool().unwrap())
            .collect();
        assert_eq!(changed, [true, true]);
        let judged = of("judged").find(|line| line["scenario"] == "token/new").unwrap();
        assert_eq!((&judged["standing"], &judged["record"]), (&"differs".into(), &"other".into()));
        insta::assert_snapshot!(judged["difference"].as_str().unwrap(), @"
        @@ -1,2 +1,4 @@
        + [31mred 2J   ::error file=x::owned   ::add-mask::a # #[group]x not ok 99 owned 1..7 ]]></failure><script>&amp; ``` | a | b | # Heading <img src=x>��
         1  one  allowed
        -2  two  denied EPERM
        +2  two  allowed:  [31mred 2J   ::error file=x::owned   ::add-mask::a # #[group]x not ok 99 owned 1..7 ]]></failure><script>&amp; ``` | a | b | # Heading <img src=x>��
        +      [31mred 2J   ::error file=x::owned   ::add-mask::a # #[group]x not ok 99 owned 1..7 ]]></failure><script>&amp; ``` | a | b | # Heading <img src=x>��  lost
        ");
        let killed = of("attempt").find(|line| line["scenario"] == "vm/killer").unwrap();
        assert_eq!((&killed["matches"], &killed["verdict"]), (&false.into(), &"crashed".into()));
    }

    #[test]
    fn the_lines_of_every_kind() {
        let mut results = sample::results();
        results.results.push(sample::not_run("7.3", "vm/none"));
        insta::assert_snapshot!("json_lines", json_lines(&results).unwrap().replace(HARNESS, "VERSION"));
    }

    #[test]
    fn guest_text_is_preserved_and_cannot_issue_a_command() {
        let text = json_lines(&sample::results()).unwrap();
        assert!(!text.contains(|c: char| (c.is_control() && c != '\n') || is_invisible_control(c)), "{text:?}");
        assert!(!text.contains("##[") && text.lines().all(|line| line.starts_with('{')), "{text}");
        let fault = lines().into_iter().find(|line| line["kind"] == "fault").unwrap();
        assert_eq!(fault["message"], sample::HOSTILE);
    }

    #[test]
    fn a_kernel_without_results_is_named() {
        let label =
            EnvironmentLabel { environment: sample::environment("7.3"), release: None, replaced: Default::default() };
        let results = Results { environments: vec![label], results: vec![], ..Results::default() };
        let text = json_lines(&results).unwrap();
        insta::assert_snapshot!(text.replace(HARNESS, "VERSION"), @r#"
        {"kind":"start","format":3,"harness":"VERSION","images":["minimal"],"kernels":[{"name":"7.3"}]}
        {"kind":"end","judged":0,"differing":0,"splats":0,"skipped":0,"faults":0,"not_run":0,"retried_vms":0,"attempts":{"allowed":0,"denied":0,"unsupported":0,"malformed":0,"not_made":0,"crashed":0}}
        "#);
    }
}
