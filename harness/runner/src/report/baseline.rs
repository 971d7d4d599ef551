//! Results compared with those of an earlier run: which failures are new, which are mended, and which are still there.
//!
//! Both sides are lines of JSON ([`super::json_lines`]), so that the two are read by the same rule.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use thiserror::Error;

use super::{FORMAT, Failure, Standing, guest_text::one_line};

/// The failures of a run, by kernel, image and scenario; a scenario without failures has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baseline {
    failures: BTreeMap<Place, BTreeSet<String>>,
}

/// A kernel, an image and a scenario.
type Place = (String, String, String);

/// Why a file cannot be compared with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadBaseline {
    /// A line is no line of results.
    #[error("line {line}: {why}; the file must be what `--json FILE` writes")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The first line is of another version.
    #[error(
        "the file has format {found}, and this program reads {FORMAT}; write it again with this program's `report`"
    )]
    Format {
        /// The version in the file.
        found: u64,
    },
    /// The last line is missing.
    #[error("the last line is missing, so that the results are incomplete; write the file again")]
    Incomplete,
}

impl Baseline {
    /// Reads lines of JSON.
    ///
    /// # Errors
    /// [`BadBaseline`] if they are not the complete results of a run.
    pub fn read(text: &str) -> Result<Self, BadBaseline> {
        let mut baseline = Self::default();
        let mut is_complete = false;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let bad = |why: String| BadBaseline::Line { line: index + 1, why };
            let line: Value = serde_json::from_str(line).map_err(|error| bad(error.to_string()))?;
            let kind = line["kind"].as_str().ok_or_else(|| bad("it has no `kind`".to_owned()))?;
            match (index, kind) {
                (0, "start") => match line["format"].as_u64() {
                    Some(found) if found == u64::from(FORMAT) => {}
                    found => return Err(BadBaseline::Format { found: found.unwrap_or_default() }),
                },
                (0, _) => return Err(bad("the first line must be a `start`".to_owned())),
                (_, "end") => is_complete = true,
                _ => baseline.add(kind, &line).map_err(bad)?,
            }
        }
        if is_complete { Ok(baseline) } else { Err(BadBaseline::Incomplete) }
    }

    fn add(&mut self, kind: &str, line: &Value) -> Result<(), String> {
        let text = |key: &str| line[key].as_str().map(str::to_owned).ok_or_else(|| format!("it has no `{key}`"));
        let failures = failures(kind, line);
        if matches!(kind, "judged" | "skipped" | "crash" | "fault" | "not_run" | "splat") {
            let place = (text("kernel")?, text("image")?, text("scenario")?);
            self.failures.entry(place).or_default().extend(failures);
        }
        Ok(())
    }

    /// Compares a run with an earlier one. Scenarios that only the earlier one has are left out.
    pub fn compare(before: &Self, now: &Self) -> Vec<Failure> {
        let none = BTreeSet::new();
        let mut all: Vec<Failure> = Vec::new();
        for (place, failures) in &now.failures {
            let known = before.failures.get(place).unwrap_or(&none);
            let mut add = |standing: Standing, what: &String| {
                let (kernel, image, scenario) = place.clone();
                all.push(Failure { standing, kernel, image, scenario, what: what.clone() });
            };
            failures.difference(known).for_each(|what| add(Standing::New, what));
            failures.intersection(known).for_each(|what| add(Standing::Still, what));
            known.difference(failures).for_each(|what| add(Standing::Mended, what));
        }
        all.sort();
        all
    }
}

/// Returns what is wrong according to a line.
fn failures(kind: &str, line: &Value) -> Vec<String> {
    let text = |key: &str| one_line(line[key].as_str().unwrap_or_default());
    match kind {
        "judged" => {
            let problems = line["problems"].as_array().into_iter().flatten().filter_map(Value::as_str).map(one_line);
            let difference = line["difference"].as_str().unwrap_or_default();
            let missing = (line["record"] == "none").then(|| "no snapshot".to_owned());
            problems.chain(changed_lines(difference)).chain(missing).collect()
        }
        "splat" if line["allowed"].is_null() => vec![format!("splat: {}", text("text"))],
        // How long it took is in the text, and differs from run to run.
        "crash" => vec!["the VM died or hung".to_owned()],
        "fault" => vec![format!("fault: {}", text("message"))],
        "not_run" => vec!["not run".to_owned()],
        _ => Vec::new(),
    }
}

