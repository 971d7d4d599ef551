//! Runs programs of the host, and reports how to repeat a failed command by hand.
//!
//! A command that is run once for its output is written with xshell's `cmd!` and run by `output`: xshell's own error
//! has neither the output nor the system's error. A command whose output is read while it runs (`stream`), or whose
//! standard input is a handle, is a [`Command`] of the standard library.

use std::{
    env,
    ffi::OsStr,
    io::{self, BufRead, BufReader},
    process::{ChildStdout, Command, ExitStatus, Output, Stdio},
    thread,
};

use thiserror::Error;
use xshell::{Cmd, Shell};

use crate::cache::CACHE_VARIABLE;

/// How many lines of a failed program's output the error repeats.
const TAIL_LINES: usize = 20;

/// Why a program has no result.
#[derive(Debug, Error)]
pub enum CommandError {
    /// It is not installed.
    #[error("`{program}` is not installed; `{} setup` installs what is missing", harness_program::NAME)]
    Missing {
        /// The program.
        program: String,
    },
    /// The current folder is not usable.
    #[error("cannot run a command in the current folder")]
    Nowhere(#[source] xshell::Error),
    /// It could not be started, or its output not read.
    #[error("cannot run `{command}`")]
    Run {
        /// The command, as a person would type it.
        command: String,
        /// The error of the system.
        source: io::Error,
    },
    /// It ran and failed.
    #[error("a command failed ({status}); to repeat it by hand:\n  {command}\nIts last output:\n{tail}{}", hint(.tail))]
    Failed {
        /// The command, as a person would type it.
        command: String,
        /// Its exit status.
        status: ExitStatus,
        /// Its last lines.
        tail: String,
    },
}

/// Returns advice for a failure that many programs report in the same words.
fn hint(tail: &str) -> String {
    if tail.contains("No space left on device") {
        format!("\nThe disk is full: free some space, or set {CACHE_VARIABLE} to a folder on a larger disk.")
    } else {
        String::new()
    }
}

/// Makes a command written with `cmd!`, for a shell in the current folder. Its standard input is empty.
pub(crate) fn written(write: impl for<'s> FnOnce(&'s Shell) -> Cmd<'s>) -> Result<Command, CommandError> {
    let shell = Shell::new().map_err(CommandError::Nowhere)?;
    let mut command = Command::from(write(&shell));
    command.stdin(Stdio::null());
    Ok(command)
}

/// Runs a command written with `cmd!` to its end, and returns its standard output.
pub(crate) fn output(write: impl for<'s> FnOnce(&'s Shell) -> Cmd<'s>) -> Result<String, CommandError> {
    let output = run(&mut written(write)?)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end and returns its standard error, where programs print warnings. The caller sets its
/// standard input.
pub(crate) fn warnings(command: &mut Command) -> Result<String, CommandError> {
    Ok(String::from_utf8_lossy(&run(command)?.stderr).into_owned())
}

fn run(command: &mut Command) -> Result<Output, CommandError> {
    let output = command.output().map_err(|source| start_error(command, source))?;
    if output.status.success() {
        return Ok(output);
    }
    let written = [output.stdout, output.stderr].concat();
    Err(failed(command, output.status, String::from_utf8_lossy(&written).lines()))
}

/// Runs a command to its end, and passes each line of its standard output to `line` as it arrives. The caller sets its
/// standard input.
pub(crate) fn stream(command: &mut Command, mut line: impl FnMut(&str)) -> Result<(), CommandError> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| start_error(command, source))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let errors = thread::spawn(move || stderr.map(|pipe| lines(pipe, |_| ())).unwrap_or_default());
    let tail = stdout.map(|pipe| lines(pipe, &mut line)).unwrap_or_default();
    let errors = errors.join().unwrap_or_default();
    let status = child.wait().map_err(|source| CommandError::Run { command: shown(command), source })?;
    if status.success() {
        return Ok(());
    }
    // Standard error explains more; without any, standard output must do.
    let tail = if errors.is_empty() { tail } else { errors };
    Err(failed(command, status, tail.iter().map(String::as_str)))
}

/// Runs a command to its end, and passes its standard output to `read` as it arrives; what is not read ends the command. Returns
/// what `read` returns, and how the command ended. The caller sets its standard input.
pub(crate) fn piped<T>(
    command: &mut Command,
    read: impl FnOnce(ChildStdout) -> T,
) -> Result<(T, Result<(), CommandError>), CommandError> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|source| start_error(command, source))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let errors = thread::spawn(move || stderr.map(|pipe| lines(pipe, |_| ())).unwrap_or_default());
    let result = read(stdout.expect("it is piped"));
    let errors = errors.join().unwrap_or_default();
    let status = child.wait().map_err(|source| CommandError::Run { command: shown(command), source })?;
    let failed = || failed(command, status, errors.iter().map(String::as_str));
    Ok((result, if status.success() { Ok(()) } else { Err(failed()) }))
}

