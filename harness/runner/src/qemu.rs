//! Finds QEMU on this machine and checks its version.

use std::{
    env,
    ffi::OsStr,
    fmt, io,
    path::{Path, PathBuf},
};

use harness_builder::host::{find_program, is_program};
use thiserror::Error;
use xshell::{Shell, cmd};

/// The program that runs an x86-64 VM.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// The environment variable that names a QEMU program to use instead of the one on `PATH`.
pub const QEMU_VARIABLE: &str = "HARNESS_QEMU";

/// The oldest QEMU that works: `vmtest` shares folders with `multidevs=remap`, which was added in 4.2
/// (<https://wiki.qemu.org/ChangeLog/4.2>).
pub const OLDEST: Version = Version { major: 4, minor: 2, micro: 0 };

/// A QEMU release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
    /// The third number: releases that only mend.
    pub micro: u32,
}

/// A hole in QEMU's 9p, through which a guest that attacks QEMU gets out of the folders that it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Its name in the CVE list, such as `CVE-2023-2861` (<https://www.cve.org/CVERecord?id=CVE-2023-2861>).
    pub name: &'static str,
    /// The first release without it, and those of earlier series into which the fix was taken.
    fixed: &'static [Version],
}

/// The holes of 9p's `local` driver that end in access to other files of the host, newest first.
const HOLES: [Hole; 2] = [
    // `Tlcreate` and `Twalk` race on the path of a file; fixed by commit abae50de, of the series 11.1.
    Hole { name: "CVE-2026-93834", fixed: &[Version { major: 11, minor: 1, micro: 2 }] },
    // A guest opens a device file that it created; fixed by commit f6b0de53.
    Hole {
        name: "CVE-2023-2861",
        fixed: &[
            Version { major: 8, minor: 1, micro: 0 },
            Version { major: 8, minor: 0, micro: 3 },
            Version { major: 7, minor: 2, micro: 4 },
        ],
    },
];

impl Hole {
    fn is_in(self, version: Version) -> bool {
        let is_same_series = |fixed: &Version| (fixed.major, fixed.minor) == (version.major, version.minor);
        let mended = self.fixed.iter().any(|fixed| is_same_series(fixed) && version >= *fixed);
        let later = self.fixed.iter().max().is_some_and(|newest| version >= *newest);
        !(mended || later)
    }
}

impl Version {
    /// Returns the known holes of 9p in this release. A distribution may have mended them without changing the version.
    pub fn holes(self) -> Vec<Hole> {
        HOLES.into_iter().filter(|hole| hole.is_in(self)).collect()
    }

    /// The first release without a known hole in 9p.
    pub fn first_without_holes() -> Self {
        HOLES.iter().flat_map(|hole| hole.fixed.iter().max()).copied().max().unwrap_or(OLDEST)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
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
    find_program(path, PROGRAM).ok_or_else(|| QemuError::NotFound {
        program: PROGRAM.to_owned(),
        searched: format!(" on PATH ({})", path.to_string_lossy()),
    })
}

/// Parses the version in `QEMU emulator version 7.2.22 (Debian …)`.
fn parse_version(text: &str) -> Option<Version> {
    let (_, rest) = text.lines().next()?.split_once(" version ")?;
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
    let (major, minor) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    Some(Version { major, minor, micro: numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

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
            ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright", (7, 2, 22)),
            ("QEMU emulator version 10.1.0", (10, 1, 0)),
            ("QEMU emulator version 9.0.50 (v9.0.0-100-gabcdef)", (9, 0, 50)),
            ("QEMU emulator version 4.2", (4, 2, 0)),
        ] {
            let (major, minor, micro) = version;
            assert_eq!(parse_version(text), Some(Version { major, minor, micro }), "{text}");
        }
        for text in ["", "QEMU", "QEMU emulator version", "QEMU emulator version x.y", "GNU bash, version 5"] {
            assert_eq!(parse_version(text), None, "{text:?}");
        }
    }

    #[test]
    fn releases_with_known_holes_in_9p_are_recognized() {
        let holes = |major, minor, micro| {
            let holes = Version { major, minor, micro }.holes();
            holes.iter().map(|hole| hole.name).collect::<Vec<_>>().join(" ")
        };
        for (version, expected) in [
            ((7, 1, 9), "CVE-2026-93834 CVE-2023-2861"),
            ((7, 2, 3), "CVE-2026-93834 CVE-2023-2861"),
            ((7, 2, 4), "CVE-2026-93834"),
            ((8, 0, 2), "CVE-2026-93834 CVE-2023-2861"),
            ((8, 0, 3), "CVE-2026-93834"),
            ((10, 0, 8), "CVE-2026-93834"),
            ((11, 1, 1), "CVE-2026-93834"),
            ((11, 1, 2), ""),
            ((11, 2, 0), ""),
        ] {
            let (major, minor, micro) = version;
            assert_eq!(holes(major, minor, micro), expected, "{version:?}");
        }
        assert_eq!(Version::first_without_holes(), Version { major: 11, minor: 1, micro: 2 });
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
        insta::assert_snapshot!(shown(&folder, &Qemu::at(&path).unwrap_err()), @r"FOLDER/q is QEMU 4.1.1, but 4.2.0 or newer is needed; install a newer one, or set HARNESS_QEMU to its path");
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