/// Returns the lines that a unified diff adds or removes, without the numbers of attempts, which move.
fn changed_lines(difference: &str) -> impl Iterator<Item = String> {
    difference.lines().filter_map(|line| {
        let sign = line.chars().next().filter(|sign| matches!(sign, '+' | '-'))?;
        let rest = line[1..].trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim();
        let words: Vec<&str> = rest.split_whitespace().collect();
        Some(one_line(&format!("{sign} {}", words.join(" "))))
    })
}

/// Returns the failures by standing, for people; empty if there is none.
pub fn baseline_text(failures: &[Failure]) -> String {
    let mut text = String::new();
    for standing in Standing::ALL {
        let group: Vec<&Failure> = failures.iter().filter(|failure| failure.standing == standing).collect();
        if group.is_empty() {
            continue;
        }
        text.push_str(&format!("{}: {}\n", standing.as_str(), group.len()));
        for failure in group {
            let Failure { kernel, image, scenario, what, .. } = failure;
            text.push_str(&format!("  {scenario} on {kernel}@{image}: {what}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Results, json_lines, sample};

    fn read(results: &Results) -> Baseline {
        Baseline::read(&json_lines(results).unwrap()).unwrap()
    }

    fn standings(before: &Results, now: &Results) -> Vec<String> {
        let failures = Baseline::compare(&read(before), &read(now));
        failures.iter().map(|one| format!("{} {}", one.standing.as_str(), one.scenario)).collect()
    }

    #[test]
    fn the_same_results_have_nothing_new() {
        let mut results = sample::results();
        results.results.extend(sample::splats().results);
        let all = standings(&results, &results);
        assert!(all.len() > 5 && all.iter().all(|line| line.starts_with("still ")), "{all:?}");
    }

    #[test]
    fn thirty_planted_failures_are_new_and_the_old_ones_are_not() {
        let scenario = |at: usize| format!("a/s{at}");
        let good =
            |at: usize| sample::as_recorded("6.12", &scenario(at), vec![sample::row("x", None, sample::allowed())]);
        let of = |results| Results { results, ..sample::results() };
        let old = (0..5).map(|at| sample::differs("6.12", &scenario(at)));
        let before = of(old.clone().chain((5..40).map(good)).collect());
        let planted = (5..35).map(|at| match at % 3 {
            0 => sample::differs("6.12", &scenario(at)),
            1 => sample::fault("6.12", &scenario(at), "no"),
            _ => sample::not_run("6.12", &scenario(at)),
        });
        let now = of(old.chain(planted).chain((35..40).map(good)).collect());
        let places = |standing: &str| -> BTreeSet<String> {
            let all = standings(&before, &now);
            all.iter().filter_map(|line| line.strip_prefix(standing)).map(|name| name.trim().to_owned()).collect()
        };
        assert_eq!((places("new").len(), places("still").len(), places("mended").len()), (30, 5, 0));
        let back = standings(&now, &before);
        assert_eq!(back.iter().filter(|line| line.starts_with("new")).count(), 0);
        assert!(back.iter().any(|line| line.starts_with("mended")));
    }

    #[test]
    fn a_file_that_is_none_is_refused_with_its_line() {
        let good = json_lines(&sample::results()).unwrap();
        let start = good.lines().next().unwrap();
        let errors: Vec<String> = [
            "{",
            "[]",
            "{\"kind\":\"end\"}",
            &start.replace("\"format\":3", "\"format\":2"),
            start,
            &format!("{start}\n{{\"kind\":\"judged\"}}"),
        ]
        .iter()
        .map(|text| Baseline::read(text).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(errors.join("\n"), @r"
        line 1: EOF while parsing an object at line 1 column 1; the file must be what `--json FILE` writes
        line 1: it has no `kind`; the file must be what `--json FILE` writes
        line 1: the first line must be a `start`; the file must be what `--json FILE` writes
        the file has format 2, and this program reads 3; write it again with this program's `report`
        the last line is missing, so that the results are incomplete; write the file again
        line 2: it has no `kernel`; the file must be what `--json FILE` writes
        ");
    }
}
