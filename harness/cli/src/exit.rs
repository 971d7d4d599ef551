//! The meaning of exit codes, which scripts and CI rely on.

use std::{fmt, process::ExitCode};

/// Verdicts differ from what is recorded or expected, or a configuration is refused.
pub const DIFFERS: u8 = 1;
/// Wrong usage, or an invalid file of the user.
pub const WRONG_INPUT: u8 = 2;
/// The harness, QEMU or a build failed: there is no verdict.
pub const FAILED: u8 = 3;
/// Nothing was selected.
pub const NOTHING_SELECTED: u8 = 4;

/// An error caused by the input: wrong usage or a bad file.
#[derive(Debug)]
pub struct Wrong(anyhow::Error);

impl Wrong {
    /// Marks an error as caused by the input.
    pub fn input(error: impl Into<anyhow::Error>) -> anyhow::Error {
        anyhow::Error::new(Self(error.into()))
    }

    /// Returns the error itself.
    pub fn inner(&self) -> &anyhow::Error {
        &self.0
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Wrong {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Returns the exit code for an error.
pub fn code_of(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(if error.is::<Wrong>() { WRONG_INPUT } else { FAILED })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_depends_on_the_cause_of_an_error() {
        let wrong = Wrong::input(anyhow::anyhow!("no such kernel"));
        assert_eq!(wrong.to_string(), "no such kernel");
        assert_eq!(code_of(&wrong), ExitCode::from(WRONG_INPUT));
        assert_eq!(code_of(&wrong.context("run")), ExitCode::from(WRONG_INPUT));
        assert_eq!(code_of(&anyhow::anyhow!("QEMU died")), ExitCode::from(FAILED));
    }
}
