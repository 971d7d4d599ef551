//! Times whole commands as a user types them. Not with hyperfine where rows take turns, as it finishes one row before the
//! next; nor through xshell, which returns no exit code.

use std::{
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use harness_cli::exit;

use crate::steps;

/// What the command finds in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// Builds only.
    Builds,
    /// Builds and outcomes.
    Outcomes,
}

/// What becomes of a command's standard error: its progress and errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stderr {
    /// It is shown only if the command fails.
    Kept,
    /// It is shown at once: the command takes long.
    Shown,
}

/// Returns the words that a user types after `cargo`.
pub(crate) fn words(kernel: &str, kept: Kept) -> Vec<&str> {
    let mut words = vec!["xtask", "run", "--kernel", kernel, "--image", super::IMAGE];
    words.extend((kept == Kept::Builds).then_some("--fresh"));
    words
}

/// Returns how long cargo takes with these words in the project's folder.
pub(crate) fn time(project: &Path, words: &[&str]) -> Result<Duration> {
    let start = Instant::now();
    output(project, words, &DONE, Stderr::Kept)?;
    Ok(start.elapsed())
}

/// Returns what cargo prints with these words in the project's folder. It must end with one of these codes.
pub(crate) fn output(project: &Path, words: &[&str], codes: &[u8], stderr: Stderr) -> Result<String> {
    let mut command = steps::cargo();
    command.args(words).current_dir(project).stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(match stderr {
        Stderr::Kept => Stdio::piped(),
        Stderr::Shown => Stdio::inherit(),
    });
    let output = command.spawn().and_then(Child::wait_with_output).context("cannot run cargo")?;
    if !is_one_of(codes, output.status.code()) {
        let errors = match stderr {
            Stderr::Kept => String::from_utf8_lossy(&output.stderr),
            Stderr::Shown => "its errors are above".into(),
        };
        bail!("cargo {} ended with {}: {}", words.join(" "), output.status, errors.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("cargo {} did not print text", words.join(" ")))
}

/// The exit codes of a command that did everything: verdicts that differ take the same time.
pub(crate) const DONE: [u8; 2] = [0, exit::DIFFERS];

/// Whether a command ended with one of these codes, and not by a signal.
pub(crate) fn is_one_of(codes: &[u8], code: Option<i32>) -> bool {
    code.is_some_and(|code| codes.iter().any(|one| i32::from(*one) == code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_fresh_run_is_told_to_be_fresh() {
        assert_eq!(words("6.12", Kept::Outcomes).join(" "), "xtask run --kernel 6.12 --image minimal");
        assert_eq!(words("6.12", Kept::Builds).join(" "), "xtask run --kernel 6.12 --image minimal --fresh");
    }
}