/// Reads all lines, passes on each, and returns the last ones.
fn lines(pipe: impl io::Read, mut line: impl FnMut(&str)) -> Vec<String> {
    let mut tail = Vec::new();
    for bytes in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        line(&text);
        tail.push(text);
        if tail.len() > 2 * TAIL_LINES {
            tail.drain(..TAIL_LINES);
        }
    }
    tail
}

fn start_error(command: &Command, source: io::Error) -> CommandError {
    if source.kind() == io::ErrorKind::NotFound {
        CommandError::Missing { program: command.get_program().to_string_lossy().into_owned() }
    } else {
        CommandError::Run { command: shown(command), source }
    }
}

fn failed<'a>(command: &Command, status: ExitStatus, output: impl Iterator<Item = &'a str>) -> CommandError {
    let lines: Vec<&str> = output.collect();
    let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    CommandError::Failed { command: shown(command), status, tail }
}

/// Formats a command as a person would type it in a shell.
fn shown(command: &Command) -> String {
    let elsewhere = command.get_current_dir().filter(|dir| env::current_dir().ok().as_deref() != Some(*dir));
    let folder = elsewhere.map(|dir| format!("cd {} && ", quoted(dir.as_os_str())));
    let words = std::iter::once(command.get_program()).chain(command.get_args()).map(quoted);
    folder.unwrap_or_default() + &words.collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@~%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use xshell::cmd;

    use super::*;

    fn script(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn output_of(script: &str) -> Result<String, CommandError> {
        output(|shell| cmd!(shell, "sh -c {script}"))
    }

    #[test]
    fn lines_arrive_and_errors_are_repeated() {
        let mut seen = Vec::new();
        let error = stream(&mut script("echo one; echo two; echo bad >&2; exit 3"), |line| seen.push(line.to_owned()));
        assert_eq!(seen, ["one", "two"]);
        let message = error.unwrap_err().to_string();
        insta::assert_snapshot!(message, @r"
        a command failed (exit status: 3); to repeat it by hand:
          sh -c 'echo one; echo two; echo bad >&2; exit 3'
        Its last output:
        bad
        ");
    }

    #[test]
    fn output_is_read_while_a_command_runs_and_what_is_not_read_ends_it() {
        let first = |pipe: ChildStdout| BufReader::new(pipe).lines().next().unwrap().unwrap();
        let (line, ended) = piped(&mut script("echo one; echo bad >&2; exit 3"), first).unwrap();
        assert_eq!(line, "one");
        assert!(ended.unwrap_err().to_string().ends_with("Its last output:\nbad"));
        let (line, ended) = piped(&mut script("exec yes"), first).unwrap();
        assert!(line == "y" && ended.is_err());
        assert!(piped(&mut script("echo one"), first).unwrap().1.is_ok());
    }

    #[test]
    fn only_the_last_lines_are_repeated() {
        let expected: String = (981..=1000).map(|number| format!("\n{number}")).collect();
        let message = output_of("seq 1000; exit 1").unwrap_err().to_string();
        assert_eq!(message.split_once("Its last output:").unwrap().1, expected);
        let message = stream(&mut script("seq 1000; exit 1"), |_| ()).unwrap_err().to_string();
        assert_eq!(message.split_once("Its last output:").unwrap().1, expected);
    }

    #[test]
    fn a_full_disk_is_recognised() {
        let message = output_of("echo tar: x: No space left on device >&2; exit 2").unwrap_err().to_string();
        insta::assert_snapshot!(message, @r"
        a command failed (exit status: 2); to repeat it by hand:
          sh -c 'echo tar: x: No space left on device >&2; exit 2'
        Its last output:
        tar: x: No space left on device
        The disk is full: free some space, or set BPF_TOKEN_HARNESS_CACHE to a folder on a larger disk.
        ");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = output(|shell| cmd!(shell, "no-such-program")).unwrap_err().to_string();
        insta::assert_snapshot!(error, @"`no-such-program` is not installed; `cargo xtask setup` installs what is missing");
    }

    #[test]
    fn a_command_is_shown_so_that_it_can_be_pasted() {
        let mut command = Command::new("make");
        command.current_dir("/a b").args(["O=out", "it's"]);
        assert_eq!(shown(&command), r"cd '/a b' && make O=out 'it'\''s'");
        let folder = "a b";
        assert_eq!(shown(&written(|shell| cmd!(shell, "tar -C {folder}")).unwrap()), "tar -C 'a b'");
    }
}
