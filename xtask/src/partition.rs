//! A part of all tests: parses its name, lists its tests, and runs them with nextest.
//!
//! nextest starts one process per test, which does not know what else will run. A test without a stored outcome boots a VM
//! for all scenarios that it knows of, so a file lists those of its part. nextest counts a test that skips itself as passed,
//! so a runner around the test programs keeps the lines that say so.

use std::{
    env,
    ffi::OsString,
    fs,
    process::{Command, ExitCode},
    str::FromStr,
};

use anyhow::{Context, Result};
use harness_cli::exit;
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};

use crate::{not_run::SkippedTest, steps::package_variables};

/// Names the file that lists the scenario tests of this part, one per line.
const SHARD_VARIABLE: &str = "BPF_TOKEN_HARNESS_SHARD";

/// Runs a test program, and adds the lines about tests that skipped themselves to the file that a variable names.
const RUNNER: &str = r#"output=$(mktemp) && "$@" >"$output"
code=$?
grep '^test .* \.\.\. ignored' "$output" >>"$BPF_TOKEN_HARNESS_NOT_RUN"
cat "$output"
rm -f "$output"
exit $code
"#;

/// Names that file.
const NOT_RUN_VARIABLE: &str = "BPF_TOKEN_HARNESS_NOT_RUN";

/// Names the runner, for cargo and nextest (<https://nexte.st/docs/features/target-runners/>).
const RUNNER_VARIABLE: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER";

/// The option of nextest that runs ignored tests.
const RUN_IGNORED: &str = "--run-ignored";

/// Arguments of nextest that select packages. Without one, all packages of the workspace are meant.
const CHOOSERS: [&str; 3] = ["--archive-file", "--package", "-p"];

/// A part of all tests, in nextest's syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition(String);

impl FromStr for Partition {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let part = || {
            let (kind, part) = text.split_once(':')?;
            let (part, of) = part.split_once('/')?;
            let (part, of): (u64, u64) = (part.parse().ok()?, of.parse().ok()?);
            (["slice", "hash"].contains(&kind) && (1..=of).contains(&part)).then(|| Self(text.to_owned()))
        };
        part().context("expected `slice:M/N` or `hash:M/N` with M from 1 to N, such as `slice:1/4`")
    }
}

/// Returns the names of tests that `cargo nextest list --message-format json` selects in some test programs.
fn selected(list: &str, of: impl Fn(&Value) -> bool) -> Result<Vec<String>> {
    let list: Value = serde_json::from_str(list)?;
    let suites = list["rust-suites"].as_object().context("it has no `rust-suites`")?;
    let tests = suites.values().filter(|suite| of(suite)).filter_map(|suite| suite["testcases"].as_object()).flatten();
    let selected = tests.filter(|(_, test)| test["filter-match"]["status"] == "matches");
    Ok(selected.map(|(name, _)| name.clone()).collect())
}

/// Whether a test program has the scenario tests.
fn has_scenarios(suite: &Value) -> bool {
    suite["package-name"] == "harness-runner" && suite["binary-name"] == "scenarios"
}

/// How a part ended.
#[derive(Debug)]
pub(crate) struct Part {
    /// nextest's exit code.
    nextest: Option<i32>,
    /// The tests that were skipped: those that skipped themselves with a reason, those that are always ignored without one.
    pub(crate) not_run: Vec<SkippedTest>,
}

impl Part {
    /// Returns the exit code, given how many tests did not run and may not be skipped.
    pub(crate) fn code(&self, unlisted: usize) -> ExitCode {
        ExitCode::from(code_of(self.nextest, unlisted))
    }
}

impl Partition {
    /// Runs the tests of this part with nextest and `further` arguments for it.
    ///
    /// # Errors
    /// If nextest is missing or cannot list the tests.
    pub(crate) fn run(&self, further: &[OsString], variables: &[(&str, String)]) -> Result<Part> {
        let folder = tempfile::tempdir().context("cannot create a folder for the names of tests")?;
        let [names, runner, skipped] = ["names", "runner", "skipped"].map(|name| folder.path().join(name));
        let shell = Shell::new()?;
        let scenarios = self.list(&shell, further, None, has_scenarios)?;
        let lines: String = scenarios.iter().map(|name| format!("{name}\n")).collect();
        for (path, text) in [(&names, lines.as_str()), (&runner, RUNNER), (&skipped, "")] {
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let command = self.nextest(&shell, "run", further).arg("--no-fail-fast").env(SHARD_VARIABLE, &names);
        let command = command.env(RUNNER_VARIABLE, format!("sh {}", runner.display())).env(NOT_RUN_VARIABLE, &skipped);
        // Not through xshell, which returns no exit code.
        let mut command = Command::from(command.envs(variables.iter().map(|(name, value)| (name, value))));
        eprintln!("== {} scenario tests in this part", scenarios.len());
        let nextest = command.status().context("cannot run cargo nextest")?.code();
        let skipped = fs::read_to_string(&skipped).context("cannot read the names of skipped tests")?;
        let mut not_run = self.always_ignored(&shell, further)?;
        not_run.extend(skipped.lines().filter_map(SkippedTest::of_line));
        Ok(Part { nextest, not_run })
    }

    /// Returns the tests of this part that are ignored whatever happens.
    fn always_ignored(&self, shell: &Shell, further: &[OsString]) -> Result<Vec<SkippedTest>> {
        if further.iter().any(|argument| argument.to_string_lossy().starts_with(RUN_IGNORED)) {
            return Ok(Vec::new());
        }
        let names = self.list(shell, further, Some("only"), |_| true)?;
        Ok(names.into_iter().map(|name| SkippedTest { name, says: String::new() }).collect())
    }

    fn list(
        &self,
        shell: &Shell,
        further: &[OsString],
        ignored: Option<&str>,
        of: impl Fn(&Value) -> bool,
    ) -> Result<Vec<String>> {
        let ignored = ignored.map(|which| [RUN_IGNORED, which]).into_iter().flatten();
        let command = self.nextest(shell, "list", further).args(["--message-format", "json"]).args(ignored);
        let list = command.quiet().read().ok().context(
            "`cargo nextest list` failed; if nextest is missing, run `cargo install --locked cargo-nextest`",
        )?;
        selected(&list, of).context("cannot read the output of `cargo nextest list`")
    }

    fn nextest<'a>(&self, shell: &'a Shell, verb: &str, further: &[OsString]) -> Cmd<'a> {
        let is_chooser = |text: &str| CHOOSERS.contains(&text.split('=').next().unwrap_or_default());
        let is_chosen = further.iter().any(|argument| is_chooser(&argument.to_string_lossy()));
        let workspace = (!is_chosen).then_some("--workspace");
        let (cargo, part) = (env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), &self.0);
        let command = cmd!(shell, "{cargo} nextest {verb} {workspace...} --partition {part} {further...}");
        package_variables().fold(command, Cmd::env_remove)
    }
}

