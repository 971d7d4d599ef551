//! Runs cargo commands one after another and adds up their results.

use std::{
    env,
    ffi::OsString,
    fmt,
    io::{self, BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result};
use harness_builder::progress::seconds;

use crate::{failures::Failures, not_run::SkippedTest};

/// Counts of tests and checks that passed, failed and were skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// The tests that were skipped, as far as their lines name them.
    not_run: Vec<SkippedTest>,
    failures: Failures,
}

impl Tally {
    /// Returns whether something ran and nothing failed.
    pub(crate) fn is_good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    /// Returns the tests that were skipped; one without a name for each that was counted but not named.
    pub(crate) fn not_run(&self) -> Vec<SkippedTest> {
        let unnamed = usize::try_from(self.skipped).unwrap_or(usize::MAX).saturating_sub(self.not_run.len());
        let nameless = SkippedTest { name: "a test without a name".to_owned(), says: String::new() };
        self.not_run.iter().cloned().chain(std::iter::repeat_n(nameless, unnamed)).collect()
    }

    /// Adds a test that did not run.
    pub(crate) fn add_skipped(&mut self, test: SkippedTest) {
        self.skipped += 1;
        self.not_run.push(test);
    }

    /// Adds a check, which counts as one.
    pub(crate) fn add_check(&mut self, name: &str, passed: bool) {
        if passed {
            self.passed += 1;
        } else {
            self.failed += 1;
            self.failures.add(name);
        }
    }

    /// Returns what failed, with what test programs say about it.
    pub(crate) fn failures(&self) -> String {
        self.failures.text()
    }

    /// Adds a skipped test, what is said about a failed one, or the counts in the closing line of a test program.
    fn add_line(&mut self, line: &str) {
        self.not_run.extend(SkippedTest::of_line(line));
        self.failures.read(line);
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|line| line.split_once(". ")) else {
            return;
        };
        for count in counts.split("; ") {
            match count.split_once(' ').map(|(number, what)| (number.parse::<u64>(), what)) {
                Some((Ok(number), "passed")) => self.passed += number,
                Some((Ok(number), "failed")) => self.failed += number,
                Some((Ok(number), "ignored")) => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// How a step is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One check.
    Check,
    /// Nothing, unless it fails.
    Preparation,
    /// The tests that its test programs report.
    Tests,
}

/// One cargo command.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Its heading.
    pub(crate) name: &'static str,
    /// How it is counted.
    pub(crate) kind: Kind,
    /// Arguments for cargo.
    pub(crate) arguments: Vec<&'static str>,
    /// Environment variables to set for it.
    pub(crate) variables: Vec<(&'static str, String)>,
}

impl Step {
    /// Runs the command, forwards its output, and adds its result to `tally`.
    pub(crate) fn run(&self, tally: &mut Tally) -> Result<()> {
        let start = Instant::now();
        eprintln!("== {}: cargo {}", self.name, self.arguments.join(" "));
        let failed_before = tally.failed;
        let succeeded = follow(&mut self.command(), |line| {
            if self.kind == Kind::Tests {
                tally.add_line(line);
            }
        })
        .with_context(|| format!("cannot run cargo {}", self.arguments.join(" ")))?;
        // A test program that dies, or does not compile, reports no failed test.
        if self.kind == Kind::Check || (!succeeded && tally.failed == failed_before) {
            tally.add_check(self.name, succeeded);
        }
        eprintln!("== {}: {} ({})", self.name, if succeeded { "ok" } else { "FAILED" }, seconds(start.elapsed()));
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = cargo();
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Returns the cargo that runs this program, without the variables that `cargo run` sets: cargo-machete takes one as a sign that
/// cargo did not start it, and the build script of `ring` takes a change of others as a reason to compile it again, and with it
/// all that depends on it.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    without_package(&mut command);
    command
}

/// Takes the variables that say which package `cargo run` has started from a command that starts cargo.
pub(crate) fn without_package(command: &mut Command) {
    for name in package_variables() {
        command.env_remove(name);
    }
}

/// Returns the names of the variables that say which package `cargo run` has started.
pub(crate) fn package_variables() -> impl Iterator<Item = OsString> {
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    env::vars_os().map(|(name, _)| name).filter(move |name| name.to_str().is_some_and(of_package))
}

/// Runs a command, forwards its standard output line by line, and returns whether it succeeded. Not through xshell, which
/// returns output only at the end.
fn follow(command: &mut Command, mut line: impl FnMut(&str)) -> io::Result<bool> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    if let Some(output) = child.stdout.take() {
        for bytes in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&bytes);
            // A closed standard output must not stop the tests.
            let _ = writeln!(io::stdout(), "{text}");
            line(&text);
        }
    }
    Ok(child.wait()?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_closing_lines_of_test_programs_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 20 tests",
            "test b ... ignored, because",
            "test result: ok. 18 passed; 0 failed; 1 ignored; 0 measured; 5 filtered out; finished in 0.02s",
            "test a ... FAILED",
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s",
            "note: test result: ok. 9 passed; ",
        ] {
            tally.add_line(line);
        }
        assert_eq!(tally.to_string(), "20 passed, 3 failed, 1 skipped");
        assert_eq!(tally.not_run(), [SkippedTest { name: "b".to_owned(), says: "because".to_owned() }]);
        tally.add_line("test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s");
        assert_eq!(tally.not_run()[1].name, "a test without a name");
        assert!(!tally.is_good());
    }

    #[test]
    fn nothing_run_is_not_good() {
        assert!(!Tally::default().is_good());
        let mut tally = Tally::default();
        tally.add_check("format", true);
        assert!(tally.is_good());
        tally.add_check("clippy", false);
        assert!(!tally.is_good());
        assert_eq!(tally.failures(), "failed: clippy\n");
    }

    #[test]
    fn subcommands_do_not_see_which_package_runs_them() {
        let step =
            Step { name: "unused dependencies", kind: Kind::Check, arguments: vec!["machete"], variables: vec![] };
        // Cargo sets them for tests, too.
        for name in ["CARGO_PKG_NAME", "CARGO_PKG_VERSION_MAJOR", "CARGO_MANIFEST_DIR"] {
            assert!(env::var_os(name).is_some());
            assert!(step.command().get_envs().any(|(removed, value)| removed == name && value.is_none()), "{name}");
        }
    }

    #[test]
    fn output_is_followed_to_the_end_and_failure_is_seen() {
        let mut lines = Vec::new();
        let succeeded = follow(&mut shell("echo one; echo two; exit 3"), |line| lines.push(line.to_owned())).unwrap();
        assert_eq!((succeeded, lines.len()), (false, 2));
        assert!(follow(&mut shell("true"), |_| {}).unwrap());
        let folder = tempfile::tempdir().unwrap();
        assert!(follow(&mut Command::new(folder.path().join("program")), |_| {}).is_err());
    }
}
