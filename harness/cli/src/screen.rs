//! The terminal: its width, and whether it can show more than plain lines.

use std::{
    env,
    ffi::OsStr,
    io::{self, BufRead, IsTerminal, Write},
};

use anyhow::{Context, Result};

/// Returns the width of standard output in characters; `None` if it is not a terminal, where lines must not be wrapped.
pub fn width() -> Option<usize> {
    let size = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    io::stdout().is_terminal().then(|| chosen(env::var_os("COLUMNS").as_deref(), size)).flatten()
}

/// Returns the number in the variable, as other programs do, or else the terminal's own width. Without a width, or with 0,
/// the terminal is as wide as necessary.
fn chosen(columns: Option<&OsStr>, size: impl FnOnce() -> Option<usize>) -> Option<usize> {
    let asked = columns.and_then(OsStr::to_str).and_then(|text| text.parse().ok()).filter(|width| *width > 0);
    asked.or_else(|| size().filter(|width| *width > 0))
}

/// Whether standard error can move its cursor; otherwise progress and mistakes are plain lines.
pub fn errors_are_on_a_screen() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether standard output can move its cursor.
pub fn output_is_on_a_screen() -> bool {
    io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Prints to standard output, with styles if it is a terminal; a closed pipe is not an error.
pub fn print(text: &str) -> Result<()> {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Asks a question on the terminal; `None` if there is no terminal.
pub fn agrees(question: &str) -> Result<Option<bool>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    eprint!("{question} [y/N] ");
    io::stderr().flush().context("cannot write to the terminal")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context("cannot read from the terminal")?;
    Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_comes_before_the_terminal_if_it_is_a_number() {
        let chosen = |columns: &str, size| chosen(Some(OsStr::new(columns)), || size);
        assert_eq!(chosen("60", Some(80)), Some(60));
        assert_eq!(chosen("0", Some(80)), Some(80));
        assert_eq!(chosen("wide", Some(80)), Some(80));
        assert_eq!(chosen("", Some(0)), None);
        assert_eq!(super::chosen(None, || None), None);
    }
}
