//! Committed files that a verb generates: it writes them, or checks that they are up to date.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::Result;
use harness_cli::{atomic_write, exit};

/// A file and its expected contents.
pub(crate) struct Generated {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// What to do with generated files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Replace those that differ.
    Write,
    /// Report those that differ, and change nothing.
    Check,
}

impl Mode {
    /// Returns the mode for an option `--check`.
    pub(crate) fn of_check(check: bool) -> Self {
        if check { Self::Check } else { Self::Write }
    }

    /// Writes or compares the files. Messages name `command` as the way to write them.
    pub(crate) fn apply(self, files: &[Generated], command: &str) -> Result<ExitCode> {
        let stale: Vec<&Generated> = files.iter().filter(|file| !file.is_current()).collect();
        for file in &stale {
            let path = file.path.display();
            match self {
                Self::Check => eprintln!("error: {path} is out of date; write it with `{command}`"),
                Self::Write => {
                    atomic_write::write(&file.path, &file.text)?;
                    println!("wrote {path}");
                }
            }
        }
        let is_wrong = self == Self::Check && !stale.is_empty();
        Ok(if is_wrong { ExitCode::from(exit::DIFFERS) } else { ExitCode::SUCCESS })
    }
}

impl Generated {
    fn is_current(&self) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|found| found == self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_written_once_and_never_by_a_check() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.json");
        let files = [Generated { path: path.clone(), text: "new".to_owned() }];
        let differs = ExitCode::from(exit::DIFFERS);
        assert_eq!(Mode::of_check(true).apply(&files, "x").unwrap(), differs);
        assert!(!path.exists());
        assert_eq!(Mode::of_check(false).apply(&files, "x").unwrap(), ExitCode::SUCCESS);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(Mode::Check.apply(&files, "x").unwrap(), ExitCode::SUCCESS);
    }
}
