//! Times commands with hyperfine, which starts them again and again, one command after the other.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{sample::Sample, whole};
use crate::steps;

/// What it exports of one command, in seconds (`--export-json` in hyperfine(1)).
#[derive(Debug, Deserialize)]
struct Export {
    results: Vec<Timed>,
}

#[derive(Debug, Deserialize)]
struct Timed {
    times: Vec<f64>,
    exit_codes: Vec<Option<i32>>,
}

/// Returns how long cargo takes with these words in the project's folder, after one run that is not counted. It must end with
/// one of these codes.
pub(crate) fn time(project: &Path, words: &[&str], runs: u32, codes: &[u8]) -> Result<Sample> {
    let folder = tempfile::tempdir().context("cannot make a folder for hyperfine")?;
    let export = folder.path().join("times.json");
    let cargo = steps::cargo();
    let program = cargo.get_program().to_string_lossy();
    let line: Vec<String> = std::iter::once(&*program).chain(words.iter().copied()).map(quoted).collect();
    let mut command = Command::new("hyperfine");
    command.args(["--shell=none", "--style=none", "--warmup=1", "--ignore-failure", "--runs", &runs.to_string()]);
    command.arg("--export-json").arg(&export).arg(line.join(" "));
    steps::without_package(&mut command);
    let output = command
        .current_dir(project)
        .stdin(Stdio::null())
        .output()
        .context("hyperfine does not start: `apt-get install hyperfine`")?;
    if !output.status.success() {
        bail!("hyperfine ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = fs::read_to_string(&export).with_context(|| format!("cannot read {}", export.display()))?;
    sample(&text, codes)
}

fn sample(text: &str, codes: &[u8]) -> Result<Sample> {
    let export: Export = serde_json::from_str(text).context("hyperfine wrote no times")?;
    let Some(Timed { times, exit_codes }) = export.results.first() else { bail!("hyperfine timed nothing") };
    if let Some(code) = exit_codes.iter().find(|code| !whole::is_one_of(codes, **code)) {
        bail!("the command ended with {}", code.map_or("a signal".to_owned(), |code| format!("code {code}")));
    }
    let times = times.iter().map(|seconds| Duration::try_from_secs_f64(*seconds)).collect::<Result<Vec<_>, _>>()?;
    Sample::of(times).context("hyperfine timed nothing")
}

/// Quotes a word as a POSIX shell reads it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(codes: &str) -> String {
        format!(r#"{{"results":[{{"command":"x","times":[0.5,0.25],"exit_codes":[{codes}],"mean":1}}]}}"#)
    }

    #[test]
    fn its_times_are_read_and_a_command_that_failed_has_none() {
        let sample = |text: &str| sample(text, &whole::DONE);
        let good = sample(&export("0,1")).unwrap();
        assert_eq!((good.count(), good.fastest()), (2, Duration::from_millis(250)));
        assert_eq!(sample(&export("0,3")).unwrap_err().to_string(), "the command ended with code 3");
        assert_eq!(sample(&export("0,null")).unwrap_err().to_string(), "the command ended with a signal");
        assert!(sample(r#"{"results":[]}"#).is_err());
        assert!(sample("").is_err());
    }

    #[test]
    fn words_are_kept_whole() {
        assert_eq!(quoted("systemd/*"), "'systemd/*'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
