//! A part of all tests: parses its name, lists its tests, and runs them with nextest.
//!
//! nextest starts one process per test, which does not know what else will run. A test without a stored outcome boots a VM
//! for all scenarios that it knows of, so a file lists those of its part.

use std::{
    env,
    ffi::OsString,
    io::Write,
    process::{Command, ExitCode},
    str::FromStr,
};

use anyhow::{Context, Result};
use harness_cli::exit;
use serde_json::Value;
use xshell::{Cmd, Shell, cmd};

/// Names the file that lists the scenario tests of this part, one per line.
const SHARD_VARIABLE: &str = "BPF_TOKEN_HARNESS_SHARD";

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

/// Returns the scenario tests that `cargo nextest list --message-format json` selects, one per line.
fn shard(list: &str) -> Result<String> {
    let list: Value = serde_json::from_str(list)?;
    let suites = list["rust-suites"].as_object().context("it has no `rust-suites`")?;
    let ours = |suite: &&Value| suite["package-name"] == "harness-runner" && suite["binary-name"] == "scenarios";
    let tests = suites.values().filter(ours).filter_map(|suite| suite["testcases"].as_object()).flatten();
    let selected = tests.filter(|(_, test)| test["filter-match"]["status"] == "matches");
    Ok(selected.map(|(name, _)| format!("{name}\n")).collect())
}

impl Partition {
    /// Runs the tests of this part with nextest and `further` arguments for it.
    ///
    /// # Errors
    /// If nextest is missing or cannot list the tests.
    pub(crate) fn run(&self, further: &[OsString], variables: &[(&str, String)]) -> Result<ExitCode> {
        let mut file = tempfile::NamedTempFile::new().context("cannot create a file for the names of tests")?;
        let shell = Shell::new()?;
        let names = shard(&self.list(&shell, further)?).context("cannot read the output of `cargo nextest list`")?;
        file.write_all(names.as_bytes()).context("cannot write the names of tests")?;
        let command = self.nextest(&shell, "run", further).arg("--no-fail-fast").env(SHARD_VARIABLE, file.path());
        // Not through xshell, which returns no exit code.
        let mut command = Command::from(command.envs(variables.iter().map(|(name, value)| (name, value))));
        eprintln!("== {} scenario tests in this part", names.lines().count());
        Ok(code_of(command.status().context("cannot run cargo nextest")?.code()))
    }

    fn list(&self, shell: &Shell, further: &[OsString]) -> Result<String> {
        let list = self.nextest(shell, "list", further).args(["--message-format", "json"]).quiet().read();
        list.ok()
            .context("`cargo nextest list` failed; if nextest is missing, run `cargo install --locked cargo-nextest`")
    }

    fn nextest<'a>(&self, shell: &'a Shell, verb: &str, further: &[OsString]) -> Cmd<'a> {
        let is_chooser = |text: &str| CHOOSERS.contains(&text.split('=').next().unwrap_or_default());
        let is_chosen = further.iter().any(|argument| is_chooser(&argument.to_string_lossy()));
        let workspace = (!is_chosen).then_some("--workspace");
        let (cargo, part) = (env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), &self.0);
        cmd!(shell, "{cargo} nextest {verb} {workspace...} --partition {part} {further...}")
    }
}

/// Maps nextest's exit codes to ours: <https://docs.rs/nextest-metadata/latest/nextest_metadata/enum.NextestExitCode.html>.
fn code_of(nextest: Option<i32>) -> ExitCode {
    match nextest {
        Some(0) => ExitCode::SUCCESS,
        Some(100) => exit::DIFFERS.into(),
        Some(4) => exit::NOTHING_SELECTED.into(),
        _ => exit::FAILED.into(),
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
        assert_eq!(shard(&list).unwrap(), "7.3::a/b\n");
        assert!(shard("{}").is_err());
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
