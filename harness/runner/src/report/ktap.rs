//! Results as KTAP version 1, the kernel's own format (Documentation/dev-tools/ktap.rst): one test per environment, one
//! subtest per scenario.

use std::fmt::Write;

use super::{EnvironmentLabel, HARNESS, Mark, Results, ScenarioResult, Status, guest_text::one_line};

const INDENT: &str = "  ";

/// Returns the results as KTAP. The types of kernel and scenario names exclude spaces and `#`.
pub fn ktap(results: &Results) -> String {
    let mut text = format!("KTAP version 1\n1..{}\n", results.environments.len());
    for (index, label) in results.environments.iter().enumerate() {
        let name = results.naming().name(&label.environment);
        subtests(&mut text, results, label, &name);
        let good = !results.of(label).any(|result| Mark::of(result).is_bad());
        let _ = writeln!(text, "{} {} {name}", if good { "ok" } else { "not ok" }, index + 1);
    }
    text
}

fn subtests(text: &mut String, results: &Results, label: &EnvironmentLabel, name: &str) {
    let release = label.release.as_deref().map(one_line).unwrap_or_else(|| "unknown".to_owned());
    let _ = writeln!(text, "{INDENT}KTAP version 1\n{INDENT}# Subtest: {name}");
    let _ = writeln!(text, "{INDENT}# release {release}, image {}, harness {HARNESS}", label.environment.image);
    for (of, pin) in label.replaced() {
        let _ = writeln!(text, "{INDENT}# replaced pin of {}", one_line(&format!("{of}: {pin}")));
    }
    let _ = writeln!(text, "{INDENT}1..{}", results.of(label).count());
    for (index, result) in results.of(label).enumerate() {
        for line in result.complaints().iter().flat_map(|complaint| complaint.lines()) {
            let _ = writeln!(text, "{INDENT}# {line}");
        }
        let _ = writeln!(text, "{INDENT}{}", result_line(index + 1, result));
    }
}

