//! Times whole commands as a user types them. Not with hyperfine where rows take turns, as it finishes one row before the
//! next; nor through xshell, which returns no exit code.

use std::{
    path::Path,
    process::Stdio,
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

/// Returns the words that a user types after `cargo`.
pub(crate) fn words(kernel: &str, kept: Kept) -> Vec<&str> {
    let mut words = vec!["xtask", "run", "--kernel", kernel, "--image", super::IMAGE];
    words.extend((kept == Kept::Builds).then_some("--fresh"));
    words
}

/// Returns how long cargo takes with these words in the project's folder.
pub(crate) fn time(project: &Path, words: &[&str]) -> Result<Duration> {
    let mut command = steps::cargo();
    command.args(words).current_dir(project).stdin(Stdio::null());
    let start = Instant::now();
    let output = command.output().context("cannot run cargo")?;
    let took = start.elapsed();
    if !is_whole(output.status.code()) {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("cargo {} ended with {}: {}", words.join(" "), output.status, errors.trim());
    }
    Ok(took)
}

/// Whether a command with this exit code did everything: verdicts that differ take the same time.
pub(crate) fn is_whole(code: Option<i32>) -> bool {
    matches!(code, Some(0)) || code == Some(i32::from(exit::DIFFERS))
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
