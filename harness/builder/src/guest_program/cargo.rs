//! The cargo command that builds static executables.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;

use crate::{
    command::{self, CommandError},
    progress::{Progress, Unit},
};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "guest";

/// Flags that make a program static and quick to start: no interpreter to load, no relocations to apply.
pub(super) const FLAGS: &str =
    "target.x86_64-unknown-linux-gnu.rustflags=['-Ctarget-feature=+crt-static','-Crelocation-model=static']";

/// Variables of an outer cargo, or of the user, that would change the build.
const NOT_INHERITED: [&str; 6] = [
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    // `cargo clippy` sets it for build scripts.
    "RUSTC_WORKSPACE_WRAPPER",
];

/// How often a workspace is built in one folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builds {
    /// Once for a version of its sources.
    Once,
    /// Again and again, with little changed: the compiler keeps what it can reuse, and a build takes a fifth of the time.
    Often,
}

/// Builds `packages` of `workspace`, shown as `what`. Returns the folder of the executables, which are named like their
/// packages.
pub(super) fn build(
    what: &str,
    workspace: &Path,
    packages: &[&str],
    (target_folder, builds): (&Path, Builds),
    progress: &Progress,
) -> Result<PathBuf, CommandError> {
    let task = progress.task(what, Unit::Things("crates"), None);
    let mut command = command(workspace, packages, target_folder);
    if builds == Builds::Often {
        command.env("CARGO_INCREMENTAL", "1");
    }
    command::stream(&mut command, |line| {
        if let Some(name) = finished_crate(line) {
            task.detail(&name);
            task.advance(1);
        }
    })?;
    task.finish("built");
    Ok(target_folder.join(TARGET).join(PROFILE))
}

/// Makes cargo recompile the crates whose names start with `prefix`. Cargo identifies crates of a workspace by their
/// path within it, and would reuse what another clone compiled if that is newer than the sources.
pub(super) fn forget(target_folder: &Path, prefix: &str) {
    let fingerprints = target_folder.join(TARGET).join(PROFILE).join(".fingerprint");
    let Ok(entries) = fs::read_dir(fingerprints) else { return };
    let ours = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    // If one cannot be removed, cargo cannot write it either and reports that.
    ours.for_each(|entry| drop(fs::remove_dir_all(entry.path())));
}

fn command(workspace: &Path, packages: &[&str], target_folder: &Path) -> Command {
    // Not xshell: its output is read while it runs. Within a cargo command, `CARGO` is the cargo that runs it.
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace).stdin(Stdio::null());
    command.args(["build", "--locked", "--color=never", "--message-format=json-render-diagnostics"]);
    command.args(["--profile", PROFILE, "--target", TARGET, "--config", FLAGS]);
    command.arg("--target-dir").arg(target_folder);
    command.args(packages.iter().flat_map(|package| ["--package", package]));
    for variable in NOT_INHERITED {
        command.env_remove(variable);
    }
    command
}

/// The parts of cargo's messages that are used (<https://doc.rust-lang.org/cargo/reference/external-tools.html>).
#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<MessageTarget>,
}

#[derive(Deserialize)]
struct MessageTarget {
    name: String,
}

/// Returns the crate that a line of cargo's output reports as finished.
fn finished_crate(line: &str) -> Option<String> {
    let message: Message = serde_json::from_str(line).ok()?;
    (message.reason == "compiler-artifact").then_some(message.target?.name)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn crates_are_forgotten_by_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let fingerprints = folder.path().join(TARGET).join(PROFILE).join(".fingerprint");
        for name in ["harness-guest-1", "harness-protocol-2", "serde-3"] {
            fs::create_dir_all(fingerprints.join(name)).unwrap();
        }
        forget(folder.path(), "harness-");
        let left: Vec<_> = fs::read_dir(fingerprints).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["serde-3"]);
        forget(&folder.path().join("nowhere"), "harness-");
    }

    #[test]
    fn finished_crates_are_counted() {
        let done =
            r#"{"reason":"compiler-artifact","package_id":"p","target":{"kind":["lib"],"name":"libc"},"fresh":true}"#;
        assert_eq!(finished_crate(done), Some("libc".to_owned()));
        assert_eq!(finished_crate(r#"{"reason":"build-script-executed","package_id":"p"}"#), None);
        assert_eq!(finished_crate("not json"), None);
    }

    #[test]
    fn variables_of_an_outer_cargo_are_removed() {
        let command = command(Path::new("/w"), &["a", "b"], Path::new("/cache/t"));
        let arguments: Vec<&OsStr> = command.get_args().collect();
        assert!(arguments.windows(2).any(|pair| pair == ["--target-dir", "/cache/t"]), "{arguments:?}");
        assert!(arguments.ends_with(&["--package", "a", "--package", "b"].map(OsStr::new)), "{arguments:?}");
        assert_eq!(command.get_current_dir(), Some(Path::new("/w")));
        let removed: Vec<&OsStr> =
            command.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        assert!(NOT_INHERITED.iter().all(|name| removed.contains(&OsStr::new(name))), "{removed:?}");
    }

    #[test]
    fn a_failure_shows_cargos_error_and_how_to_repeat_it() {
        let nowhere = tempfile::tempdir().unwrap();
        let error =
            build("program", nowhere.path(), &["p"], (&nowhere.path().join("t"), Builds::Once), &Progress::silent())
                .unwrap_err();
        let CommandError::Failed { command, tail, .. } = &error else { panic!("{error:?}") };
        assert!(command.ends_with(" --package p"), "{command}");
        let tail = tail.replace(nowhere.path().to_str().unwrap(), "/WORKSPACE");
        insta::assert_snapshot!(tail, @"error: could not find `Cargo.toml` in `/WORKSPACE` or any parent directory");
    }
}
