//! What test programs say about their failed tests, to be repeated where a long log ends.

use crate::not_run::result_of_test;

/// The most lines that are repeated of one test.
const MOST_LINES: usize = 60;
/// The most tests that are repeated.
const MOST_TESTS: usize = 20;

/// Reads the lines of test programs and keeps what they say about failed tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    tests: Vec<FailedTest>,
    /// The test that the next lines are of.
    current: Option<usize>,
    /// How many tests failed beyond those that are kept.
    others: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FailedTest {
    name: String,
    lines: Vec<String>,
    /// How many lines it has beyond those.
    others: usize,
}

impl Failures {
    /// Reads a line of libtest or libtest-mimic.
    pub(crate) fn read(&mut self, line: &str) {
        if let Some((name, "FAILED")) = result_of_test(line) {
            // libtest says so of a test that should have panicked, but not where it repeats its name.
            self.add(name.trim_end_matches(" - should panic"));
        } else if line == "failures:" || line.starts_with("test result: ") {
            // A second `failures:`, before their names, ends what the tests say.
            self.current = None;
        } else if let Some(name) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" ----")) {
            let name = name.strip_suffix(" stdout").unwrap_or(name);
            self.current = self.tests.iter().rposition(|test| test.name == name);
        } else if let Some(test) = self.current.and_then(|current| self.tests.get_mut(current)) {
            match test.lines.len() < MOST_LINES {
                true => test.lines.push(line.to_owned()),
                false => test.others += 1,
            }
        }
    }

    /// Adds a test or a check that failed.
    pub(crate) fn add(&mut self, name: &str) {
        self.current = None;
        match self.tests.len() < MOST_TESTS {
            true => self.tests.push(FailedTest { name: name.to_owned(), lines: Vec::new(), others: 0 }),
            false => self.others += 1,
        }
    }

    /// Returns the failed tests, each with what it says indented, or nothing.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for test in &self.tests {
            text += &format!("failed: {}\n", test.name);
            let end = test.lines.iter().rposition(|line| !line.trim().is_empty()).map_or(0, |last| last + 1);
            let kept = test.lines[..end].iter().skip_while(|line| line.trim().is_empty());
            text.extend(kept.map(|line| format!("    {line}\n")));
            if test.others > 0 {
                text += &format!("    ({} more lines above)\n", test.others);
            }
        }
        if self.others > 0 {
            text += &format!("failed: {} more, above\n", self.others);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Failures {
        let mut failures = Failures::default();
        lines.into_iter().for_each(|line| failures.read(line));
        failures
    }

    #[test]
    fn what_failed_tests_say_is_repeated() {
        let libtest = "running 2 tests\ntest a - should panic ... FAILED\ntest b ... ok\n\nfailures:\n\n---- a stdout ----\n\n\
                       thread 'a' panicked:\nno\n\n\nfailures:\n    a\n\ntest result: FAILED. 1 passed\nbehind";
        let mimic = "test 7.3::guard/a    ... FAILED\ntest 7.3::guard/b    ... FAILED\ntest silent ... FAILED\n\nfailures:\n\n\
                     ---- 7.3::guard/a ----\ndiffers:\n  - x\n\n---- 7.3::guard/b ----\ny\n\n\n\
                     failures:\n    7.3::guard/a\n\ntest result: FAILED. 0 passed";
        let mut failures = read(libtest.lines().chain(mimic.lines()));
        failures.add("lints");
        failures.read("behind");
        insta::assert_snapshot!(failures.text(), @r"
        failed: a
            thread 'a' panicked:
            no
        failed: 7.3::guard/a
            differs:
              - x
        failed: 7.3::guard/b
            y
        failed: silent
        failed: lints
        ");
        assert_eq!(read(["test a ... ok", "test result: ok. 1 passed"]).text(), "");
    }

    #[test]
    fn what_is_repeated_is_bounded() {
        let one =
            read(["test a ... FAILED", "---- a ----"].into_iter().chain(std::iter::repeat_n("x", MOST_LINES + 3)));
        assert!(one.text().ends_with("    x\n    (3 more lines above)\n"));
        let many = read(std::iter::repeat_n("test a ... FAILED", MOST_TESTS + 2));
        assert!(many.text().ends_with("failed: 2 more, above\n"));
    }
}
