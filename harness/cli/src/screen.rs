//! The terminal: its width, and whether it can show more than plain lines.

use std::{
    env,
    ffi::OsStr,
    io::{self, BufRead, IsTerminal, Write},
};

use anstream::{AutoStream, ColorChoice, stream::RawStream};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use harness_builder::progress::Progress;

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

/// Wraps lines between words to the width of the terminal; the text stays as it is if standard output is not one.
pub fn wrapped(text: &str) -> String {
    width().map_or_else(|| text.to_owned(), |width| text.lines().map(|line| wrapped_line(line, width)).collect())
}

/// Wraps a line, which may have styles. What follows the first line is below its second column, if it has columns.
fn wrapped_line(line: &str, width: usize) -> String {
    let plain = anstream::adapter::strip_str(line).to_string();
    let start = plain.len() - plain.trim_start().len();
    let text = plain.trim();
    let column = text.find("  ").map(|end| start + end + text[end..].len() - text[end..].trim_start().len());
    let fitting = [column, Some(start + 4)].into_iter().flatten().find(|indent| *indent <= width / 2);
    let indent = " ".repeat(fitting.unwrap_or(0));
    let options = textwrap::Options::new(width)
        .break_words(false)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .subsequent_indent(&indent);
    textwrap::fill(line, options) + "\n"
}

/// Whether standard error can move its cursor; otherwise progress and mistakes are plain lines.
pub fn errors_are_on_a_screen() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether standard output can move its cursor.
pub fn output_is_on_a_screen() -> bool {
    io::stdout().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether findings on standard output are underlined: on a terminal, or if `CLICOLOR_FORCE` asks for colours elsewhere.
pub(crate) fn output_is_styled() -> bool {
    output_is_on_a_screen() || is_coloured(&io::stdout())
}

/// Whether mistakes on standard error are underlined, as in [`output_is_styled`].
pub(crate) fn errors_are_styled() -> bool {
    errors_are_on_a_screen() || is_coloured(&io::stderr())
}

/// Whether a stream gets colours, by `NO_COLOR`, `CLICOLOR`, `CLICOLOR_FORCE` and whether it is a terminal.
pub(crate) fn is_coloured(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// The options that every verb takes.
#[derive(Clone, Copy, Debug, Args)]
pub struct ScreenOptions {
    /// Whether output is coloured [default: auto: on a terminal, unless NO_COLOR or CLICOLOR=0 is set]
    #[arg(long, value_enum, value_name = "WHEN", global = true, hide_default_value = true, default_value_t = Color::Auto)]
    color: Color,

    /// Show no progress: only results, warnings and errors
    #[arg(long, short, global = true)]
    quiet: bool,
}

impl ScreenOptions {
    /// Makes all output of this process follow the options.
    pub fn apply(self) {
        self.color.apply();
        if self.quiet {
            Progress::silence();
        }
    }
}

/// Whether output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless the environment says otherwise.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

impl Color {
    fn apply(self) {
        match self {
            Self::Auto => {}
            Self::Always => ColorChoice::Always.write_global(),
            Self::Never => ColorChoice::Never.write_global(),
        }
    }
}

/// Prints to standard output, with styles if it is a terminal; a closed pipe is not an error.
pub fn print(text: &str) -> Result<()> {
    // To look for styles in megabytes of JSON takes a fifth of a run that has nothing to do.
    let has_styles = text.as_bytes().contains(&b'\x1b');
    let mut out: Box<dyn Write> = if has_styles { Box::new(anstream::stdout()) } else { Box::new(io::stdout()) };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Asks for one of some letters on the terminal until one is given; the last one if the input ends, and `None` if there is no
/// terminal.
pub fn letter(question: &str, letters: &[char]) -> Result<Option<char>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    loop {
        eprint!("{question} ");
        io::stderr().flush().context("cannot write to the terminal")?;
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer).context("cannot read from the terminal")?;
        let given = if read == 0 { letters.last().copied() } else { chosen_letter(&answer, letters) };
        if given.is_some() {
            return Ok(given);
        }
    }
}

/// Returns the letter that an answer is or begins with.
fn chosen_letter(answer: &str, letters: &[char]) -> Option<char> {
    let first = answer.trim().chars().next()?.to_ascii_lowercase();
    letters.contains(&first).then_some(first)
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

/// Returns a word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@=+,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_keep_their_columns() {
        let lines = [
            "on 6.12, 7.3:",
            "    CAP_BPF    token (making a token), program keep_all (the command itself)",
            "    x.o: libbpf silently drops functions in BTF, and more",
            "\u{1b}[1mcache         \u{1b}[0m/a-very-long/path/without-any-blanks/to-break-at: 6.8 GiB, 46 free",
            "",
        ];
        let text: String = lines.iter().map(|line| wrapped_line(line, 40)).collect();
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string(), @r"
        on 6.12, 7.3:
            CAP_BPF    token (making a token),
                       program keep_all (the
                       command itself)
            x.o: libbpf silently drops functions
                in BTF, and more
        cache
                      /a-very-long/path/without-any-blanks/to-break-at:
                      6.8 GiB, 46 free
        ");
        assert_eq!(wrapped_line("a  b", 3), "a\nb\n");
        assert_eq!(wrapped_line("        a b c d", 6).lines().last(), Some("d"));
    }

    #[test]
    fn an_answer_is_one_of_the_letters() {
        let of = |answer| chosen_letter(answer, &['y', 'n', 'q']);
        assert_eq!([of("y\n"), of(" No\n"), of("Q"), of("\n"), of("x")], [Some('y'), Some('n'), Some('q'), None, None]);
    }

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
