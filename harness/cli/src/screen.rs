//! What the terminal is like: how wide it is, and whether it is one that can show more than plain lines.

use std::{
    env,
    ffi::OsStr,
    io::{self, BufRead, IsTerminal, Write},
};

use anyhow::{Context, Result};

/// How wide standard output is, in characters; `None` if it is no terminal, where nobody wants lines to be broken.
pub fn width() -> Option<usize> {
    let size = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    io::stdout().is_terminal().then(|| chosen(env::var_os("COLUMNS").as_deref(), size)).flatten()
}

/// The variable holds, as for other programs, if it is a number; then what the terminal itself says. One that says
/// nothing, or 0, is as wide as it needs to be.
fn chosen(columns: Option<&OsStr>, size: impl FnOnce() -> Option<usize>) -> Option<usize> {
    let asked = columns.and_then(OsStr::to_str).and_then(|text| text.parse().ok()).filter(|width| *width > 0);
    asked.or_else(|| size().filter(|width| *width > 0))
}

/// Whether standard error can move its cursor: progress and underlined mistakes are plain lines where it cannot.
pub fn errors_are_on_a_screen() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The same of standard output.
pub fn output_is_on_a_screen() -> bool {
    io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Prints to standard output, with styles where it is a terminal; a reader that went away is no error.
pub fn print(text: &str) -> Result<()> {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Asks whoever sits at the terminal; `None` if nobody does.
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