/// Returns a result line. The diagnostic lines before it give the details of a failure.
fn result_line(number: usize, result: &ScenarioResult) -> String {
    let name = &result.scenario;
    match (&result.status, Mark::of(result)) {
        (Status::Skipped { reason }, _) => format!("ok {number} {name} # SKIP {}", one_line(reason).replace('#', "")),
        (_, Mark::Fault) => format!("not ok {number} {name} # ERROR no verdict"),
        (_, mark) => format!("{} {number} {name}", if mark.is_bad() { "not ok" } else { "ok" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// A result line as a KTAP parser sees it, with its subtests.
    #[derive(Debug)]
    struct Test {
        ok: bool,
        name: String,
        directive: Option<String>,
        subtests: Vec<Test>,
    }

    /// A KTAP parser, written from the specification because no crate parses the nested form. Rejects anything that is
    /// not a version, plan, result or diagnostic line of its level, wrong numbers, and a parent that hides a failed
    /// subtest.
    fn read<'a>(
        lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
        indent: &str,
    ) -> Result<Vec<Test>, String> {
        let version = lines.next().and_then(|line| line.strip_prefix(indent));
        if version != Some("KTAP version 1") {
            return Err(format!("no version line at {indent:?}: {version:?}"));
        }
        let deeper = format!("{indent}  ");
        let (mut planned, mut tests, mut subtests) = (None, Vec::new(), Vec::new());
        while let Some(line) = lines.peek().copied() {
            if line == format!("{deeper}KTAP version 1") {
                subtests = read(lines, &deeper)?;
                continue;
            }
            let Some(line) = line.strip_prefix(indent) else { break };
            lines.next();
            if line.starts_with("# ") {
            } else if let Some(count) = line.strip_prefix("1..") {
                let count: usize = count.parse().map_err(|_| format!("bad plan {line:?}"))?;
                if planned.replace(count).is_some() || !tests.is_empty() {
                    return Err(format!("duplicate or late plan: {line:?}"));
                }
            } else {
                tests.push(test(line, tests.len() + 1, std::mem::take(&mut subtests))?);
            }
        }
        if planned != Some(tests.len()) {
            return Err(format!("{planned:?} planned, {} found", tests.len()));
        }
        Ok(tests)
    }

    fn test(line: &str, number: usize, subtests: Vec<Test>) -> Result<Test, String> {
        let (ok, rest) = match (line.strip_prefix("ok "), line.strip_prefix("not ok ")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(format!("not a KTAP line: {line:?}")),
        };
        let rest = rest.strip_prefix(&format!("{number} ")).ok_or(format!("not number {number}: {line:?}"))?;
        let (name, directive) = match rest.split_once(" # ") {
            Some((name, directive)) => (name, Some(directive.to_owned())),
            None => (rest, None),
        };
        if name.contains(['#', ' ']) || directive.as_ref().is_some_and(|text| text.contains('#')) {
            return Err(format!("invalid character in a name or directive: {line:?}"));
        }
        if !subtests.is_empty() && ok != subtests.iter().all(|test| test.ok) {
            return Err(format!("contradicts its subtests: {line:?}"));
        }
        Ok(Test { ok, name: name.to_owned(), directive, subtests })
    }

    fn read_all(text: &str) -> Result<Vec<Test>, String> {
        let mut lines = text.lines().peekable();
        let tests = read(&mut lines, "")?;
        lines.next().map_or(Ok(tests), |line| Err(format!("left over: {line:?}")))
    }

    #[test]
    fn a_ktap_parser_finds_every_kernel_and_scenario() {
        let tests = read_all(&ktap(&sample::results())).unwrap();
        let summary = |test: &Test| format!("{} {} {}", test.ok, test.name, test.directive.as_deref().unwrap_or("-"));
        let [old, new] = &tests[..] else { panic!("{tests:#?}") };
        assert_eq!((old.name.as_str(), new.name.as_str(), old.ok, new.ok), ("6.12", "7.3", false, false));
        let old: Vec<String> = old.subtests.iter().map(summary).collect();
        assert_eq!(old[0], "true maps/one -");
        assert!(old[1].starts_with("true token/new SKIP "), "{}", old[1]);
        assert_eq!(old[2..], ["false vm/broken ERROR no verdict", "true vm/killer -"]);
        let new: Vec<bool> = new.subtests.iter().map(|test| test.ok).collect();
        assert_eq!(new, [true, false, false, false]);
    }

    #[test]
    fn the_document() {
        insta::assert_snapshot!("ktap", ktap(&sample::results()).replace(HARNESS, "VERSION"));
    }

    #[test]
    fn tests_are_named_with_their_image_if_there_are_several() {
        let tests = read_all(&ktap(&sample::two_images())).unwrap();
        let names: Vec<(&str, usize)> = tests.iter().map(|test| (test.name.as_str(), test.subtests.len())).collect();
        assert_eq!(names, [("6.12@minimal", 4), ("6.12@systemd-262", 1)]);
    }

    #[test]
    fn the_parser_rejects_invalid_ktap() {
        let good = ktap(&sample::results());
        for (what, instead) in [
            ("1..2", "1..3"),
            ("  1..4", "  1..5"),
            ("not ok 2 7.3", "ok 2 7.3"),
            ("  ok 1 maps/one", "  ok 2 maps/one"),
            ("  ok 1 maps/one", " ok 1 maps/one"),
            ("  # Subtest", "  Subtest"),
            ("KTAP version 1\n1..2", "1..2"),
        ] {
            assert!(good.contains(what), "{what}");
            assert!(read_all(&good.replacen(what, instead, 1)).is_err(), "{instead:?} instead of {what:?}");
        }
    }

    #[test]
    fn an_empty_selection_is_an_empty_plan() {
        let results = Results { environments: vec![], results: vec![], ..Results::default() };
        assert_eq!(ktap(&results), "KTAP version 1\n1..0\n");
    }
}
