//! One run of cargo that makes one static executable.

use std::{
    collections::VecDeque,
    env,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use thiserror::Error;

use crate::progress::{Progress, Task, Unit};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "guest";

/// What makes the program small, static and quick to start: no interpreter, no relocations to apply at its start.
pub(super) const FLAGS: &[&str] = &[
    "--config",
    "target.x86_64-unknown-linux-gnu.rustflags=['-Ctarget-feature=+crt-static', '-Crelocation-model=static']",
    "--config",
    "profile.guest.lto='fat'",
    "--config",
    "profile.guest.codegen-units=1",
];

/// Variables of an outer cargo or of the user that would change what is built.
const NOT_INHERITED: &[&str] =
    &["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR", "CARGO_BUILD_RUSTFLAGS"];

/// How many of the last lines of a failed build are shown.
const SHOWN_LINES: usize = 40;

/// Why cargo built nothing.
#[derive(Debug, Error)]
pub enum BuildError {
    /// It could not be started.
    #[error("`{command}` cannot be started")]
    Start {
        /// The command.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It failed.
    #[error("building the guest program failed with {status}:\n{output}\nreplay it with:\n    {command}")]
    Failed {
        /// The command, to be run in the workspace.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines it printed.
        output: String,
    },
}

/// Builds `package` of `workspace` and returns the executable, which is named like the package.
pub(super) fn build(
    workspace: &Path,
    package: &str,
    target_folder: &Path,
    progress: &Progress,
) -> Result<PathBuf, BuildError> {
    let mut command = command(workspace, package, target_folder);
    let task = progress.task("guest program", Unit::Things("crates"), None);
    run(&mut command, &task)?;
    task.finish("built");
    Ok(target_folder.join(TARGET).join(PROFILE).join(package))
}

fn command(workspace: &Path, package: &str, target_folder: &Path) -> Command {
    // Inside a cargo command this is the very cargo that runs it.
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace);
    command.args([
        "build",
        "--locked",
        "--color=never",
        "--package",
        package,
        "--profile",
        PROFILE,
        "--target",
        TARGET,
    ]);
    command.arg("--target-dir").arg(target_folder).args(FLAGS);
    for variable in NOT_INHERITED {
        command.env_remove(variable);
    }
    command
}

fn run(command: &mut Command, task: &Task) -> Result<(), BuildError> {
    let failed = |command: &Command, source| BuildError::Start { command: text(command), source };
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| failed(command, source))?;
    let last = child.stderr.take().map(|output| follow(output, task)).unwrap_or_default();
    let status = child.wait().map_err(|source| failed(command, source))?;
    if status.success() {
        return Ok(());
    }
    Err(BuildError::Failed { command: text(command), status, output: last.into_iter().collect::<Vec<_>>().join("\n") })
}

/// Reads cargo's own report to its end, counts the crates in `task`, and keeps the last lines.
fn follow(output: impl Read, task: &Task) -> VecDeque<String> {
    let mut last = VecDeque::new();
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Some(what) = line.trim_start().strip_prefix("Compiling ") {
            task.detail(what);
            task.advance(1);
        }
        if last.len() == SHOWN_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
    last
}

/// A command as a person would type it.
fn text(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| match word.to_string_lossy() {
            plain if !plain.contains([' ', '\'', '[']) => plain.into_owned(),
            odd => format!("\"{odd}\""),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn crates_are_counted_and_named() {
        let (progress, _log) = Progress::captured();
        let task = progress.task("guest program", Unit::Things("crates"), None);
        let report = "  Downloaded a v1\n   Compiling libc v0.2.1\n   Compiling harness-guest v0.1.0\n";
        assert_eq!(follow(report.as_bytes(), &task).len(), 3);
        assert!(format!("{task:?}").contains("done: 2"), "{task:?}");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let task = Progress::silent().task("t", Unit::Things("crates"), None);
        let report = (0..1000).map(|n| format!("line {n}\n")).collect::<String>();
        let kept = follow(report.as_bytes(), &task);
        assert_eq!(kept.len(), SHOWN_LINES);
        assert_eq!(kept.back().map(String::as_str), Some("line 999"));
    }

    #[test]
    fn a_failure_shows_what_was_said_and_how_to_replay_it() {
        let task = Progress::silent().task("t", Unit::Things("crates"), None);
        let error = run(&mut shell("echo 'error: no such crate' >&2; exit 101"), &task).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("error: no such crate"), "{message}");
        assert!(message.contains("replay it with:\n    sh -c"), "{message}");
        let missing = run(&mut Command::new("/nonexistent/cargo"), &task).unwrap_err();
        assert!(matches!(missing, BuildError::Start { .. }), "{missing}");
    }

    #[test]
    fn the_workspace_s_own_target_folder_is_not_used() {
        let command = command(Path::new("/w"), "p", Path::new("/cache/t"));
        assert!(text(&command).contains("--target-dir /cache/t"), "{}", text(&command));
        assert_eq!(command.get_current_dir(), Some(Path::new("/w")));
        let removed = command.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name);
        assert!(removed.into_iter().any(|name| name == "CARGO_TARGET_DIR"));
    }
}