/// Maps nextest's exit codes to ours: <https://docs.rs/nextest-metadata/latest/nextest_metadata/enum.NextestExitCode.html>.
fn code_of(nextest: Option<i32>, unlisted: usize) -> u8 {
    match nextest {
        Some(0) if unlisted == 0 => 0,
        Some(100) => exit::DIFFERS,
        Some(4) => exit::NOTHING_SELECTED,
        _ => exit::FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_one_of_as_many_as_there_are() {
        for good in ["slice:1/4", "hash:4/4", "slice:1/1"] {
            assert_eq!(good.parse::<Partition>().unwrap().0, good);
        }
        for bad in ["", "1/4", "slice:0/4", "slice:5/4", "slice:1", "count:1/4", "slice:a/4", "slice:-1/4"] {
            assert!(bad.parse::<Partition>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_scenarios_of_a_part_are_those_that_match() {
        let test = |status: &str| format!(r#"{{"ignored":false,"filter-match":{{"status":"{status}"}}}}"#);
        let suite = |package: &str, binary: &str, tests: &str| {
            format!(r#"{{"package-name":"{package}","binary-name":"{binary}","testcases":{{{tests}}}}}"#)
        };
        let tests = format!(r#""7.3::a/b":{},"7.3::c":{}"#, test("matches"), test("mismatch"));
        let scenarios = suite("harness-runner", "scenarios", &tests);
        let other = suite("xtask", "xtask", &format!(r#""unit":{}"#, test("matches")));
        let list = format!(r#"{{"test-count":3,"rust-suites":{{"x":{other},"y":{scenarios}}}}}"#);
        assert_eq!(selected(&list, has_scenarios).unwrap(), ["7.3::a/b"]);
        assert_eq!(selected(&list, |_| true).unwrap(), ["unit", "7.3::a/b"]);
        assert!(selected("{}", |_| true).is_err());
    }

    #[test]
    fn a_test_that_skips_itself_is_kept_by_the_runner() {
        let folder = tempfile::tempdir().unwrap();
        let [runner, skipped] = ["runner", "skipped"].map(|name| folder.path().join(name));
        fs::write(&runner, RUNNER).unwrap();
        let run = |script: &str| {
            let mut command = Command::new("sh");
            command.arg(&runner).args(["sh", "-c", script]).env(NOT_RUN_VARIABLE, &skipped);
            let output = command.output().unwrap();
            (output.status.code(), String::from_utf8(output.stdout).unwrap())
        };
        let line = "test 7.3::a/b ... ignored (kernel 7.3 is built without X)";
        assert_eq!(run(&format!("echo '{line}'; echo 'test c ... ok'")), (Some(0), format!("{line}\ntest c ... ok\n")));
        assert_eq!(run("echo 'd: test'; exit 101"), (Some(101), "d: test\n".to_owned()));
        assert_eq!(fs::read_to_string(&skipped).unwrap(), format!("{line}\n"));
    }

    #[test]
    fn what_did_not_run_fails_a_part_that_passed() {
        assert_eq!([0, 1].map(|unlisted| code_of(Some(0), unlisted)), [0, exit::FAILED]);
        assert_eq!([Some(100), Some(4), Some(1), None].map(|code| code_of(code, 1)), [1, 4, 3, 3]);
    }

    #[test]
    fn an_archive_or_a_choice_of_packages_is_not_the_whole_workspace() {
        let partition: Partition = "slice:2/4".parse().unwrap();
        let arguments = |further: &[OsString]| {
            let shell = Shell::new().unwrap();
            let command = Command::from(partition.nextest(&shell, "run", further));
            command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(arguments(&[]), "nextest run --workspace --partition slice:2/4");
        assert_eq!(arguments(&["-p".into(), "x".into()]), "nextest run --partition slice:2/4 -p x");
        assert_eq!(arguments(&["--archive-file=a".into()]), "nextest run --partition slice:2/4 --archive-file=a");
    }
}
