//! Finds QEMU on this machine and checks its version.

use std::{
    env,
    ffi::OsStr,
    fmt, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use thiserror::Error;
use xshell::{Shell, cmd};

/// The program that runs an x86-64 VM.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// The environment variable that names a QEMU program to use instead of the one on `PATH`.
pub const QEMU_VARIABLE: &str = "HARNESS_QEMU";

/// The oldest QEMU that works: `vmtest` shares folders with `multidevs=remap`, which was added in 4.2
/// (<https://wiki.qemu.org/ChangeLog/4.2>).
pub const OLDEST: Version = Version { major: 4, minor: 2 };

/// A QEMU release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why QEMU cannot be used.
#[derive(Debug, Error)]
pub enum QemuError {
    /// There is no such program.
    #[error(
        "{program} was not found{searched}; install QEMU (Debian: apt-get install qemu-system-x86), or run `{} setup`",
        harness_program::NAME
    )]
    NotFound {
        /// The program.
        program: String,
        /// Where it was searched, in words.
        searched: String,
    },
    /// The program does not start.
    #[error("{path} does not run; try `{path} --version` by hand")]
    CannotRun {
        /// The program.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The program starts but does not print a QEMU version.
    #[error("{path} does not report a QEMU version; `{path} --version` printed: {output:?}")]
    NoVersion {
        /// The program.
        path: PathBuf,
        /// The beginning of what it printed.
        output: String,
    },
    /// QEMU is too old.
    #[error(
        "{path} is QEMU {version}, but {OLDEST} or newer is needed; install a newer one, or set {QEMU_VARIABLE} to its path"
    )]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: Version,
    },
}

/// A QEMU that exists and is recent enough.
#[derive(Clone, Debug)]
pub struct Qemu {
    path: PathBuf,
    version: Version,
}

impl Qemu {
    /// Finds the QEMU named by [`QEMU_VARIABLE`], or else the first on `PATH`.
    pub fn find() -> Result<Self, QemuError> {
        match env::var_os(QEMU_VARIABLE) {
            Some(path) => Self::at(Path::new(&path)),
            None => Self::at(&search(&env::var_os("PATH").unwrap_or_default())?),
        }
    }

    /// Checks the program at `path` and reads its version.
    pub fn at(path: &Path) -> Result<Self, QemuError> {
        if !is_program(path) {
            let searched = format!(" (named by {QEMU_VARIABLE} or PATH)");
            return Err(QemuError::NotFound { program: path.display().to_string(), searched });
        }
        let output = Shell::new()
            .and_then(|shell| cmd!(shell, "{path} --version").ignore_status().output())
            .map_err(|error| QemuError::CannotRun { path: path.to_owned(), source: io::Error::other(error) })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = parse_version(&text)
            .ok_or_else(|| QemuError::NoVersion { path: path.to_owned(), output: text.chars().take(200).collect() })?;
        if version < OLDEST {
            return Err(QemuError::TooOld { path: path.to_owned(), version });
        }
        Ok(Self { path: path.to_owned(), version })
    }

    /// Returns its path, absolute if it was found on `PATH`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its version.
    pub fn version(&self) -> Version {
        self.version
    }
}

fn search(path: &OsStr) -> Result<PathBuf, QemuError> {
    env::split_paths(path).map(|folder| folder.join(PROGRAM)).find(|file| is_program(file)).ok_or_else(|| {
        QemuError::NotFound { program: PROGRAM.to_owned(), searched: format!(" on PATH ({})", path.to_string_lossy()) }
    })
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Parses the version in `QEMU emulator version 7.2.22 (Debian …)`.
fn parse_version(text: &str) -> Option<Version> {
    let (_, rest) = text.lines().next()?.split_once(" version ")?;
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
    Some(Version { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn shown(folder: &tempfile::TempDir, error: &QemuError) -> String {
        error.to_string().replace(folder.path().to_str().unwrap(), "FOLDER")
    }

    #[test]
    fn reads_versions_as_distributions_write_them() {
        for (text, version) in [
            ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright", (7, 2)),
            ("QEMU emulator version 10.1.0", (10, 1)),
            ("QEMU emulator version 9.0.50 (v9.0.0-100-gabcdef)", (9, 0)),
        ] {
            assert_eq!(parse_version(text), Some(Version { major: version.0, minor: version.1 }), "{text}");
        }
        for text in ["", "QEMU", "QEMU emulator version", "QEMU emulator version x.y", "GNU bash, version 5"] {
            assert_eq!(parse_version(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_missing_qemu_names_the_path_searched_and_the_package() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bin");
        let error = search(path.as_os_str()).unwrap_err().to_string();
        insta::assert_snapshot!(error.replace(path.to_str().unwrap(), "FOLDER"), @r"qemu-system-x86_64 was not found on PATH (FOLDER); install QEMU (Debian: apt-get install qemu-system-x86), or run `cargo xtask setup`");
    }

    #[test]
    fn a_file_that_is_not_executable_is_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, good) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir_all(&plain).unwrap();
        fs::create_dir_all(&good).unwrap();
        fs::write(plain.join(PROGRAM), "").unwrap();
        let expected = script(&good, PROGRAM, "exit 0");
        assert_eq!(search(&env::join_paths([plain, good]).unwrap()).unwrap(), expected);
    }

    #[test]
    fn an_old_qemu_is_rejected_with_both_versions() {
        let folder = tempfile::tempdir().unwrap();
        let path = script(folder.path(), "q", "echo 'QEMU emulator version 4.1.1'");
        insta::assert_snapshot!(shown(&folder, &Qemu::at(&path).unwrap_err()), @r"FOLDER/q is QEMU 4.1, but 4.2 or newer is needed; install a newer one, or set HARNESS_QEMU to its path");
    }

    #[test]
    fn a_program_that_is_not_qemu_is_rejected_with_its_output() {
        let folder = tempfile::tempdir().unwrap();
        let path = script(folder.path(), "q", "echo hello");
        insta::assert_snapshot!(shown(&folder, &Qemu::at(&path).unwrap_err()), @r#"FOLDER/q does not report a QEMU version; `FOLDER/q --version` printed: "hello\n""#);
        let path = script(folder.path(), "r", "").with_extension("gone");
        insta::assert_snapshot!(shown(&folder, &Qemu::at(&path).unwrap_err()), @r"FOLDER/r.gone was not found (named by HARNESS_QEMU or PATH); install QEMU (Debian: apt-get install qemu-system-x86), or run `cargo xtask setup`");
    }
}
