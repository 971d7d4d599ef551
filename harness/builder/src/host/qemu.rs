//! The emulator: is it there, and is it new enough.

use std::{fmt, io, process::Command};

use thiserror::Error;

/// A QEMU version, as far as versions are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QemuVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

/// The oldest QEMU that can work: `vmtest` shares folders with `multidevs=remap`, which QEMU 4.2 introduced.
pub const OLDEST: QemuVersion = QemuVersion { major: 4, minor: 2 };

impl fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl QemuVersion {
    /// Reads the first line of `qemu-system-x86_64 --version`.
    pub fn parse(text: &str) -> Option<Self> {
        let number = text.lines().next()?.split_once("version ")?.1;
        let mut parts = number.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().ok());
        Some(Self { major: parts.next()??, minor: parts.next()?? })
    }
}

/// Why the emulator cannot be used.
#[derive(Debug, Error)]
pub enum QemuError {
    /// It is not installed.
    #[error("`{program}` is not installed: `cargo xtask setup` installs it")]
    Missing {
        /// The program looked for.
        program: String,
    },
    /// It could not be started.
    #[error("`{program} --version` cannot be started")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It answered something that is no version.
    #[error("`{program} --version` answered `{answer}`, which names no version: is this QEMU?")]
    Unreadable {
        /// The program.
        program: String,
        /// The first line of what it printed.
        answer: String,
    },
    /// It is too old.
    #[error("`{program}` is QEMU {found}, and {OLDEST} is the oldest that works: upgrade it")]
    TooOld {
        /// The program.
        program: String,
        /// Its version.
        found: QemuVersion,
    },
}

/// The version of `program`, if it can be used.
pub fn check(program: &str) -> Result<QemuVersion, QemuError> {
    let output = Command::new(program).arg("--version").output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => QemuError::Missing { program: program.to_owned() },
        _ => QemuError::Start { program: program.to_owned(), source },
    })?;
    judge(program, &String::from_utf8_lossy(&output.stdout))
}

fn judge(program: &str, answer: &str) -> Result<QemuVersion, QemuError> {
    let program = program.to_owned();
    match QemuVersion::parse(answer) {
        None => Err(QemuError::Unreadable { program, answer: answer.lines().next().unwrap_or_default().to_owned() }),
        Some(found) if found < OLDEST => Err(QemuError::TooOld { program, found }),
        Some(found) => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_print_them() {
        let read = |text| QemuVersion::parse(text).map(|version| version.to_string());
        assert_eq!(read("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright"), Some("7.2".into()));
        assert_eq!(read("QEMU emulator version 10.0.13"), Some("10.0".into()));
        assert_eq!(read("QEMU emulator version 11.0-rc1"), Some("11.0".into()));
        assert_eq!(read("GNU bash, version five"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn versions_compare_as_numbers() {
        let version = |major, minor| QemuVersion { major, minor };
        assert!(version(10, 0) > version(9, 2));
        assert!(version(4, 1) < OLDEST);
    }

    #[test]
    fn too_old_missing_and_foreign_programs_are_told_apart() {
        let error = judge("qemu", "QEMU emulator version 3.1.0").unwrap_err();
        assert!(matches!(error, QemuError::TooOld { found: QemuVersion { major: 3, minor: 1 }, .. }), "{error}");
        assert!(matches!(judge("qemu", "hello\nyou"), Err(QemuError::Unreadable { answer, .. }) if answer == "hello"));
        assert!(matches!(check("/nonexistent/qemu"), Err(QemuError::Missing { .. })));
        assert!(matches!(check("/"), Err(QemuError::Start { .. })));
        // A program that is there and is no QEMU.
        assert!(matches!(check("true"), Err(QemuError::Unreadable { .. })));
    }

    #[test]
    fn a_usable_program_is_accepted() {
        assert_eq!(judge("qemu", "QEMU emulator version 8.2.1").unwrap(), QemuVersion { major: 8, minor: 2 });
    }
}
