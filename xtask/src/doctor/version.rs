//! Versions of programs. Not through xshell, which would wait for one that hangs.

use std::{
    io::Read,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a program may take to print its version.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much of its output is read, in bytes.
const LONGEST: u64 = 4096;

/// Returns the first line with a digit that `program --version` prints.
pub(super) fn of(program: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version").env("LC_ALL", "C");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let output = child.stdout.take();
    let ended = ends(&mut child, Instant::now() + PATIENCE);
    let _ = child.kill();
    let _ = child.wait();
    let mut said = Vec::new();
    output.filter(|_| ended)?.take(LONGEST).read_to_end(&mut said).ok()?;
    line(&String::from_utf8_lossy(&said))
}

fn ends(child: &mut Child, by: Instant) -> bool {
    while Instant::now() < by {
        match child.try_wait() {
            Ok(None) => thread::sleep(Duration::from_millis(2)),
            Ok(Some(_)) => return true,
            Err(_) => return false,
        }
    }
    false
}

fn line(said: &str) -> Option<String> {
    let line = said.lines().find(|line| line.contains(|c: char| c.is_ascii_digit()))?;
    Some(line.trim().chars().filter(|c| !c.is_control()).take(100).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_first_line_with_a_digit() {
        assert_eq!(line("\nThis is perl 5, version 36\nmore 2\n").unwrap(), "This is perl 5, version 36");
        assert_eq!(line("usage: x [-h]\n"), None);
        assert_eq!(line(&"1".repeat(500)).unwrap().len(), 100);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(of(folder.path().join("program").to_str().unwrap()), None);
    }
}
